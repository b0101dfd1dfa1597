"""The machine-readable verdict of the audit, checked against its own schema."""

from pathlib import Path

from vidmem.features import listed_clips
from vidmem.logs import start_logging
from vidmem.store import save_json, stacked
from vidmem.verdict import audit_verdict, check_verdict


def write_verdict(inputs, config: dict, prompted: list[str], schema: Path, destination: str) -> None:
    clips, training = ([listed_clips(path) for path in lists] for lists in (inputs.clips, inputs.corpus))
    fingerprints = dict(zip(prompted, inputs.models))
    verdict = audit_verdict(inputs.table, fingerprints, inputs.scores, clips, stacked(training), config, inputs.not_done)
    check_verdict(verdict, schema)
    save_json(destination, verdict)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    write_verdict(snakemake.input, params.config, params.prompted, Path(params.schema), snakemake.output[0])
