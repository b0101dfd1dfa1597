"""Checks before the first job of a run, a watch over the cluster, and the message after the last job.

A dry run, or a run with nothing to be done, calls check_index only. So it changes no file, not even a date.
"""

import functools
import importlib.util
import json
import math
import shlex
import signal
import subprocess
import threading
import time
from collections import Counter

from vidmem.base.slurm import watch_controller
from vidmem.config import check_pinned, check_there
from vidmem.errors import fetch_command
from vidmem.models.saved_files import hub_cache, lost_files

# LOADING: stages that load a model or read footage. LISTING: stages that read lists of the user. SHOWING: stages that read footage again if a corpus keeps no frames.
# All other stages only cite the records of models and data sets.
LOADING = ("generate_clips", "mitigate_clips", "probe_guidance", "invert_images", "probe_model", "read_corpus", "read_features")
LISTING = ("list_prompts", "list_negatives", "validate_labels", "curate_prompts")
SHOWING = ("plot_galleries", "plot_motion_panel", "save_clips")


def check_index():
    """Stop the planning if FAISS does not know the configured index or its parameters. Without FAISS here, a job finds out."""
    search, plain = config["search"], {"index": "Flat", "parameters": ""}
    if search | plain == search or not workflow.is_main_process or not importlib.util.find_spec("faiss"):
        return
    from vidmem.search.faiss_index import check_factory

    try:
        check_factory(512, search["index"], search["parameters"])
    except VidmemError as error:
        raise WorkflowError(f"The configuration does not hold.\n{error}") from None


check_index()


def check_folder():
    """Stop the planning if a file stands where the folder of the results must be. Snakemake itself would end in a traceback."""
    for folder in (Path("results"), Path(audit.root)):
        if workflow.is_main_process and folder.is_file():
            error = VidmemError("a folder for results", "a file", str(folder), "move it, or change config key run")
            raise WorkflowError(f"The results cannot be written.\n{error}")


check_folder()


def called_as(cores="1"):
    """Command line that calls this workflow for the results of this run, where the run was started.

    It carries the options that decide which results are meant. Targets and further options may be added to it: --cores stands
    last, because the options before it take several values.
    """
    start, words = workflow.rundir, ["snakemake"]
    if (snakefile := os.path.relpath(workflow.main_snakefile, start)) != "Snakefile":
        words += ["--snakefile", snakefile]
    if workflow.overwrite_workdir is not None:
        words += ["--directory", str(workflow.overwrite_workdir)]
    if workflow.overwrite_configfiles:
        words += ["--configfile", *(os.path.relpath(path, start) for path in workflow.overwrite_configfiles)]
    if workflow.config_settings.config_args:
        words += ["--config", *workflow.config_settings.config_args]
    return shlex.join([*words, "--cores", cores])


def check_needs(dag):
    """Check before the first job that the run has all it needs: the user's files, pinned commits, and fetched files."""
    made = {path for job in dag.jobs for path in job.output}
    due = set(dag.needrun_jobs())
    records = {path for job in due for path in records_of(job)} - {path for job in due for path in job.output}
    errors = lost_records(records) | missing_clip(due)
    for job in due:
        errors |= missing_files(job) | missing_model(job, made) | missing_sources(job)
    errors |= unfit_models({named for job in due for named in models_of(job)}) | missing_gpu(due) | unreadable_lists(due)
    if errors:
        told = "\n".join(str(errors[name]) for name in sorted(errors))
        raise WorkflowError(f"What the run needs is not there; for everything see {called_as()} preflight\n{told}")


def records_of(job):
    """Paths of the records of the fetch stage whose files a job reads."""
    if job.rule.name in SHOWING:
        return [record for name in audit.audited if name in audit.streamed for record in audit.fetched_sources(name)]
    folders = (f"{audit.root}/models/", f"{audit.root}/corpora/")
    return [str(path) for path in job.input if path.startswith(folders)] if job.rule.name in LOADING else []


def lost_records(records):
    """An error for each record whose files are gone: Snakemake sees the record only, so it would not fetch them again."""
    errors = {}
    for path in here(records):
        if lost := lost_files(json.loads(Path(path).read_text(encoding="utf-8")), hub_cache()):
            got = f"{len(lost)} gone, such as {lost[0]}"
            errors[path] = VidmemError("the files of a record of the fetch stage", got, path, fetch_command(called_as(), path))
    return errors


def missing_files(job):
    """An error for each file of the user that a job reads and that does not exist."""
    files = audit.user_files(job.rule.name, job.wildcards_dict)
    missing = [path for path in files if not Path(path).exists()]
    return {path: VidmemError("a file that the configuration names", "nothing there", path) for path in missing}


def missing_clip(due):
    """An error if a look-up is asked for without a file."""
    if config["clip"] or all(job.rule.name != "find" for job in due):
        return {}
    return {"clip": VidmemError("the file to look up", "none", "config key clip", "--config clip=PATH -- find")}


def missing_model(job, made):
    """An error if the model of a job of the fetch stage has no pinned commit, or if its files do not exist."""
    if job.rule.name not in ("fetch_model", "convert_model"):
        return {}
    name = audit.conversions[job.wildcards.conversion] if job.rule.name == "convert_model" else job.wildcards.model
    try:
        check_pinned(name, audit.model(name))
        check_there(name, audit.model(name), made)
    except VidmemError as error:
        return {name: error}
    return {}


def models_of(job):
    """Names of the models that a job loads."""
    if job.rule.name not in LOADING or job.rule.name in ("read_corpus", "read_features"):
        return []
    named = {key: getattr(job.wildcards, key) for key in ("model", "inversion", "mitigation") if hasattr(job.wildcards, key)}
    return [config["mitigations"][name]["model"] if key == "mitigation" else name for key, name in named.items()]


def unfit_models(names):
    """An error for each setting of a model that its jobs would refuse, and for each saved model that cannot be loaded.

    Number formats are those of this machine. On a cluster the jobs check them, because another machine runs them.
    """
    if not names:
        return {}
    from vidmem.planning.model_needs import model_needs, setting_needs

    models = {name: audit.model(name) for name in sorted(names)}
    saved = {name: model for name, model in models.items() if Path(model["path"]).is_dir() and "checkpoint" not in model}
    needs = [*model_needs(config, saved, hub_cache(), called_as()), *setting_needs(config, models)]
    if not workflow.local_exec:
        needs = [need for need in needs if not need.name.endswith(".dtype")]
    lacking = [need for need in needs if need.state == "missing"]
    return {need.name: VidmemError("a model that can be used", need.found, need.name, need.remedy) for need in lacking}


def unreadable_lists(due):
    """An error for each list of the user that a job reads and that is not as it must be."""
    rules = {job.rule.name for job in due}
    if not rules & {*LISTING, "read_generated"}:
        return {}
    from vidmem.planning.data_needs import list_needs, made_needs

    needs = list_needs(config) if rules & set(LISTING) else []
    needs += made_needs(config) if "read_generated" in rules else []
    lacking = [need for need in needs if need.state == "missing" and need.found != "not there"]  # see missing_files
    return {need.name: VidmemError("a list that can be read", need.found, need.name, need.remedy) for need in lacking}


def missing_gpu(due):
    """An error if device: cuda asks for a GPU that this machine lacks, and the jobs run here."""
    from vidmem.planning.machine_needs import gpu_memory

    if config["device"] != "cuda" or not workflow.local_exec or gpu_memory():
        return {}
    users = sorted({job.rule.name for job in due if job.rule.name in LOADING and models_of(job)})
    return {"device": VidmemError("a GPU, as device: cuda asks", "none here", f"config key device ({', '.join(users)})",
                                  "device: cpu or auto")} if users else {}  # fmt: skip


def missing_sources(job):
    """An error for each source of a corpus that a job reads and that does not exist."""
    if job.rule.name not in ("read_corpus", "read_features"):
        return {}
    errors, corpus = {}, job.wildcards.corpus
    for source in config["corpora"][corpus]["sources"]:
        if not source["repository"] and not here([source["path"]]):
            where = f"{source['path']} (source {source['name']} of corpus {corpus})"
            errors[source["path"]] = VidmemError("a list or a folder", "nothing there", where)
    return errors


def check_results(dag):
    """Check before the first job for results of another recipe, and correct dates that a wrong clock gave.

    Outputs that will be made again are dated back. Lists of shards that will be made again are deleted: after a kill, a list
    could name a file that is gone, and Snakemake sees the list only. The recipes of the planned jobs are written to a file,
    because the process of a job on a cluster cannot compute all of them.
    """
    from vidmem.base import recipes  # imported here, because a job on a cluster should not wait for these two modules
    from vidmem.base.store import save_json

    now, due = time.time(), set(dag.needrun_jobs())
    kept = {
        path: (job.rule.name, recipes.digest_parameters(job.params))
        for job in dag.jobs
        if job not in due
        for path in job.output
    }
    try:
        recipes.check_recipes(kept, called_as("all"))
    except VidmemError as error:
        raise WorkflowError(f"The results of an earlier run do not hold.\n{error}") from None
    for path in recipes.redate([Path(audit.root), Path("results/weights")], now):
        print(f"Its date lay in the future, is now: {path}", file=sys.stderr)
    recipes.outdate(path for job in due for path in job.output)
    for job in due:
        if job.rule.name == "list_shards":
            Path(job.output[0]).unlink(missing_ok=True)
    if workflow.executor_plugin.common_settings.non_local_exec:
        planned = {str(job.log[0]): recipes.digest_parameters(job.params) for job in due if job.log}
        save_json(Path(audit.root) / "logs" / recipes.PLAN, planned)


def watch_cluster():
    """End a run on Slurm if its controller does not answer for five minutes, and warn about jobs that Slurm holds.

    The executor alone would wait for ever in both cases.
    """

    def give_up(error):
        workflow.scheduler.executor_error_callback(WorkflowError(f"The cluster does not answer.\n{error}"))

    if workflow.executor_plugin.name == "slurm":
        patience_s = float(os.environ.get("VIDMEM_CONTROLLER_PATIENCE_S", 300))
        watched = (give_up, logger.warning, patience_s, min(10, patience_s / 3))
        threading.Thread(target=watch_controller, args=watched, daemon=True).start()


displays = []  # the display of this run, if it has one
FEW = 20  # so many jobs are done before an estimate of them would help anybody


def show_run():
    """Show the run in place of Snakemake's lines. `--quiet host` on the command line brings these back."""
    quiet = {asked.name.lower() for asked in workflow.output_settings.quiet or ()}
    before = next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)
    if before is None or "rules" not in quiet or quiet & {"progress", "all"}:
        return
    from vidmem.planning.run_display import IGNORE_INTERRUPT, RunDisplay, screen_on
    from vidmem.planning.run_times import RunTimes

    counts = [Counter(job.rule.name for job in jobs) for jobs in (workflow.dag.jobs, workflow.dag.needrun_jobs())]
    lanes = workflow.resource_settings.cores or workflow.resource_settings.nodes or 1
    times = RunTimes(counts[1], lanes, time.monotonic())
    if counts[1].total() > FEW:
        threading.Thread(target=estimate_times, args=(times, *counts), daemon=True).start()
    files = {rule.name: Path(rule.snakefile) for rule in workflow.rules}
    stages = {name: file.stem for name, file in files.items() if file.suffix == ".smk"}
    display = RunDisplay(before, times, stages, screen_on(before.stream))
    if set(workflow.dag_settings.targets) in ({"preflight"}, {"gate"}):
        display.held = []  # the page says why it fails
    logger.removeHandler(before)
    logger.addHandler(display)
    displays.append(display)
    if threading.current_thread() is threading.main_thread():
        if workflow.local_exec:
            shell.prefix(IGNORE_INTERRUPT)
        signal.signal(signal.SIGINT, functools.partial(display.interrupt, local=workflow.local_exec))


def estimate_times(times, jobs, to_do):
    """Estimate the seconds of the jobs of each rule, in a process of its own. Without an answer no time is promised."""
    command, asked = [sys.executable, "-m", "vidmem.planning.run_estimate"], {"config": config, "jobs": jobs, "to_do": to_do}
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    found = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, env=environment)
    if found.returncode == 0:
        told = json.loads(found.stdout).items()
        times.seconds = {rule: math.inf if seconds is None else seconds for rule, seconds in told}


def end_display():
    """End the display of the run. Return what to tell a user who stopped it; '' for another end."""
    for display in displays:
        display.close()
        if display.held and display.failed - set(workflow.dag_settings.targets):  # a job that the page waits for
            print("\n".join(display.held))
    if not any(display.interrupted for display in displays):
        return ""
    again = shlex.join(["snakemake", *sys.argv[1:]])
    return f"\nStopped. What was finished is kept, and long jobs go on where they were. Go on with the same command: {again}"


PAGES = {"preflight": ("JSON", ".json"), "gate": ("CSV", ".csv"), "find": ("CSV", ".csv")}
"""Target that prints a page -> format and ending of the file with the same content."""


def page_of(targets):
    """Page of a preflight, a gate or a look-up, printed after the messages of Snakemake; '' for other targets."""
    (name,) = targets if len(targets) == 1 else ("",)
    page = Path(audit.root) / f"{name}.txt"
    stale = any(display.failed - {name} for display in displays)
    if name not in PAGES or stale or not page.exists():
        return ""
    beside = PAGES[name]
    return f"\n{page.read_text()}\nThe same as {beside[0]}: {page.with_suffix(beside[1])}"


def nothing_compared(verdict):
    """Why an audit compared nothing at all; '' if some model was compared."""
    why = []
    for name, model in verdict["models"].items():
        if not model["training"]["n_compared"]:
            why.append(f"{name}: no training clip could be read")
        elif model["n_failed"] >= model["n_prompts"]:
            why.append(f"{name}: no prompt gave a clip")
    return "; ".join(why) if len(why) == len(verdict["models"]) else ""


def check_compared(targets):
    """End a run with an error if its audit compared nothing: a pipeline must not take it for a result."""
    verdict = Path(audit.root, "verdict.json")
    if not targets or "all" in targets:
        why = nothing_compared(json.loads(verdict.read_text(encoding="utf-8"))) if verdict.exists() else ""
        if why:
            raise WorkflowError(f"The audit has nothing to compare.\n{why}")


def closing_message(targets):
    """Message that tells where the results are; '' if the run did not make a whole audit."""
    if page := page_of(targets):
        return page
    # A training or a single table also ends here, without a verdict. An estimate runs no job of the audit.
    if targets == {"estimate"} or not Path(audit.root, "verdict.json").exists():
        return ""
    left_out = [f"  left out {audit.root}/tables/not_done.csv  (models generated elsewhere: detection, inversion)"]
    verdict = json.loads(Path(audit.root, "verdict.json").read_text(encoding="utf-8"))
    why = nothing_compared(verdict)
    return "\n".join(
        [
            "",
            f"The audit '{audit.run}' " + (f"has nothing to compare. {why}" if why else "is complete."),
            f"  tables   {audit.root}/tables/     (CSV, Markdown, LaTeX)",
            f"  figures  {audit.root}/figures/    (PNG, SVG)",
            f"  prompts  {audit.root}/prompts/    (captions by how prone they are to trigger memorization: Parquet and a card)",
            f"  clips    {audit.root}/clips/      (MP4: training clip left, generated clip right)",
            f"  verdict  {audit.root}/verdict.json",
            *(left_out if audit.from_files else []),
            f"  report   {called_as()} --report {audit.root}/report.zip",
            "",
            *verdict["summary"],
            f"Open {audit.root}/report.html",
        ]
    )
