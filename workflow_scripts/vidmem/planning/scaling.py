"""How cost grows with the corpus: fitted exponents, and plans for an exact scan of very many descriptors on several devices.

A plan multiplies counts by rates. The caller states which rates were measured and which are assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import VidmemError


def fit_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Exponent p of the power law values ~ sizes^p, by least squares on the logarithms.

    Raises:
        VidmemError: fewer than two different sizes, or a number that is not positive.

    >>> round(fit_exponent([1, 10, 100], [3, 30, 300]), 6)
    1.0
    """
    given, found = np.asarray(sizes, float), np.asarray(values, float)
    if len(np.unique(given)) < 2 or min(given.min(), found.min()) <= 0:
        raise VidmemError(
            "at least two different sizes, and positive numbers", (given.tolist(), found.tolist()), "fit_exponent"
        )
    return float(np.polyfit(np.log(given), np.log(found), 1)[0])


@dataclass(frozen=True)
class DeviceRates:
    """Rates of one device. A rate is infinite if another rate already includes its work.

    Attributes:
        products: multiply-adds per second in products of queries and references.
        scores: bytes of scores per second that are written and read again to choose the best.
        loading: bytes of references per second that are loaded from storage into the device's memory.
        basis: whether the rates were measured or are assumed, and from what.
    """

    products: float
    scores: float
    loading: float
    basis: str


@dataclass(frozen=True)
class ScanPlan:
    """Exact scan of references by several devices, each of which takes an equal share of the references.

    Attributes:
        devices: number of devices.
        stored_bytes: bytes of all references; device_bytes: bytes of one device's share.
        product_seconds, score_seconds, loading_seconds: time of one device for each part of the work.
        seconds: time of the scan. Loading overlaps with the other parts.
    """

    devices: int
    stored_bytes: int
    device_bytes: int
    product_seconds: float
    score_seconds: float
    loading_seconds: float
    seconds: float


SCORE_BYTES = 8
"""Bytes that are moved for each score: a float32, written once and read once."""


def plan_scan(rates: DeviceRates, references: int, queries: int, width: int, devices: int, number_bytes: int = 2) -> ScanPlan:
    """Plan an exact scan. Every device holds all queries, and the k best answers to each query are merged at the end.

    Args:
        rates: rates of each device.
        references, queries: numbers of vectors.
        width: numbers in a vector.
        devices: number of devices that scan at the same time. Each loads its share at the full rate.
        number_bytes: bytes of a stored number; 2 for float16.

    Raises:
        VidmemError: no device.

    >>> rates = DeviceRates(1e9, math.inf, 1e6, "made up")
    >>> plan = plan_scan(rates, references=1000, queries=500, width=100, devices=2)
    >>> plan.device_bytes, plan.product_seconds, plan.loading_seconds, plan.seconds
    (100000, 0.025, 0.1, 0.1)
    """
    if devices < 1:
        raise VidmemError("at least one device", devices, "plan_scan")
    share = math.ceil(references / devices)
    products = share * queries * width / rates.products
    scores, loading = share * queries * SCORE_BYTES / rates.scores, share * width * number_bytes / rates.loading
    whole, own = references * width * number_bytes, share * width * number_bytes
    return ScanPlan(devices, whole, own, products, scores, loading, max(products + scores, loading))
