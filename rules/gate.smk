"""Gate: does a model replay more than the model of another audit, or more than a limit?

Takes: the verdict of this audit, and the verdict of another one (`--config against=PATH`).
Makes: a table, and a page at the end of the run. It fails if a model is worse, or if its audit saw too little.
"""


localrules:
    gate,


# The rule has no output, so that it runs whenever somebody asks for it, and no rule depends on it.
rule gate:
    input:
        verdict=f"{audit.root}/verdict.json",
        against=ancient([config["against"]] if config["against"] else []),
    log:
        f"{audit.root}/logs/gate.log",
    conda:
        "../envs/media.yaml"
    params:
        against=config["against"],
        gate=config["gate"],
        level=config["interval"]["level"],
    script:
        "../workflow_scripts/gate.py"
