"""Write the machine-readable verdict of the audit after a check against its schema."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_json, stacked
from vidmem.exhibits.verdict import audit_verdict, check_verdict
from vidmem.features.clip_features import listed_clips


def write_verdict(inputs, config: dict, prompted: list[str], schema: Path, destination: str) -> None:
    clips, training = ([listed_clips(path) for path in lists] for lists in (inputs.clips, inputs.corpus))
    fingerprints = dict(zip(prompted, inputs.models, strict=True))
    verdict = audit_verdict(inputs.table, fingerprints, inputs.scores, clips, stacked(training), config, inputs.not_done)
    check_verdict(verdict, schema)
    save_json(destination, verdict)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    # No parameter, because its path tells where the checkout lies, and a moved checkout would write the verdict again.
    schema = Path(snakemake.scriptdir).parent / "rules/schemas/verdict.schema.yaml"
    write_verdict(snakemake.input, params.config, params.prompted, schema, snakemake.output[0])
