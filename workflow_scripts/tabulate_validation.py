"""Table 1 (metric validation) and the ablation of the natural motion filter."""

from vidmem.logs import start_logging
from vidmem.store import load_table
from vidmem.tables import filter_table, save_exhibit, validation_table


def tabulate(inputs: list[str], corpora: list[str], content: dict, motion: dict, interval: dict, seed: int, output) -> None:
    import pandas as pd

    pairs = pd.concat([load_table(path).assign(corpus=name) for path, name in zip(inputs, corpora)], ignore_index=True)
    thresholds = {"gsscd": content["threshold"], "vsscd": content["threshold"], "ofs_k": motion["threshold"]}
    save_exhibit(output.table, validation_table(pairs, thresholds, interval, seed))
    variant = f"{motion['cosine']} {motion['pairing']}"
    save_exhibit(output.ablation, filter_table(pairs, motion["threshold"], variant, interval))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    names = ("corpora", "content", "motion", "interval")
    params = {name: snakemake.params[name] for name in names}
    tabulate(snakemake.input, **params, seed=snakemake.params.seed, output=snakemake.output)
