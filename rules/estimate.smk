"""Estimate: what will the configured audit cost?

Takes: the configuration and the lists that it names. It reads no result of the audit and runs none of its jobs.
Makes: a page on the terminal, and results/<run>/estimate.json.
"""


localrules:
    estimate,


# The rule has no output, so that an estimate is made whenever somebody asks for it, and no rule depends on it.
rule estimate:
    log:
        f"{audit.root}/logs/estimate.log",
    conda:
        "../envs/torch.yaml"
    params:
        # The Python that runs Snakemake, because Snakemake counts the jobs and the environment of a stage may not have it.
        python=sys.executable,
        snakefile=str(workflow.main_snakefile),
        config=config,
        destination=f"{audit.root}/estimate.json",
    script:
        "../workflow_scripts/estimate.py"
