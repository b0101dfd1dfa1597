"""Preflight: what the configured audit needs and what of it is on this machine, before it runs. Needs nothing and makes nothing of it."""


localrules:
    preflight,


# No output: a preflight looks again whenever it is asked for, and no rule can depend on one.
rule preflight:
    log:
        f"results/{RUN}/logs/preflight.log",
    conda:
        "../envs/torch.yaml"
    params:
        config=config,
        command=called_as(),
        # With environments of its own a stage does not use the packages of this one.
        packaged=not workflow.deployment_settings.deployment_method,
    script:
        "../workflow_scripts/preflight.py"
