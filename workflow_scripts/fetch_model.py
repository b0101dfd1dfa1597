"""Make sure that a model is on this machine, and record the hash of each of its files."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_json


def fetch_model(path: str, revision: str | None, components: dict, destination: Path) -> None:
    from vidmem.models.download import record_of_files

    save_json(destination, record_of_files(path, revision, components))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    # The components are no parameter of the rule, because its digest of the files names them, too.
    components = snakemake.config["models"].get(snakemake.wildcards.model, {}).get("components", {})
    fetch_model(snakemake.params.path, snakemake.params.revision, components, Path(snakemake.output[0]))
