"""A full disk, a folder that cannot be written, damaged and foreign files, two runs, clocks: detected, named, recoverable."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from vidmem.base.checksums import recipe_of
from vidmem.base.store import load_array, save_array, write_as
from workflow_helpers import SMOKE, SNAKEMAKE, changed, kill_when, running

pytestmark = pytest.mark.slow

DATA, TABLES = "results/smoke/data", "results/smoke/tables"
CORPUS = (f"{TABLES}/corpus_status.csv", f"{TABLES}/corpus_motion.csv")  # read_corpus, compute_flow, tabulate_corpus


@pytest.fixture
def small_disk(project):
    """A fresh project whose results lie on a filesystem of its own, and a way to remount it with other options."""
    folder = project()
    disk = folder / "results/smoke"
    disk.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        subprocess.run(command, check=True, capture_output=True, text=True)

    try:
        mount("size=64k")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no filesystem can be mounted here: {getattr(error, 'stderr', '') or error}")
    yield folder, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", "-l", str(disk)], check=True)


def same(one: Path, other: Path, files) -> None:
    assert [name for name in files if (one / name).read_bytes() != (other / name).read_bytes()] == []


def hinted(text: str) -> list[str]:
    """Files that an error says to make again."""
    return re.search(r"Hint: snakemake .*--force (?:-- )?(.+?)(?:, with the options.*)?; then run again", text).group(1).split()


def test_a_full_disk(smoke, small_disk, run):
    """Full at the frames, then at the flows, then not."""
    folder, remount = small_disk
    for size, where in (("64k", "frames"), ("320k", "flows|pooled")):  # flows and pooled fields are written together
        remount(f"size={size}")
        text = run(folder, "--cores", "2", *CORPUS, *SMOKE, check=False).text
        assert "No space left on device" in text
        assert re.search(rf"Where: {DATA}/corpus-tiny/0\.({where})\.npy", text), text
        assert "make room, then run again" in text
        assert not [name for name in where.split("|") if (folder / f"{DATA}/corpus-tiny/0.{name}.npy").exists()]
    remount("size=16m")
    run(folder, "--cores", "2", *CORPUS, *SMOKE)
    same(smoke[0], folder, CORPUS)
    assert list((folder / "results/smoke").rglob(".*.tmp")) == []


def test_a_folder_that_cannot_be_written(smoke, small_disk, run):
    folder, remount = small_disk
    remount("size=16m")
    run(folder, "--cores", "2", f"{DATA}/corpus-tiny/0.frames.npy", *SMOKE)
    remount("ro")
    result = run(folder, "--cores", "2", *CORPUS, *SMOKE, check=False)
    assert result.returncode != 0
    assert "Read-only file system" in result.text
    assert "results/smoke" in result.text
    remount("rw,size=16m")
    run(folder, "--cores", "2", *CORPUS, *SMOKE)
    same(smoke[0], folder, CORPUS)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("damage", "damaged", "reader"),
    [
        (cut, f"{DATA}/corpus-tiny/0.frames.npy", f"{DATA}/corpus-tiny/0.descriptors.npy"),
        (cut, f"{DATA}/corpus-tiny/0.flows.parquet", f"{TABLES}/corpus_motion.csv"),
        (flip, f"{DATA}/corpus-tiny/0.frames.npy", f"{DATA}/corpus-tiny/0.descriptors.npy"),
        (flip, f"{DATA}/generated-tiny-text/0.descriptors.npy", "results/smoke/matches/generated-tiny-text/0.content.parquet"),
        (flip, f"{DATA}/corpus-tiny/0.flows.npy", "results/smoke/matches/generated-tiny-text/0.motion.parquet"),
        (flip, "results/smoke/scores/generated-tiny-text.parquet", f"{TABLES}/table2_memorization.csv"),
        (flip, "results/smoke/index/tiny/content.faiss", "results/smoke/prompts/signals-tiny.parquet"),
    ],
)
def test_a_damaged_file(smoke, finished, run, damage, damaged, reader):
    """Its date is kept, as a disk that fails keeps it. The stage that reads it says which file, and what to do."""
    date = (finished / damaged).stat().st_mtime_ns
    damage(finished / damaged)
    os.utime(finished / damaged, ns=(date, date))
    (finished / reader).unlink()
    result = run(finished, "--cores", "2", reader, *SMOKE, check=False)
    assert result.returncode != 0
    assert not (finished / reader).exists()
    assert hinted(result.text) == [damaged]
    run(finished, "--cores", "2", "--force", damaged, *SMOKE)
    run(finished, "--cores", "2", reader, *SMOKE)
    same(smoke[0], finished, [damaged, reader])


def test_a_shard_that_is_gone(smoke, finished, run):
    """Nothing asks for it but a job that reads the whole set through its list."""
    gone, wanted = f"{DATA}/corpus-tiny/0.flows.npy", "results/smoke/figures/fig2_motion_panel.png"
    (finished / gone).unlink()
    (finished / wanted).unlink()
    result = run(finished, "--cores", "2", wanted, *SMOKE, check=False)
    assert result.returncode != 0
    assert hinted(result.text) == [gone]
    run(finished, "--cores", "2", "--force", gone, *SMOKE)
    run(finished, "--cores", "2", wanted, *SMOKE)
    same(smoke[0], finished, [gone, wanted])


FRAMES, FLOWS = f"{DATA}/corpus-tiny/0.frames.npy", f"{DATA}/corpus-tiny/0.flows.npy"


def test_a_shard_of_an_older_recipe(smoke, finished, run):
    """Snakemake compares what it recorded; what it did not record, or what was copied over, the files say themselves."""
    other = changed(finished, "flow", {"side": 160})
    assert "compute_flow" in run(finished, "-n", "--cores", "2", *CORPUS, *other).text
    frames, recipe = load_array(finished / FRAMES).copy(), recipe_of(finished / FRAMES)
    date = (finished / FRAMES).stat().st_mtime_ns
    write_as("f" * 16)
    save_array(finished / FRAMES, 255 - frames)
    write_as("")
    os.utime(finished / FRAMES, ns=(date, date))
    (finished / FLOWS).unlink()
    for metadata in ("kept", "lost"):
        if metadata == "lost":
            shutil.rmtree(finished / ".snakemake")
        result = run(finished, "--cores", "2", FLOWS, *SMOKE, check=False)
        assert result.returncode != 0
        assert f"{FRAMES}: recipe {'f' * 16}, not {recipe}" in result.text
        assert hinted(result.text) == [FRAMES]
    run(finished, "--cores", "2", "--force", FRAMES, *SMOKE)
    run(finished, "--cores", "2", *CORPUS, *SMOKE)
    same(smoke[0], finished, [FRAMES, FLOWS, *CORPUS])


def test_without_its_records_a_folder_goes_on(smoke, finished, run):
    """Snakemake knows nothing of the files then; they say that they are of these parameters."""
    shutil.rmtree(finished / ".snakemake")
    (finished / CORPUS[1]).unlink()
    text = run(finished, "--cores", "2", *CORPUS, *SMOKE).text
    assert "read_corpus" not in text
    same(smoke[0], finished, CORPUS)


def test_two_runs_in_one_folder(smoke, project, run):
    folder = project()
    command = [*SNAKEMAKE, "--cores", "1", *CORPUS, *SMOKE]
    first = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((folder / ".snakemake/locks").glob("*")):
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGSTOP)  # so that it cannot end before the other looks for its lock
    second = run(folder, "--cores", "1", *CORPUS, *SMOKE, check=False)
    first.send_signal(signal.SIGCONT)
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.text
    assert "--unlock" in second.text
    assert first.wait() == 0
    same(smoke[0], folder, CORPUS)


DAY = 86400


def shift(folder: Path, seconds: float) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            date = path.stat().st_mtime_ns + int(seconds * 1e9)
            os.utime(path, ns=(date, date))


def test_a_clock_that_ran_ahead(smoke, finished, run):
    """Everything is dated tomorrow; then the clock is put right and some is made again, once."""
    shift(finished / "results/smoke", DAY)
    assert "Nothing to be done" in run(finished, "-n", "--cores", "2", "tables", *SMOKE).text
    (finished / CORPUS[1]).unlink()
    text = run(finished, "--cores", "2", *CORPUS, "--forcerun", "compute_flow", *SMOKE).text
    assert f"Its date lay in the future, is now: {FRAMES}" in text
    assert all(path.stat().st_mtime <= time.time() for path in (finished / "results/smoke").rglob("*"))
    assert "Nothing to be done" in run(finished, "-n", "--cores", "2", *CORPUS, *SMOKE).text
    same(smoke[0], finished, [FLOWS, *CORPUS])


def test_a_clock_that_falls_back_while_a_run_is_killed(finished, project, run):
    """The corpus is read again, dated before what the old one made, and the run dies: the old must not pass for new."""
    described = f"{DATA}/corpus-tiny/0.descriptors.npy"
    wanted = (*CORPUS, described, *changed(finished, "corpora/tiny/frames", 5))
    old = {name: (finished / name).read_bytes() for name in (FRAMES, FLOWS, described)}
    date = min((finished / name).stat().st_mtime for name in (FLOWS, described)) - 0.5
    kill_when(finished, lambda text: "features" in running(text), 0.0, [*wanted, "--cores", "1"])
    run(finished, "--unlock", *wanted)
    for name in (FRAMES, f"{DATA}/corpus-tiny/0.clips.parquet"):
        os.utime(finished / name, (date, date))
    run(finished, "--cores", "2", *wanted)
    fresh = project()
    changed(fresh, "corpora/tiny/frames", 5)
    run(fresh, "--cores", "2", *wanted)
    assert not [name for name, content in old.items() if (fresh / name).read_bytes() == content]
    same(fresh, finished, [FRAMES, FLOWS, described, *CORPUS])


def test_a_clock_behind_the_workflow(finished, run):
    """The date of a script makes nothing again; what it says does."""
    script = finished / "workflow_scripts/compute_flow.py"
    os.utime(script, (time.time() + DAY, time.time() + DAY))
    assert "Nothing to be done" in run(finished, "-n", "--cores", "2", *CORPUS, *SMOKE).text
    script.write_text(script.read_text() + "\n")
    os.utime(script, (946684800, 946684800))
    assert "compute_flow" in run(finished, "-n", "--cores", "2", *CORPUS, *SMOKE).text


def test_lists_count_by_what_they_say(finished, run):
    """A prompt list that is touched, or whose date lies ahead, changes nothing; an older copy of other content does."""
    path = finished / "configs/default/negative_prompts.yaml"
    os.utime(path, (time.time() + DAY, time.time() + DAY))
    assert "Nothing to be done" in run(finished, "-n", "--cores", "2", "tables", *SMOKE).text
    path.write_text(path.read_text().replace("a ", "the "))
    os.utime(path, (946684800, 946684800))
    assert "list_negatives" in run(finished, "-n", "--cores", "2", "tables", *SMOKE).text
