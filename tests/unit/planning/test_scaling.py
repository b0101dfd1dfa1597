"""Plans and exponents against hand-computed cases."""

import math

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.planning.scaling import DeviceRates, fit_exponent, plan_scan

RATES = DeviceRates(products=1e12, scores=1e9, loading=1e8, basis="made up")


def test_a_plan_by_hand():
    plan = plan_scan(RATES, references=1_000_000, queries=2000, width=500, devices=1)
    assert plan.stored_bytes == plan.device_bytes == 10**9
    assert plan.product_seconds == 1.0
    assert plan.score_seconds == 1_000_000 * 2000 * 8 / 1e9
    assert plan.loading_seconds == 10.0
    assert plan.seconds == 1.0 + 16.0


def test_loading_bounds_a_scan_of_few_queries():
    plan = plan_scan(RATES, 1_000_000, 1, 500, 1)
    assert plan.seconds == plan.loading_seconds == 10.0


@pytest.mark.parametrize("devices", [2, 8, 64])
def test_devices_share_the_references(devices):
    one, many = (plan_scan(RATES, 64_000, 100, 32, count) for count in (1, devices))
    assert many.seconds == pytest.approx(one.seconds / devices)
    assert many.device_bytes * devices == one.stored_bytes == many.stored_bytes


def test_a_share_that_does_not_divide_is_rounded_up():
    assert plan_scan(RATES, 10, 1, 1, 4).device_bytes == 3 * 2


def test_no_device_is_refused():
    with pytest.raises(VidmemError, match="at least one device"):
        plan_scan(RATES, 10, 1, 1, 0)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponents_of_power_laws(power):
    sizes = np.array([10, 30, 100, 1000])
    assert fit_exponent(sizes, 7 * sizes**power) == pytest.approx(power, abs=1e-12)


@pytest.mark.parametrize(("sizes", "values"), [([10, 10], [1, 2]), ([10, 20], [0, 1]), ([-1, 2], [1, 1])])
def test_what_has_no_exponent_is_refused(sizes, values):
    with pytest.raises(VidmemError, match="two different sizes"):
        fit_exponent(sizes, values)


def test_infinite_rates_cost_nothing():
    plan = plan_scan(DeviceRates(1e9, math.inf, math.inf, "a core"), 1000, 1000, 1000, 1)
    assert plan.seconds == plan.product_seconds == 1.0
