"""Rates on a GPU: generation, descriptors, flow and exact search, each against what it is measured by, in one run.

    python benchmarks/gpu.py [--parts generation descriptors flow search] [--size full|tiny] [--device cuda]

Networks have the published sizes and random weights: rates do not depend on the weights, pictures do.
generation: a model of the size of ModelScope's text-to-video, in batches with a compiled denoiser against one prompt at a
time, at one number format; samples an hour, their ratio, peak memory and how far the pictures are apart.
descriptors: a ResNet-50 at 288 px, the body of SSCD, as TorchScript, beside the preparation of the frames.
flow: RAFT at 256 px (needs the extra raft).
search: 160,000 query frames against a million descriptors that are on the device, against the bare product in bfloat16.
With --size tiny everything is small: to see on a processor that it runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

TOLERANCE = 5.0
"""Grey levels of 255 in the mean by which pictures of batches, compiled, may differ from single ones (docs/models.md)."""
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.errors import VidmemError
from vidmem.features.descriptors import PRESETS, describe_frames, load_encoder, normalise
from vidmem.features.flow import clip_flows, load_estimator
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request

SIZES = {
    "full": {"widths": (320, 640, 1280, 1280), "text": 1024, "text_layers": 23, "vae": (128, 256, 512, 512), "pixels": 256,
             "frames": 16, "steps": 50, "prompts": 64, "batch": 16, "single": 4, "described": 4096, "pairs": 256,
             "references": 1_000_000, "queries": 160_000, "raft": "raft-large", "heads": 64},
    "tiny": {"widths": (32, 64, 64, 64), "text": 32, "text_layers": 1, "vae": (32, 32, 32, 32), "pixels": 64,
             "frames": 4, "steps": 2, "prompts": 4, "batch": 2, "single": 2, "described": 8, "pairs": 2,
             "references": 20_000, "queries": 400, "raft": "raft-small", "heads": 16},
}  # fmt: skip


def seconds(action: Callable[[], object], device: str) -> float:
    """Wall time of a call, the device's own work included."""
    synchronise(device)
    began = time.perf_counter()
    action()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def save_model(folder: Path, sizes: dict, dtype: torch.dtype) -> None:
    """A text-to-video pipeline of ModelScope's architecture (diffusers' UNet3DConditionModel, CLIP, an autoencoder)."""
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from vidmem.models.families.reference import build_tokenizer

    tokenizer, width = build_tokenizer(["a cat", "a dog"], 600), sizes["text"]
    text = CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_attention_heads=max(1, width // 64),
                          num_hidden_layers=sizes["text_layers"], vocab_size=len(tokenizer),
                          max_position_embeddings=tokenizer.model_max_length, bos_token_id=tokenizer.bos_token_id,
                          eos_token_id=tokenizer.eos_token_id)  # fmt: skip
    unet = UNet3DConditionModel(sample_size=sizes["pixels"] // 8, block_out_channels=sizes["widths"], cross_attention_dim=width,
                                attention_head_dim=sizes["heads"], layers_per_block=2)  # fmt: skip
    vae = AutoencoderKL(block_out_channels=sizes["vae"], down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4,
                        sample_size=sizes["pixels"])  # fmt: skip
    parts = {"vae": vae, "text_encoder": CLIPTextModel(text), "unet": unet}
    print(f"generation: denoiser of {sum(p.numel() for p in unet.parameters()) / 1e9:.2f} billion parameters", flush=True)
    pipeline = TextToVideoSDPipeline(tokenizer=tokenizer, scheduler=DDIMScheduler(), **parts).to(dtype)
    pipeline.save_pretrained(folder, safe_serialization=True)


def generation(sizes: dict, device: str) -> None:
    name = "bfloat16" if device != "cpu" else "float32"
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_model(Path(folder), sizes, getattr(torch, name))
        side = (sizes["pixels"],) * 2
        base = {"steps": sizes["steps"], "guidance": 7.5, "frames": sizes["frames"], "size": side, "dtype": name}
        single = GenerationSpec("TextToVideoSDPipeline", folder, batch=1, **base)
        many = replace(single, batch=sizes["batch"], compile=True)
        requests = [Request(f"p{number}", f"a cat and {number} dogs", 0) for number in range(sizes["prompts"])]
        slow = generated(single, requests[: sizes["single"]], device, "one prompt at a time")
        fast = generated(many, requests, device, f"batches of {sizes['batch']}, compiled")
    apart = [np.abs(one.frames.astype(int) - other.frames.astype(int)) for one, other in zip(slow[1], fast[1])]
    verdict = "within" if np.mean(apart) <= TOLERANCE else "BEYOND"
    levels = f"{np.mean(apart):.2f} levels of 255 in the mean ({verdict} {TOLERANCE}), {np.max(apart)} at most"
    print(f"generation: {fast[0] / slow[0]:.2f} times as many samples an hour; pictures differ by {levels}", flush=True)


def generated(spec: GenerationSpec, requests: list[Request], device: str, name: str) -> tuple[float, list]:
    """Samples an hour and the samples, without loading and compiling."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    adapter, samples = PipelineAdapter(spec, 0, device), []
    list(adapter.generate(requests[: spec.batch]))
    took = seconds(lambda: samples.extend(sample for batch in adapter.generate(requests) for sample in batch), device)
    failed = sorted({sample.reason for sample in samples if sample.status != "ok"})
    if failed:
        raise VidmemError("samples", failed, name)
    memory = "" if device == "cpu" else f", peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    print(f"generation: {name}: {3600 * len(samples) / took:.0f} samples an hour{memory}", flush=True)
    return len(samples) / took, samples


def descriptors(sizes: dict, device: str) -> None:
    from transformers import ResNetConfig, ResNetModel

    class Body(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = ResNetModel(ResNetConfig()), torch.nn.Linear(2048, 512)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(images, return_dict=False)[1].flatten(1))

    frames = np.random.default_rng(0).integers(0, 255, (sizes["described"], 256, 256, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        torch.jit.trace(Body().eval(), torch.zeros(1, 3, 288, 288)).save(f"{folder}/body.pt")
        preset = PRESETS["sscd-mixup-288"]
        encode = load_encoder(preset, f"{folder}/body.pt", device=device)
        list(describe_frames(frames[:64], encode, preset, 64))
        whole = seconds(lambda: list(describe_frames(frames, encode, preset, 64)), device)
        images = np.zeros((64, 288, 288, 3), np.uint8)
        network = seconds(lambda: [encode(images) for _ in range(max(1, len(frames) // 64))], device)
    made = max(1, len(frames) // 64) * 64
    print(f"descriptors: {len(frames) / whole:.0f} frames a second, the network alone {made / network:.0f}", flush=True)


def flow(sizes: dict, device: str) -> None:
    from safetensors.torch import save_file

    from vidmem.features.flow import raft_network

    with tempfile.TemporaryDirectory() as folder:
        network = raft_network(sizes["raft"].replace("-", "_"))
        save_file(network.state_dict(), f"{folder}/raft")
        estimate = load_estimator(sizes["raft"], f"{folder}/raft", device)
        frames = np.random.default_rng(0).integers(0, 255, (sizes["pairs"] + 1, 256, 256, 3), dtype=np.uint8)
        clip_flows(frames[:2], estimate, 256, 64)
        took = seconds(lambda: clip_flows(frames, estimate, 256, 64), device)
    print(f"flow: {sizes['raft']} {sizes['pairs'] / took:.1f} frame pairs a second", flush=True)


def search(sizes: dict, device: str) -> None:
    from vidmem.search.exact_gpu import search_clips_gpu

    stream, frames = np.random.default_rng(0), 16
    references = normalise(stream.standard_normal((sizes["references"], 512), dtype=np.float32)).astype(np.float16)
    queries = normalise(stream.standard_normal((sizes["queries"], 512), dtype=np.float32))
    counts, step = np.full(len(queries) // frames, frames), 16 * 8192
    resident = torch.from_numpy(references).to(device)
    blocks = [(resident[at : at + step], np.full(len(references[at : at + step]) // frames, frames))
              for at in range(0, len(references), step)]  # fmt: skip
    search_clips_gpu(queries[: frames * 8], counts[:8], blocks[:1], 5, device)
    took = seconds(lambda: search_clips_gpu(queries, counts, blocks, 5, device), device)
    bare = product_rate(device)
    rate = len(queries) * len(references) * 512 * 2 / took
    print(f"search: {took:.2f} s, {rate / 1e12:.1f} TFLOP/s, {rate / bare:.2f} of the bare product in bfloat16 "
          f"({bare / 1e12:.1f} TFLOP/s)", flush=True)  # fmt: skip


def product_rate(device: str, side: int = 8192) -> float:
    """Operations a second of a product of descriptors in bfloat16 that are on the device."""
    rows = side if device != "cpu" else 1024
    first, second = (torch.randn(rows * count, 512, device=device, dtype=torch.bfloat16) for count in (1, 4))
    out = first @ second.T
    took = seconds(lambda: [torch.mm(first, second.T, out=out) for _ in range(20)], device)
    return 20 * 2 * 512 * len(first) * len(second) / took


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"generation": generation, "descriptors": descriptors, "flow": flow, "search": search}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args()
    print(torch.cuda.get_device_name() if asked.device != "cpu" else "processor", f"torch {torch.__version__}", flush=True)
    for part in asked.parts:
        try:
            parts[part](SIZES[asked.size], asked.device)
        except VidmemError as error:  # one that cannot be measured here says why; the others are measured
            print(f"{part}: not measured: {' '.join(str(error).split())}", flush=True)
