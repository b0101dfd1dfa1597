"""Make the detectors of a model and the one-step score of every prompt from the probes of the first step.

The guard and the mitigations of the model use the detectors.
"""

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table, load_tables, save_table
from vidmem.detection.detectors import save_detectors
from vidmem.detection.evaluation import one_step_scores
from vidmem.detection.probed_model import ProbedModel


def fit_detectors(inputs, name: str, planted: int, negative_prompt: str | None, output) -> None:
    model = ProbedModel(load_table(inputs.prompts), load_table(inputs.negatives), load_tables(inputs.probes))
    save_detectors(output.detectors, model.detectors(name, planted, negative_prompt))
    save_table(output.one_step, one_step_scores(model.probes, model.audited))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    fit_detectors(snakemake.input, snakemake.wildcards.model, params.planted, params.negative_prompt, snakemake.output)
