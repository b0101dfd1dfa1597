"""GPU stages carry a recipe that is raised by hand: their modules may not change without a decision.

If this test fails: does the change alter what is generated or trained? Then raise the recipe in rules/common.smk. Either way
write the new digest into tests/golden/recipes.json.
"""

import json
import re

from vidmem.sources import digest_modules

GENERATION = [
    "models/adapter", "models/limits", "models/loading", "models/output", "models/reference", "models/autoencoder",
    "models/latent_video", "models/ladder", "models/lavie", "models/ramvid", "models/videocrafter",
    "guidance", "attention", "baselines", "denoiser_calls",
    "layouts", "generation", "seeding", "devices", "signatures",
]  # fmt: skip
MODULES = {
    "generate_clips": GENERATION,
    "invert_images": [
        "inversion/acceptance",
        "inversion/adapters",
        "inversion/conditioning",
        "inversion/engine",
        "inversion/inputs",
        "inversion/objective",
        "inversion/outcome",
        "inversion/presets",
        "inversion/sampling",
        "inversion/schedule",
        "descriptors",
        "seeding",
    ],
    "mitigate_clips": ["mitigation", "mitigated", *GENERATION],
    "probe_guidance": [*GENERATION, "inversion/objective"],
    "train_model": ["models/training", "models/reference", "models/autoencoder", "seeding"],
}


def test_recipes_fit_their_modules(root):
    golden = json.loads((root / "tests/golden/recipes.json").read_text())
    text = (root / "rules/common.smk").read_text()
    for rule, modules in MODULES.items():
        recipe = int(re.search(rf'"{rule}": (\d+)', text).group(1))
        found = {"recipe": recipe, "digest": digest_modules(root / "workflow_scripts/vidmem", modules)}
        assert found == golden[rule], f"{rule}: decide on the recipe, then record {found}"
