"""Find: is this file, or a part of it, in the training data, and in what the models generated?

Takes: one video or image (`--config clip=PATH`), features and frames of the corpora and of the generated clips.
Makes: an answer at the end of the run, a table, and a page with the closest clips.
"""


include: "inputs/find.smk"


localrules:
    find,


# The rule has no output, so that it runs whenever somebody asks for it, and no rule depends on it.
rule find:
    input:
        unpack(find_files),
    log:
        f"{audit.root}/logs/find.log",
    conda:
        "../envs/torch.yaml"
    threads: share_of_cores(1)
    params:
        clip=config["clip"],
        root=audit.root,
        searched={corpus: searched_sets(corpus) for corpus in audit.audited},
        content=config["content"],
        motion=config["motion"],
        search=config["search"],
        descriptors=config["descriptors"],
        flow=config["flow"],
    script:
        "../workflow_scripts/find.py"
