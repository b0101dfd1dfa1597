"""Merge the parts of a FAISS index of a corpus. The inverted lists go to a file of their own."""

from vidmem.base.logs import start_logging
from vidmem.base.store import save_json
from vidmem.features.motion_comparison import configured_rule
from vidmem.search.faiss_index import merge_indexes, open_index
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import index_grid


def merge(inputs, kind: str, search: dict, motion: dict, flow_grid: int, output) -> None:
    trained = open_index(inputs.trained, search["parameters"])
    about = {"factory": search["index"], "parameters": search["parameters"], "dimension": trained.d}
    about["count"] = merge_indexes(trained, inputs.parts, output.index)
    about["computed_by"] = ReferenceShards.listed(inputs.references, kind).provenance
    grid = index_grid(configured_rule(motion, inputs.background), search)
    full = kind == "content" or grid == flow_grid
    about |= {"exact": search["index"] == "Flat" and full, "windows_of": motion.get("k", 0)}
    save_json(output.about, about | ({} if kind == "content" else {"grid": grid}))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    merge(snakemake.input, snakemake.wildcards.kind, params.search, params.motion, params.flow_grid, snakemake.output)
