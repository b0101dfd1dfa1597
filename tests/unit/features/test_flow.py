"""Flow: sign, scale and axis order on synthetic shifts, the common grid, the colours."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.flow import clip_flows, colour_flow, load_estimator, resize_flow


def texture(stream, size=160):
    noise = stream.integers(0, 256, (size, size, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3) * 2


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (0, 4), (-6, 2)])
def test_dis_measures_shifts_in_grid_pixels(stream, dx, dy):
    large = texture(stream, 200)
    first, second = large[20:180, 20:180], large[20 - dy : 180 - dy, 20 - dx : 180 - dx]
    flows = clip_flows(np.stack([first, second]), load_estimator("dis"), 128, 64)
    assert flows.shape == (1, 2, 64, 64)
    assert flows.dtype == np.float16
    middle = np.median(flows[0, :, 16:48, 16:48].astype(float), axis=(1, 2))
    assert middle == pytest.approx([dx * 64 / 160, dy * 64 / 160], abs=0.15)


def test_small_frames_are_enlarged_first(stream):
    large = cv2.resize(texture(stream, 200), (100, 100))
    frames = np.stack([large[10:74, 10:74], large[10:74, 8:72]])
    flows = clip_flows(frames, load_estimator("dis"), 256, 64)
    assert np.median(flows[0, 0, 16:48, 16:48].astype(float)) == pytest.approx(2.0, abs=0.3)


def test_resizing_rescales_both_axes_apart():
    flow = np.stack([np.full((40, 80), 8.0), np.full((40, 80), 4.0)])
    small = resize_flow(flow, (20, 20))
    assert small[0].mean() == pytest.approx(2.0)
    assert small[1].mean() == pytest.approx(2.0)
    assert resize_flow(small, (40, 80))[0].mean() == pytest.approx(8.0)


def test_one_frame_has_no_flow(stream):
    assert clip_flows(texture(stream)[None], load_estimator("dis"), 128, 64).shape == (0, 2, 64, 64)


def test_bad_settings_are_named():
    with pytest.raises(VidmemError, match="estimator one of"):
        load_estimator("farneback")
    with pytest.raises(VidmemError, match="weights for raft-large"):
        load_estimator("raft-large")
    with pytest.raises(VidmemError, match="at least 128"):
        clip_flows(np.zeros((2, 64, 64, 3), np.uint8), load_estimator("dis"), 64, 64)


def test_colours_tell_directions_apart():
    still, right, left = (colour_flow(np.stack([np.full((4, 4), dx), np.zeros((4, 4))]), 1.0)[0, 0] for dx in (0.0, 1.0, -1.0))
    assert still.tolist() == [255, 255, 255]
    assert right.tolist() == [255, 0, 0]
    assert left.tolist() == [0, 255, 255]


RAFT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np, torch
from vidmem.features.flow import clip_flows, load_estimator, raft_network
torch.manual_seed(0)
weights = Path(sys.argv[2])
torch.save(raft_network("raft_small").state_dict(), weights)
flows = clip_flows(np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8),
                   load_estimator("raft-small", weights), 128, 64)
assert flows.shape == (2, 2, 64, 64) and np.isfinite(flows.astype(float)).all(), flows.shape
print("RAFT ran")
"""


@pytest.mark.slow
def test_raft_contract_with_random_weights(tmp_path, root):
    """torchvision without its dependencies, in a folder and a process of its own: half-working, it breaks transformers."""
    folder = tmp_path / "torchvision"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "torchvision==0.28.0"]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", RAFT, str(root / "workflow_scripts"), str(tmp_path / "raft.pth")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "RAFT ran" in result.stdout, result.stderr[-2000:]
