"""List the shards of a set of clips for the stages that read all shards."""

from vidmem.base.logs import start_logging
from vidmem.base.shards import save_shards

if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    save_shards(snakemake.output[0], {kind: list(snakemake.input[kind]) for kind in snakemake.params.kinds})
