"""Tables of the inversions: every image and seed, the mean of every image, and how well copies separate."""

from vidmem.inversion.outcome import image_means, separation
from vidmem.logs import start_logging
from vidmem.store import load_tables
from vidmem.tables import save_exhibit

PLANTED = 16  # copies from which an image counts as planted often


def tabulate(inputs: list[str], interval: dict, seed: int, output) -> None:
    scores = load_tables(inputs).sort_values(["model", "copies", "image_id", "seed"], ascending=[True, False, True, True])
    save_exhibit(output.scores, scores)
    save_exhibit(output.images, image_means(scores))
    save_exhibit(output.separation, separation(scores, PLANTED, interval, seed))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    tabulate(snakemake.input, snakemake.params.interval, snakemake.params.seed, snakemake.output)
