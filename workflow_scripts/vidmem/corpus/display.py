"""How a decoded frame is to be shown: turned, mirrored, with which shape of pixels; and traits that are taken as stored."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type

HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range, by their numbers in ITU-T H.273, table 3."""
STRETCHED = (Fraction(1, 8), Fraction(8))  # a pixel of another shape is an error of the file
Matrix = tuple[int, int, int, int]
QUARTERS: tuple[Matrix, ...] = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
"""Matrices of no, one, two and three quarter turns, counter-clockwise."""


def display_matrix(frame: av.VideoFrame) -> Matrix:
    """Part (a, b, c, d) of a frame's display matrix, each 1, 0 or -1: a pixel (x, y) is shown at (a x + c y, b x + d y).

    A matrix that turns by another angle than a multiple of 90 degrees is rounded to the next one. Source: ISO/IEC 14496-12,
    8.3.2 (track header); numbers of the first two columns are fixed-point 16.16.
    """
    try:
        stated = next((data for data in frame.side_data if data.type == Type.DISPLAYMATRIX), None)
    except ValueError:  # PyAV knows not all kinds of side data, such as the EXIF of a camera, and then tells the angle only
        return QUARTERS[round(frame.rotation / 90) % 4]
    if stated is None:
        return 1, 0, 0, 1
    numbers = np.frombuffer(bytes(stated), np.int32)
    a, b, c, d = (float(numbers[place]) for place in (0, 1, 3, 4))
    straight = abs(a) + abs(d) >= abs(b) + abs(c)
    signs = [int(np.sign(number)) or 1 for number in (a, b, c, d)]
    return (signs[0], 0, 0, signs[3]) if straight else (0, signs[1], signs[2], 0)


def upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turn and mirror pixels [H, W, 3] as the display matrix of their frame says."""
    a, b, c, d = display_matrix(frame)
    if (a, d) == (1, 1):
        return pixels
    if not a:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[:: b or d, :: a or c])


def pixel_aspect(stream: av.VideoStream, frame: av.VideoFrame) -> float:
    """Width / height of a pixel of the upright frame. A file with an impossible aspect has square pixels."""
    stated = stream.sample_aspect_ratio or Fraction(1)
    if not STRETCHED[0] <= stated <= STRETCHED[1]:
        return 1.0
    return float(stated if display_matrix(frame)[0] else 1 / stated)


def traits_of(frame: av.VideoFrame) -> list[str]:
    """Traits of a frame that are taken as stored, in words for the reason of its clip."""
    told = ["interlaced: both fields of a frame are kept"] if frame.interlaced_frame else []
    if int(frame.color_trc) in HDR:
        told.append(f"high dynamic range ({HDR[int(frame.color_trc)]}): its values are kept")
    return told
