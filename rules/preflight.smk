"""Preflight: what does the configured audit need, and which of it is on this machine?

Takes: the configuration, and files and packages on this machine. It reads no result of the audit and runs none of its jobs.
Makes: a page at the end of the run, and its content as JSON.
"""


localrules:
    preflight,


# The rule has no output, so that a preflight runs whenever somebody asks for it, and no rule depends on it.
rule preflight:
    log:
        f"{audit.root}/logs/preflight.log",
    conda:
        "../envs/torch.yaml"
    params:
        config=config,
        command=called_as(),
        # If Snakemake makes an environment for each stage, the stages do not use the packages of the present environment.
        packaged=not workflow.deployment_settings.deployment_method,
    script:
        "../workflow_scripts/preflight.py"
