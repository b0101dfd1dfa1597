"""Fit the spectrum of workflow_scripts/vidmem/spectrum.json to the descriptors of a finished run.

python benchmarks/spectrum.py results/default/data/corpus-default DESTINATION.json --about "what they are"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.features.clip_features import load_features
from vidmem.planning.synthetic import fit_spectrum, save_spectrum

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--about", required=True)
    options = parser.parse_args()
    arrays = sorted(options.folder.glob("*.descriptors.npy"))
    stems = [str(path).removesuffix(".descriptors.npy") for path in arrays]
    found = load_features([f"{s}.clips.parquet" for s in stems], arrays, [f"{s}.descriptors.parquet" for s in stems])
    about = f"{options.about}; {found.provenance}; {len(found.spans)} clips, {len(found.rows)} frames"
    save_spectrum(options.destination, fit_spectrum([found.of(name) for name in sorted(found.spans)], about))
