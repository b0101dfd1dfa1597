"""Synthetic descriptors have the spectrum and the similarities of the real ones they were fitted to, whatever the shards."""

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.descriptors import normalise
from vidmem.planning.synthetic import (
    GROUP,
    KINDS,
    SHARES,
    Spectrum,
    SyntheticCorpus,
    fit_spectrum,
    load_spectrum,
    make_queries,
    save_spectrum,
    similarity_quantiles,
    write_shards,
)


@pytest.fixture(scope="module")
def spectrum():
    return load_spectrum()


@pytest.fixture(scope="module")
def corpus(spectrum):
    return SyntheticCorpus(spectrum, 4)


@pytest.fixture(scope="module")
def small():
    """A spectrum of 128 numbers: fast, and of another shape than the shipped one."""
    spread = tuple((0.3 * SHARES**2).tolist())
    return Spectrum(128, 0.3, 0.5, 0.6, 0.4, spread, 0.8, 0.2, "made up", {})


def test_variances_of_the_centres_fall_as_fitted(spectrum):
    """Eigenvalues of many clips of one frame without spread are those of the spectrum: their order of size, and their sum."""
    still = SyntheticCorpus(Spectrum(**vars_of(spectrum) | {"spread": (0.0,) * len(SHARES)}), 1)
    vectors = np.concatenate([still.group(number)[:, 0] for number in range(12)]).astype(np.float64)
    found = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    expected = spectrum.variances
    assert np.allclose(found[:3], expected[:3], rtol=0.2)  # normalised to the sphere, and of 6144 clips
    assert np.allclose(found[10:60].sum(), expected[10:60].sum(), rtol=0.1)
    assert found.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert np.linalg.norm(vectors.mean(0)) == pytest.approx(spectrum.mean, rel=0.05)


def vars_of(spectrum):
    return {name: getattr(spectrum, name) for name in Spectrum.__dataclass_fields__}


def test_similarities_are_those_of_real_footage(spectrum, corpus):
    """Quantiles against those measured on the default corpus; 0.06 is what resampling its 96 clips moves them by, at most."""
    found = similarity_quantiles(list(corpus.group(0)))
    real = spectrum.reference
    assert found["shares"] == tuple(real["shares"])
    assert np.abs(np.subtract(found["strangers"], real["strangers"])).max() < 0.06
    assert np.abs(np.subtract(found["next_frame"], real["next_frame"]))[1:].max() < 0.06
    assert found["next_frame"][0] == pytest.approx(real["next_frame"][0], abs=0.12)  # the few clips that jump


def test_spreads_of_clips_are_those_fitted(spectrum):
    clips = SyntheticCorpus(spectrum, 8).group(3).astype(np.float64)
    found = np.quantile(clips.var(axis=1).sum(axis=1), [0.25, 0.5, 0.75])
    assert np.allclose(found, np.quantile(spectrum.spread, [0.25, 0.5, 0.75]), rtol=0.3)


def test_fit_finds_what_was_put_in(small):
    made = SyntheticCorpus(small, 8)
    found = fit_spectrum([clip for number in (0, 1, 2) for clip in made.group(number)], "again")
    assert found.mean == pytest.approx(small.mean, abs=0.05)
    assert found.exponent == pytest.approx(small.exponent, abs=0.15)
    assert found.within_exponent == pytest.approx(small.within_exponent, abs=0.15)
    assert found.walk / found.steady == pytest.approx(small.walk / small.steady, rel=0.3)
    assert found.spread[16] == pytest.approx(small.spread[16], rel=0.2)


def test_more_clips_fit_no_flatter_spectrum(small):
    """Eigenvalues of few clips fall too fast; products of different clips do not."""
    clips = list(SyntheticCorpus(small, 8).group(0))
    few = [fit_spectrum(clips[first : first + 32], "few").exponent for first in range(0, GROUP, 32)]
    assert np.mean(few) == pytest.approx(fit_spectrum(clips, "many").exponent, abs=0.1)


@pytest.mark.parametrize("cuts", [[0, 6000], [0, 1, 2047, 2048, 2049, 6000], [0, 3000, 6000]])
def test_descriptors_do_not_depend_on_the_cuts(small, cuts):
    corpus = SyntheticCorpus(small, 4)
    whole = np.concatenate([corpus.group(number).reshape(-1, 128) for number in range(3)])[:6000]
    parts = [block for first, last in zip(cuts, cuts[1:]) for block in corpus.blocks(first, last)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_shards_hold_the_rows_in_order(small, tmp_path):
    corpus = SyntheticCorpus(small, 4)
    paths = write_shards(corpus, tmp_path, 5000, 1500)
    assert [path.name for path in paths][-1] == "0000004500-0000005000.npy"
    arrays = [np.load(path) for path in paths]
    assert [array.dtype for array in arrays] == [np.float16] * 4
    assert np.array_equal(np.concatenate(arrays), np.concatenate(list(corpus.blocks(0, 5000))))
    before = paths[0].stat().st_mtime_ns
    write_shards(corpus, tmp_path, 5000, 1500)
    assert paths[0].stat().st_mtime_ns == before


def test_longer_clips_go_on_after_the_same_frames(small):
    corpus = SyntheticCorpus(small, 4)
    assert np.array_equal(corpus.group(1, 6)[:, :4], corpus.group(1))


def test_another_seed_is_another_corpus(small):
    first, second = (SyntheticCorpus(small, 2, seed).group(0)[:, 0].astype(np.float32) for seed in (0, 1))
    assert (first * second).sum(1).max() < 0.95


def test_queries_are_of_the_stated_kinds(corpus):
    rows = GROUP * 4
    asked = make_queries(corpus, rows, 90)
    vectors = asked.vectors.astype(np.float32)
    references = corpus.group(0).reshape(rows, -1).astype(np.float32)
    assert [(asked.kinds == kind).sum() for kind in KINDS] == [30, 30, 30]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
    copy, near, strange = (asked.kinds == kind for kind in KINDS)
    assert np.allclose((vectors * references[asked.origins]).sum(1)[copy], asked.cosines[copy], atol=3e-3)
    assert asked.cosines[copy].min() >= 0.5
    assert asked.cosines[copy].max() <= 0.95
    assert np.isnan(asked.cosines[~copy]).all()
    top = (vectors @ references.T).argmax(1)
    assert np.array_equal(top[near] // 4, asked.origins[near] // 4)
    assert (vectors @ references.T)[strange].max() < 0.65
    assert (asked.origins[strange] == -1).all()


def test_queries_repeat_and_follow_their_seed(small):
    corpus = SyntheticCorpus(small, 4)
    first, again, other = (make_queries(corpus, 1000, 30, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.origins, other.origins)
    assert first.origins.max() < 1000


def test_a_spectrum_survives_its_file(small, tmp_path):
    save_spectrum(tmp_path / "spectrum.json", small)
    assert load_spectrum(tmp_path / "spectrum.json") == small


@pytest.mark.parametrize("text", ["{", "{}", '{"width": 3}', "[]"])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "spectrum.json").write_text(text)
    with pytest.raises(VidmemError, match="spectrum"):
        load_spectrum(tmp_path / "spectrum.json")


def test_too_few_clips_are_refused(stream):
    clips = [normalise(stream.normal(size=(1, 8))) for _ in range(5)]
    with pytest.raises(VidmemError, match="at least three clips"):
        fit_spectrum(clips, "stills only")
    with pytest.raises(VidmemError, match="at least three clips"):
        fit_spectrum([normalise(stream.normal(size=(4, 8)))] * 2, "two clips")
    with pytest.raises(VidmemError, match="at least one frame"):
        SyntheticCorpus(load_spectrum(), 0)
