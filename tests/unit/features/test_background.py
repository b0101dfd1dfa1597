"""The background of common motion: its spectrum, the fields without it, and who is compared without which part."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from refusals import refused
from vidmem.base.store import load_table, save_table
from vidmem.config import BACKGROUND_GRID
from vidmem.features.background import (
    DAMPING,
    FLOOR,
    FOLDS,
    GRID,
    LEAST,
    POWER,
    check_background,
    check_origin,
    fit_background,
    load_background,
    pooled_fields,
    save_background,
    whitened_fields,
    without_background,
)
from vidmem.features.metrics import metric_of
from vidmem.features.motion import EPSILON, mirror_flows
from vidmem.features.motion_comparison import MotionComparison, configured_rule, variants_of
from vidmem.features.motion_rule import MotionRule, ofs_by_rule

EVEN = np.ones((2, GRID, GRID), np.float32)


def smooth(stream, pairs, side=GRID):
    """Flows whose energy falls with the frequency, as that of clips does."""
    noise = np.fft.fft2(stream.normal(size=(pairs, 2, side, side)))
    rows, columns = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    return np.real(np.fft.ifft2(noise / (0.02 + np.hypot(rows, columns))))


def clips_of(stream, count=40, pairs=5):
    return {f"films-{place:02d}": smooth(stream, pairs) for place in range(count)}


def slow_pooling(flows):
    """Every vector with its length to a power, or dropped; then means over the cells, rounded as they are stored."""
    damped, height, width = np.zeros(flows.shape), flows.shape[1] // GRID, flows.shape[2] // GRID
    for row, column in product(*map(range, flows.shape[1:])):
        length = np.hypot(*flows[:, row, column])
        if length >= EPSILON:
            damped[:, row, column] = flows[:, row, column] / length * length**DAMPING
    pooled = np.zeros((2, GRID, GRID))
    for row, column in product(range(GRID), range(GRID)):
        cell = damped[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
        pooled[:, row, column] = cell.mean(axis=(1, 2))
    return pooled.astype(np.float16).astype(float)


def slow_field(flows, spectrum):
    """Cosine transform by its definition, one frequency at a time, divided by a power of the spectrum."""
    flows, side = slow_pooling(flows), GRID
    waves = np.array([[np.cos(np.pi * (place + 0.5) * wave / side) for place in range(side)] for wave in range(side)])
    waves *= np.sqrt(np.where(np.arange(side) == 0, 1, 2) / side)[:, None]
    weights = (spectrum + FLOOR * spectrum.max()) ** -POWER
    found = np.zeros(flows.shape)
    for component, row, column in product(range(2), range(side), range(side)):
        wave = np.outer(waves[row], waves[column])
        found[component, row, column] = (flows[component] * wave).sum() * weights[component, row, column]
    return found.ravel() / np.linalg.norm(found)


def test_the_plan_knows_the_grid():
    assert BACKGROUND_GRID == GRID


def test_fields_are_those_of_the_definition(stream):
    clips = clips_of(stream)
    background = fit_background("corpus-x", "dis", clips.items())
    for side in (GRID, 2 * GRID):
        flows = smooth(stream, 2, side)
        found = whitened_fields(flows, background.weights[None])
        assert found.dtype == np.float32
        assert np.array_equal(whitened_fields(pooled_fields(flows), background.weights[None]), found)
        for field, own in zip(found, flows):
            assert field == pytest.approx(slow_field(own, background.spectrum()), abs=2e-5)


def test_an_even_spectrum_leaves_the_cosine_of_pooled_fields(stream):
    flows = stream.normal(size=(4, 2, 64, 64))
    pooled = np.stack([slow_pooling(field).ravel() for field in flows])
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    fields = whitened_fields(flows, EVEN)
    assert fields @ fields.T == pytest.approx(pooled @ pooled.T, abs=1e-5)


def test_the_spectrum_is_the_mean_energy_of_unit_fields(stream):
    clips = clips_of(stream, 12)
    background = fit_background("corpus-x", "dis", clips.items())
    fields = np.concatenate([whitened_fields(flows, EVEN) for flows in clips.values()]).astype(float)
    assert background.spectrum().ravel() == pytest.approx((fields**2).mean(axis=0), abs=1e-7)
    assert background.spectrum().sum() == pytest.approx(1)
    assert background.counts.sum() == 60


def test_the_background_does_not_depend_on_the_order(stream):
    clips = list(clips_of(stream).items())
    one, other = (fit_background("corpus-x", "dis", some) for some in (clips, clips[::-1]))
    assert np.array_equal(one.energies, other.energies)
    assert one.name == other.name


def test_a_part_left_out_is_the_background_of_the_others(stream):
    clips = clips_of(stream)
    whole = fit_background("corpus-x", "dis", clips.items())
    assert (whole.counts > 0).all()
    for fold in range(FOLDS):
        others = {name: flows for name, flows in clips.items() if whole.fold_of(name) != fold}
        assert np.array_equal(whole.spectrum(fold), fit_background("corpus-x", "dis", others.items()).spectrum())
        assert not np.array_equal(whole.spectrum(fold), whole.spectrum())


def test_windows_of_a_video_are_in_one_part(stream):
    background = fit_background("corpus-x", "dis", [])
    names = ["films-a-00000000", "films-a-00000000-w2", "films-a-00000000-w13", "corpus-x/films-a-00000000"]
    assert len({background.fold_of(name) for name in names}) == 1


def test_mirrored_clips_agree_as_the_clips_do(stream):
    background = fit_background("corpus-x", "dis", clips_of(stream).items())
    flows = smooth(stream, 6)
    plain, mirrored = (whitened_fields(some, background.weights[None]) for some in (flows, mirror_flows(flows)))
    assert mirrored @ mirrored.T == pytest.approx(plain @ plain.T, abs=1e-5)
    assert np.abs(mirrored @ plain.T).max() < 0.99
    assert np.array_equal(mirror_flows(mirror_flows(flows)), flows)


def disc(row, column, radius=2.5):
    rows, columns = np.mgrid[0:GRID, 0:GRID]
    return (np.hypot(rows - row, columns - column) < radius).astype(float)


def test_common_motion_counts_less_and_a_copy_stays_a_copy(stream):
    """Two clips share a pan, and each has an object of its own."""
    background = fit_background("corpus-x", "dis", clips_of(stream).items())
    rule = MotionRule(1, "whitened", weights=background.weights[None])
    pan = np.stack([np.ones((GRID, GRID)), np.zeros((GRID, GRID))])
    one, other = ((pan + shift * disc(*place))[None] for shift, place in (
        (np.array([0, 3.0])[:, None, None], (4, 4)), (np.array([0, -3.0])[:, None, None], (11, 10)),
    ))  # fmt: skip
    copy = one + 0.05 * stream.normal(size=one.shape)
    even = MotionRule(1, "whitened", weights=EVEN)
    plain, without = ([ofs_by_rule(one, seen, used).item() for seen in (other, copy)] for used in (even, rule))
    assert without[0] < plain[0] - 0.2
    assert without[1] > 0.9


def test_what_stands_still_agrees_with_nothing(stream):
    weights = fit_background("corpus-x", "dis", clips_of(stream).items()).weights[None]
    flows = np.stack([smooth(stream, 1)[0], np.full((2, GRID, GRID), 0.01), np.zeros((2, GRID, GRID))])
    fields = whitened_fields(flows, weights)
    assert np.linalg.norm(fields, axis=1) == pytest.approx([1, 0, 0], abs=1e-6)
    assert fit_background("corpus-x", "dis", [("a", flows)]).counts.sum() == 1


def test_fewer_fields_than_frequencies_leave_finite_weights(stream):
    """A pan alone fills one frequency; the floor says what the others weigh."""
    pan = np.stack([np.ones((GRID, GRID)), np.zeros((GRID, GRID))])
    weights = fit_background("corpus-x", "dis", [("a", np.stack([pan] * 20))]).weights[None]
    assert np.isfinite(weights).all()
    assert weights.max() / weights.min() == pytest.approx(((1 + FLOOR) / FLOOR) ** POWER, rel=1e-4)
    fields = whitened_fields(smooth(stream, 3), weights)
    assert np.linalg.norm(fields, axis=1) == pytest.approx(1, abs=1e-5)


def test_bad_flows_are_refused(stream):
    bad = smooth(stream, 2)
    bad[1, 0, 3, 3] = np.nan
    refused(lambda: fit_background("corpus-x", "dis", [("a", bad)]), "finite flows", "pair 1")
    refused(
        lambda: fit_background("corpus-x", "dis", [("a", stream.normal(size=(2, 2, 20, 20)))]),
        "16 divides",
        "(20, 20)",
        "flow.grid",
    )
    pooled = pooled_fields(smooth(stream, 2)).astype(np.float32)
    pooled[1, 5] = np.inf
    refused(lambda: whitened_fields(pooled, EVEN), "finite fields", "pooled")


def test_too_few_fields_are_an_error_and_still_images_need_none(stream):
    few = fit_background("corpus-x", "dis", [("a", smooth(stream, LEAST - 1))])
    refused(
        lambda: check_background(few, 100, "corpus x"),
        f"at least {LEAST} flow fields",
        str(LEAST - 1),
        "corpus x",
        "motion.background.splits",
    )
    check_background(fit_background("corpus-x", "dis", [("a", smooth(stream, LEAST))]), 100, "corpus x")
    none = fit_background("corpus-images", "", [])
    check_background(none, 0, "corpus images")
    assert np.ptp(none.weights[None]) == 0
    refused(
        lambda: check_background(fit_background("corpus-x", "dis", [("a", np.zeros((50, 2, GRID, GRID)))]), 50, "corpus x"),
        "with motion",
        "0",
    )


def test_a_background_is_of_flows_like_ours(stream):
    background = fit_background("corpus-x", "dis side 256 grid 64", [("a", smooth(stream, 20))])
    check_origin(background, "dis side 256 grid 64", "file")
    check_origin(background, "", "file")  # a corpus without flows
    refused(lambda: check_origin(background, "raft-large side 256 grid 64", "file"), "raft-large", "dis side 256", "file")


def test_a_saved_background_is_the_same(stream, tmp_path):
    background = fit_background("corpus-x", "dis", clips_of(stream, 8).items())
    save_background(tmp_path / "x.parquet", background)
    loaded = load_background(tmp_path / "x.parquet")
    assert np.array_equal(loaded.energies, background.energies)
    assert np.array_equal(loaded.counts, background.counts)
    assert (loaded.clips, loaded.computed_by, loaded.name) == ("corpus-x", "dis", background.name)


def test_a_picture_of_the_rest_has_the_length_of_the_whole(stream):
    weights = fit_background("corpus-x", "dis", clips_of(stream).items()).weights[None]
    flows = smooth(stream, 3)
    rest = without_background(flows, weights)
    assert rest.shape == flows.shape
    assert np.hypot(rest[:, 0], rest[:, 1]).max(axis=(1, 2)) == pytest.approx(
        np.hypot(flows[:, 0], flows[:, 1]).max(axis=(1, 2))
    )
    lengths = np.hypot(*without_background(flows, EVEN).swapaxes(0, 1))
    assert lengths.max(axis=(1, 2)) == pytest.approx(np.hypot(*flows.swapaxes(0, 1)).max(axis=(1, 2)), rel=1e-4)


SECTION = {"metric": "wofs_k", "k": 2, "cosine": "field", "pairing": "max", "filter": {}, "views": ["mirrored"]}


def test_a_clip_of_the_background_is_compared_without_its_part(stream, tmp_path):
    clips = clips_of(stream)
    save_background(tmp_path / "x.parquet", fit_background("corpus-x", "dis", clips.items()))
    comparison = MotionComparison.of(SECTION, tmp_path / "x.parquet")
    ofs, wofs = comparison.metrics
    assert (ofs.name, wofs.name) == ("ofs_k", "wofs_k")
    table = pd.DataFrame({"clip_id": [*clips, "made"], "set": ["corpus-x"] * len(clips) + ["generated-m"]})
    (alone,) = comparison.by_rule(ofs, table, list(table["clip_id"]))
    assert alone == (comparison.rule, list(table["clip_id"]))
    seen = []
    for rule, names in comparison.by_rule(wofs, table, list(table["clip_id"])):
        folds = {comparison.background.fold_of(name) for name in names if name != "made"}
        assert len(folds) <= 1
        assert np.array_equal(rule.weights, comparison.background.weights[folds.pop() if folds else None])
        seen += names
    assert sorted(seen) == sorted(table["clip_id"])
    assert comparison.preset(ofs, "dis") == "dis"
    assert comparison.preset(wofs, "dis") == f"dis background {comparison.background.name}"


def test_rules_say_how_they_compare(stream, tmp_path):
    save_background(tmp_path / "x.parquet", fit_background("corpus-x", "dis", clips_of(stream, 8).items()))
    rule = configured_rule(SECTION, [tmp_path / "x.parquet"])
    assert (rule.variant, rule.k, rule.views) == ("whitened max", 2, ("mirrored",))
    assert configured_rule({}, []) is None
    assert variants_of(SECTION | {"metric": "ofs_k"}) == {"ofs_k": "field max"}
    assert metric_of("wofs_k").whitened
    refused(lambda: MotionRule(2, "whitened"), "weights")
    refused(lambda: MotionRule(2, weights=EVEN), "weights")


def test_a_background_of_other_fields_is_refused(stream, tmp_path):
    save_background(tmp_path / "x.parquet", fit_background("corpus-x", "dis", clips_of(stream, 8).items()))
    save_table(tmp_path / "x.parquet", load_table(tmp_path / "x.parquet").assign(damping=1.0))
    refused(lambda: load_background(tmp_path / "x.parquet"), "damping 0.15", "1.0", "x.parquet")
    save_table(tmp_path / "x.parquet", load_table(tmp_path / "x.parquet").drop(columns="damping"))
    refused(lambda: load_background(tmp_path / "x.parquet"), "this version", "damping", "x.parquet", "measure it again")
