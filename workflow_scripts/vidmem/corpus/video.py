"""Videos as PyAV opens them: the stream that counts, when each of its frames is shown, how long it lasts, and what is damaged.

Only formats of footage are opened, and never a second file: a playlist or a script for FFmpeg is no footage, whatever its name.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import av

from ..errors import ClipError
from .files import File, check_file

FORMATS = (
    "mov", "matroska", "avi", "gif", "mpeg", "mpegts", "mpegvideo", "asf", "flv", "ogg", "m4v", "h264", "hevc", "ivf", "mjpeg"
)  # fmt: skip
"""Formats of footage, by FFmpeg's names. None of them names another file, or an address, to be opened."""

UNTIMED = frozenset({"avi", "asf", "mpegvideo", "m4v", "h264", "hevc", "mjpeg"})
"""Formats without presentation times. FFmpeg guesses them, wrongly where frames are not stored in the order of showing."""

UNSEEKABLE = frozenset({"mpeg"})
"""Further formats in which FFmpeg does not know, after a seek, when the next frames are shown."""

STREAMED = frozenset({"mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "mjpeg"})
"""Formats without an index, in which several recordings may stand one after another. Only all packets tell where they end."""

GAP_S = 1.0  # a frame that stays longer while others change more often is told as a gap, and not as lost frames
INDEXED = ("mov", "avi")
"""Formats whose index names every packet."""

EARLY_S = 1e-6  # a frame counts as shown so much before its time: times are rounded
BACK_S = 0.5  # times that run back by more begin another recording; by less, they are errors of the file
HOLE = re.compile(rb"(?<!\0)\0{16,}+[^\0\1]", re.DOTALL)
"""Zeros inside a packet, where a piece of a download is missing. Zeros at its end or before a start code are stuffing."""
WITHOUT_ZEROS = frozenset({"h264", "hevc", "vc1", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv1", "vp8", "vp9", "av1"})
"""Codecs that write no such zeros: they guard their start codes, or code by arithmetic."""
SOME_ZEROS = bytes(8)  # stand in every hole; at the end of a packet they are stuffing, or a hole begins
CHUNK_HEADER = 8  # bytes before the data of a packet in an AVI
EVEN_STEPS = 6
"""Steps of decoding times that must be even before one that is left out counts as a lost frame."""
ROUNDED_S = 0.0011
"""Largest difference of even steps, in seconds: times may come from a container that rounds them to milliseconds."""
LOST_GAPS = 3
"""Most places where frames were lost. With more of them, the encoder left out frames that nobody lacks."""
REORDERED = 4  # frames that may be decoded before a frame that is shown earlier
SEEK_GAP_S = 10.0  # without an index, a seek over so much is worth it: most videos have a key frame in it
SEEK_FRAMES = 8  # a seek costs about the decoding of so many frames
STEPS_BACK_S = (0.0, 2.0, 10.0)  # where a seek begins before its target, until a key frame comes early enough


class Shown(NamedTuple):
    """A decoded frame.

    Attributes:
        start: when it is shown, in seconds from the first frame of the video.
        end: until when, going by its own length.
        frame: the frame as PyAV has it.
        damaged: whether it, or a frame that it may depend on, could not be decoded whole.
        after_damage: whether frames just before it may be lost.
        spoils: whether the frame that came before it is damaged, too: a hole began at its end.
    """

    start: float
    end: float
    frame: av.VideoFrame
    damaged: bool
    after_damage: bool
    spoils: bool


@contextmanager
def open_container(file: File) -> Iterator[av.container.InputContainer]:
    """Open a file of footage. FFmpeg opens no other file, whatever this one says.

    Raises:
        ClipError: no format of footage, or damaged.
    """
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    place = io.BytesIO(file) if isinstance(file, bytes) else f"file:{file}"
    try:
        container = av.open(place, options=options, metadata_errors="replace")
    except av.ArgumentError as error:
        raise ClipError("undecodable", "a format that is no footage, such as a playlist") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ClipError("undecodable", short_text(error)) from error
    with container:
        yield container


def main_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Video stream that FFmpeg itself would take. A picture that is attached, such as cover art, is no video.

    Raises:
        ClipError: there is no video stream.
    """
    videos, best = container.streams.video, container.streams.best("video")
    moving = [stream for stream in videos if not stream.disposition & av.stream.Disposition.attached_pic]
    if not moving:
        only = " (cover art only)" if videos else " (audio only)" if container.streams.audio else ""
        raise ClipError("undecodable", f"no video stream{only}")
    several = [stream for stream in moving if stream.frames != 1] or moving  # a track of one frame is a thumbnail
    chosen = best if best in several else max(several, key=lambda stream: stream.width * stream.height)
    if chosen.codec_context is None:
        raise ClipError("undecodable", "no decoder for the codec of the video")
    chosen.codec_context.thread_count = 1  # a job has one core; threads would only change what a damaged frame shows
    return chosen


def _is_untimed(stream: av.VideoStream) -> bool:
    """Whether a stream has no presentation times. A Matroska file may hold a stream as an AVI does, told by its FourCC."""
    name = stream.container.format.name
    return name in UNTIMED or (name.startswith("matroska") and stream.codec_context.codec_tag != "\0\0\0\0")


def _packets_of(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Packets of a stream. A stream that begins late in the file makes PyAV stumble once for each of its packets."""
    while True:
        try:
            yield from container.demux(stream)
        except IndexError:
            continue
        return


class Video:
    """A video that is open for reading from its first frame to its last. Times are seconds from the first frame.

    Attributes:
        stream: the video stream.
        damage: what FFmpeg last said of a damaged part; '' for nothing.
        end: end of the last frame that was decoded.
    """

    def __init__(self, file: File, container: av.container.InputContainer) -> None:
        """Decode the first frame of a video.

        Raises:
            ClipError: no video stream, or no frame that can be decoded.
        """
        self.stream, self.damage, self.end = main_stream(container), "", 0.0
        self._file, self._container = file, container
        self._origin = math.nan  # time of the first frame in the file; nan before that frame has come
        self._tick_s = float(self.stream.time_base)
        self._rate = float(self.stream.average_rate or self.stream.guessed_rate or 25)
        self._last_s = 1 / self._rate  # length of the packet that came last
        self._stored = math.nan  # decoding time of the first packet
        self._untimed = _is_untimed(self.stream)
        self._seekable = not self._untimed and container.format.name not in UNSEEKABLE
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise ClipError("undecodable", self.damage or "no decodable frame")
        self._first = first

    @cached_property
    def _tail(self) -> Tail:
        return _tail_of(self._file)

    @property
    def length(self) -> float | None:
        """Seconds from the first frame to the end of the last one. None if no packet has a time."""
        begin = self._origin if math.isnan(self._stored) or not self._untimed else self._stored
        return None if self._tail.end is None else self._tail.end - begin

    def shown_at(self, targets: Iterable[float]) -> Iterator[tuple[Shown, float]]:
        """Yield the frame that is shown at each time, and when the next frame takes its place. To be called once.

        The frame is the last one whose start is not after the time. Where it stands for frames that are lost, it counts as
        damaged. The iteration ends where the video ends.

        Args:
            targets: times in seconds from the first frame, ascending.
        """
        shown, following = self._first, next(self._frames, None)
        for target in targets:
            if following is not None and self._is_worth_a_seek(following.start, target):
                self._frames = self._seek(target)
                following = next(self._frames, None)
            while following is not None and following.start <= target + EARLY_S:
                shown, following = following, next(self._frames, None)
            if following is None:
                # Lengths of packets are differences of decoding times. The last packet has the length of the last frame.
                self.end = shown.start + self._last_s
                if target >= self.end - EARLY_S:
                    return
                yield shown, self.end
                continue
            if following.after_damage and shown.end - EARLY_S < target and following.start - shown.start <= GAP_S:
                shown = shown._replace(damaged=True)
            yield shown, following.start

    def _is_worth_a_seek(self, now: float, target: float) -> bool:
        """Whether a key frame lies far enough behind the current frame. Where the index ends too early, a large gap decides."""
        least = SEEK_FRAMES / self._rate
        if not self._seekable or target - now <= least:
            return False
        index, wanted = self.stream.index_entries, self._ticks_before(target)
        place = index.search_timestamp(wanted) if len(index) else -1
        if self._container.format.name in STREAMED and not self._tail.runs_on:
            self._seekable = False
            return False
        if place >= 0 and index[place].timestamp * self._tick_s - self._origin - now > least:
            return True
        return target - now > SEEK_GAP_S and (place < 0 or index[-1].timestamp < wanted)

    def _ticks_before(self, target: float) -> int:
        """Decoding time of a packet that is surely shown by a time. A packet is decoded some frames before it is shown."""
        ahead = (REORDERED if self.stream.codec_context.has_b_frames else 1) / self._rate
        return int(min((self._origin + target - ahead) / self._tick_s, LAST))

    def _seek(self, target: float) -> Iterator[Shown]:
        """Frames from the last key frame before a time on. Frames before the first key frame may lack what they build on."""
        for step in STEPS_BACK_S:
            try:
                self._container.seek(self._ticks_before(target - step), stream=self.stream)
            except av.FFmpegError:
                break
            frames = self._decode()
            early = itertools.takewhile(lambda shown: shown.start <= target + EARLY_S, frames)
            first = next((shown for shown in early if shown.frame.key_frame), None)
            if first is not None:
                yield first
                yield from frames
                return
        self._seekable = False
        with open_container(self._file) as container:
            self._container, self.stream = container, main_stream(container)
            yield from self._decode()

    @property
    def _delay(self) -> int:
        """Frames that may be decoded between a frame and one that is shown before it."""
        return REORDERED if self.stream.codec_context.has_b_frames else 0

    def _decode(self) -> Iterator[Shown]:
        """Frames from the current place on. If one is damaged, so may be the few before it that are decoded after it."""
        held: deque[Shown] = deque()
        for shown in self._decoded():
            if shown.damaged and self._delay:
                held = deque(before._replace(damaged=before.damaged or not before.frame.key_frame) for before in held)
            if shown.spoils and held:
                held[-1] = held[-1]._replace(damaged=True)
            held.append(shown)
            if len(held) > max(1, self._delay):
                yield self._ended(held.popleft())
        yield from map(self._ended, held)

    def _ended(self, shown: Shown) -> Shown:
        self.end = shown.end
        return shown

    def _decoded(self) -> Iterator[Shown]:
        """Frames as the decoder gives them. A part that cannot be decoded is passed over and noted."""
        damaged, before, passed_s, since, spoils = False, None, 0.0, math.inf, False
        streamed = self._container.format.name in STREAMED
        broken = _Broken(self.stream, streamed and self._tail.skipped <= LOST_GAPS)
        for packet in self._packets():
            opened = broken.ends_in_zeros
            spoiled = broken.see(packet)
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                self._note(error)
                broken.latest, spoiled, frames = packet.pts, True, []
            damaged, since = (True, 0) if spoiled else (damaged, since)
            spoils |= spoiled and opened
            for frame in frames:
                damaged = bool(frame.is_corrupt) or (damaged and not broken.is_healed_by(frame))
                start = self._time_of(frame, before) + passed_s
                if before is not None and broken.restarted and start < before.start - BACK_S:  # another recording follows
                    passed_s, broken.restarted = passed_s + before.end - start, False
                    start = before.end
                length = frame.duration * self._tick_s if frame.duration else 1 / self._rate
                start = start if before is None else max(start, before.start)
                before = Shown(start, start + length, frame, damaged, since <= self._delay, spoils)
                since, spoils = since + 1, False
                yield before

    def _packets(self) -> Iterator[av.Packet]:
        try:
            for packet in _packets_of(self._container, self.stream):
                if math.isnan(self._stored) and packet.dts is not None:
                    self._stored = packet.dts * self._tick_s
                self._last_s = packet.duration * self._tick_s if packet.duration else self._last_s
                yield packet
        except (av.FFmpegError, OSError, ValueError) as error:
            self._note(error)

    def _time_of(self, frame: av.VideoFrame, before: Shown | None) -> float:
        """Time of a frame in seconds from the first one; where the frame before ends if the file says nothing.

        Frames come in the order of showing. So where presentation times are not stored, decoding times put in order serve: that
        of the packet with which a frame comes.
        """
        ticks = frame.dts if self._untimed or frame.pts is None else frame.pts
        if math.isnan(self._origin):
            self._origin = 0.0 if ticks is None else ticks * self._tick_s
        if ticks is None:
            return 0.0 if before is None else before.end
        return ticks * self._tick_s - self._origin

    def _note(self, error: Exception) -> None:
        self.damage = f"damaged after {self.end:.3f} s: {short_text(error)}" if self.end else short_text(error)


class _Steps:
    """Decoding times that are evenly spaced, and those that leave some out.

    Args:
        tick_s: length of a tick of the times, in seconds.
    """

    def __init__(self, tick_s: float) -> None:
        self._rounded = ROUNDED_S / tick_s
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=EVEN_STEPS)

    def skips(self, time: int) -> bool:
        """Whether times were evenly spaced so far, but for rounding, and now some are left out."""
        step, self._last = 0 if self._last is None else time - self._last, time
        even = len(self._steps) == EVEN_STEPS and max(self._steps) - min(self._steps) <= self._rounded < min(self._steps)
        if even and step > 1.5 * max(self._steps):
            return True
        self._steps.append(step)
        return False


class _Broken:
    """Packets that are broken, or that follow packets which were lost. The decoder may conceal both without a word.

    A packet is broken if the container says so, or if zeros stand where its codec writes none. Packets were lost where the
    index of the file names them, or where decoding times that were evenly spaced skip some. Without an index, an encoder may
    have left out the frames. So the packet before must end in zeros, as a hole begins, or this one be broken. In formats of
    transport it is enough that few times are skipped.

    Attributes:
        ends_in_zeros: whether the last packet ended in zeros: stuffing, or the beginning of a hole.
        latest: time of the last broken packet; None for none.
        restarted: whether another recording has begun, with times of its own. After damage, frames alone may come out of order.

    Args:
        stream: the stream of the packets.
        even: whether few times are skipped in the whole file.
    """

    def __init__(self, stream: av.VideoStream, even: bool) -> None:
        name, tick_s = stream.container.format.name, float(stream.time_base)
        self._codec = stream.codec_context.codec.canonical_name
        self._steps, self._back = _Steps(tick_s), BACK_S / tick_s
        self._indexed, self._streamed = name.startswith(INDEXED), even if name in STREAMED else None
        self._index = _Index(stream) if name == "avi" else None
        self._untimed, self._count = _is_untimed(stream), 0
        self.latest: int | None = None
        self.restarted = self.ends_in_zeros = False
        self._decoded: float = -math.inf

    def see(self, packet: av.Packet) -> bool:
        """Take the next packet, before it is decoded. Returns whether it is broken, or follows a lost one."""
        if packet.dts is not None and packet.dts < self._decoded - self._back:
            self.restarted, self.latest = True, None
        self._decoded = self._decoded if packet.dts is None else packet.dts
        lost = self._index is not None and self._index.skips(packet)
        if self._untimed and packet.size:  # nobody reads such a time: here it tells which frame is that of the packet
            packet.pts = self._count
        self._count += 1
        data = bytes(packet)
        broken = packet.is_corrupt or self._has_hole(data)
        if not self._indexed and packet.dts is not None and self._steps.skips(packet.dts):
            opened = self.ends_in_zeros and self._codec in WITHOUT_ZEROS
            lost |= (broken or opened) if self._streamed is None else self._streamed
        if broken or (lost and not packet.is_keyframe):
            self.latest = packet.pts
        self.ends_in_zeros = data.endswith(SOME_ZEROS)
        return bool(broken or lost)

    def _has_hole(self, data: bytes) -> bool:
        """Whether zeros stand in a packet where its codec writes none. A JPEG may hold zeros, not begin with them."""
        if self._codec == "mjpeg":
            return data.startswith(SOME_ZEROS)
        return self._codec in WITHOUT_ZEROS and SOME_ZEROS in data and HOLE.search(data) is not None

    def is_healed_by(self, frame: av.VideoFrame) -> bool:
        """Whether a frame, and what follows, needs nothing that is broken: a key frame that is shown later."""
        return bool(frame.key_frame) and (self.latest is None or frame.pts is None or frame.pts > self.latest)


class _Index:
    """The index of an AVI: which packets there are, and when each is decoded. FFmpeg counts the packets that it finds.

    An index that does not name a packet which is there is damaged itself, and no longer used.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        entries = [entry for entry in stream.index_entries if entry.size]
        self._places = {entry.pos + CHUNK_HEADER: (number, entry) for number, entry in enumerate(entries)}
        self._next: int | None = None

    def skips(self, packet: av.Packet) -> bool:
        """Whether packets are missing before this one. Sets its decoding time, and whether it is a key frame."""
        if not packet.size:
            return False
        found = None if packet.pos is None else self._places.get(packet.pos)
        if found is None:
            self._places = {}
            return False
        number, entry = found
        expected, self._next = self._next, number + 1
        packet.dts, packet.is_keyframe = entry.timestamp, entry.is_keyframe
        return expected is not None and number > expected


@contextmanager
def open_video(file: File) -> Iterator[Video]:
    """Open a video.

    Args:
        file: video file, or its content.

    Raises:
        ClipError: missing, empty, no footage, without a video stream, or without a frame that can be decoded.
    """
    check_file(file)
    with open_container(file) as container:
        yield Video(file, container)


class Tail(NamedTuple):
    """The end of a video, told by its packets.

    Attributes:
        end: end of the last frame, seconds by the clock of the file; None if it has none.
        runs_on: whether the clock never runs back.
        skipped: how often decoding times that were evenly spaced leave some out.
    """

    end: float | None
    runs_on: bool
    skipped: int


LAST = 2**52  # ticks; later than any packet
NEAR_END_S = 5.0


def _tail_of(file: File) -> Tail:
    """Where a video ends, told by its packets. Nothing is decoded.

    The length that a file states is not taken: it may be the length of the sound, and in MPEG program streams it is wrong.
    """
    with open_container(file) as container:
        stream = main_stream(container)
        if container.format.name not in STREAMED:
            last = _tail_from(container, stream, LAST).end
            if last is not None:  # where frames are not stored in order, the last one to be shown may lie before
                near = _tail_from(container, stream, max(0, int((last - NEAR_END_S) / stream.time_base)))
                if near.end is not None:
                    return near
    with open_container(file) as container:
        return _tail_from(container, main_stream(container), None)


def _tail_from(container: av.container.InputContainer, stream: av.VideoStream, ticks: int | None) -> Tail:
    """The tail that the packets from a time on tell, or all packets."""
    untimed, tick_s = _is_untimed(stream), float(stream.time_base)
    latest, before, passed, length, runs_on = -math.inf, -math.inf, 0.0, 1 / float(stream.average_rate or 25), True
    steps, skipped = _Steps(tick_s), 0
    try:
        if ticks is not None:
            container.seek(ticks, stream=stream)
        for packet in _packets_of(container, stream):
            if packet.is_discard or not packet.size:
                continue
            ticks = packet.dts if untimed or packet.pts is None else packet.pts
            time = max(latest + length, 0.0) if ticks is None else ticks * tick_s
            decoded = time if packet.dts is None else packet.dts * tick_s
            skipped += packet.dts is not None and steps.skips(packet.dts)
            if decoded < before - BACK_S:
                passed, runs_on = latest + length - time, False
            latest, before = max(latest, time + passed), decoded
            length = packet.duration * tick_s or length
    except (av.FFmpegError, OSError, ValueError):
        pass  # what came before counts; read_windows tells of the damage
    return Tail(latest + length if latest > -math.inf else None, runs_on, skipped)


def lengths_of(file: File) -> Iterator[float]:
    """Lengths that a list may rightly state of a video, in seconds: first of the whole file with its sound, then of its frames.

    Nothing comes if the file cannot be read; read_windows reports such a file.
    """
    try:
        check_file(file)
        with open_container(file) as container:
            if container.duration is not None:
                yield container.duration / av.time_base
            length = Video(file, container).length
            if length is not None:
                yield length
    except ClipError:
        return


def short_text(error: Exception) -> str:
    """First line of an error, without addresses in memory and paths, which differ from run to run."""
    text = re.sub(r" <_io\.BytesIO[^>]*>", "", str(error).split("\n")[0])
    return " ".join(re.sub(r"^\[Errno \d+\] ", "", text).split())[:160].split(": '")[0]
