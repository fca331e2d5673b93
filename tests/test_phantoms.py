"""Phantoms: repeatable, controllable, exchangeable."""

import numpy as np
import pytest
from scipy import stats

from confseg import CLS, Margin, phantoms
from confseg.phantoms import Lesions, Segmenter

SMALL = Lesions(shape=(24, 24), radius=(4.0, 6.0), roughness=0.8)


def many(n=200, lesions=SMALL, seed=0, **segmenter):
    return list(phantoms.cases(n, lesions, Segmenter(**segmenter), seed))


def identical(one, other):
    return all(
        (a.score == b.score).all() and (a.truth == b.truth).all()
        for a, b in zip(one, other, strict=True)
    )


def test_equal_seeds_give_equal_cases_and_other_seeds_others():
    assert identical(many(5), many(5))
    assert not identical(many(5), many(5, seed=1))


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 130])
def test_the_first_cases_do_not_depend_on_how_many_are_drawn(n):
    drawn = many(n)
    assert len(drawn) == n
    assert identical(drawn, many(200)[:n])


def test_a_seed_sequence_serves_and_is_left_alone():
    sequence = np.random.SeedSequence(5)
    assert identical(many(3, seed=sequence), many(3, seed=sequence))
    one, other = np.random.SeedSequence(5).spawn(2)
    assert not identical(many(3, seed=one), many(3, seed=other))


def test_lesions_do_not_depend_on_the_segmenter():
    pairs = zip(many(10), many(10, noise=4.0, bias=2.0), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one.truth, other.truth)
        assert (one.score != other.score).any()


@pytest.mark.parametrize("shape", [(24, 24), (20, 30), (12, 14, 16)])
def test_two_and_three_dimensions(shape):
    spacing = (0.7,) * len(shape)
    for case in phantoms.cases(5, Lesions(shape, (3.0, 5.0), spacing=spacing)):
        assert case.score.shape == case.truth.shape == shape
        assert case.spacing == spacing
        assert 0 <= case.score.min() <= case.score.max() <= 1
        assert case.truth.any()


def test_every_case_has_its_own_name_and_patient():
    drawn = many(100)
    assert len({case.name for case in drawn}) == len({case.patient for case in drawn}) == 100


def test_bias_draws_lesions_too_large_or_too_small():
    sizes = [
        np.mean([(case.score >= 0.5).sum() for case in many(bias=bias)]) for bias in (-1.5, 0, 1.5)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
    truth = np.mean([case.truth.sum() for case in many()])
    assert abs(sizes[1] / truth - 1) < 0.1


def test_noise_lowers_the_cutoff():
    cutoffs = [CLS(0.1, 0.1).calibrate(many(noise=noise)).cutoff_ for noise in (0.5, 1.5, 3.0)]
    assert cutoffs[0] > cutoffs[1] > cutoffs[2]


def test_softness_spreads_the_probabilities_and_leaves_the_contour():
    for sharp, soft in zip(many(10, softness=0.2), many(10, softness=3.0), strict=True):
        np.testing.assert_array_equal(sharp.score >= 0.5, soft.score >= 0.5)
        assert np.abs(sharp.score - 0.5).mean() > np.abs(soft.score - 0.5).mean()


def test_a_flawless_segmenter_needs_no_margin():
    assert Margin(0.1).calibrate(many(noise=0.0)).margin_ == 0.0


@pytest.mark.parametrize("correlation", [0.0, 1.0, 3.0])
def test_noise_has_unit_variance_everywhere(correlation):
    """The mean square over 20,000 fields is chi-square; two-sided level 1e-6 for 36 pixels."""
    noise = phantoms.smooth_noise(np.random.default_rng(1), (20_000, 6, 6), correlation)
    squares = (noise**2).sum(axis=0)
    low, high = stats.chi2(20_000).interval(1 - 1e-6)
    assert low < squares.min() < squares.max() < high


def test_correlation_makes_neighbors_alike():
    def likeness(correlation):
        noise = phantoms.smooth_noise(np.random.default_rng(2), (500, 16, 16), correlation)
        return np.mean(noise[:, 1:] * noise[:, :-1])

    assert abs(likeness(0.0)) < 0.02
    # Two Gaussian kernels, one voxel apart: exp(-1 / (4 sigma^2)).
    assert likeness(2.0) == pytest.approx(np.exp(-1 / 16), abs=0.02)


def test_cases_are_exchangeable():
    """Kolmogorov-Smirnov of first against last places in batches; level 1e-3."""
    numbers = CLS(0.1, 0.1).calibrate(many(1280)).critical_values_.reshape(20, 64)
    first, last = numbers[:, :32].ravel(), numbers[:, 32:].ravel()
    assert stats.ks_2samp(first, last).pvalue > 1e-3
    # Neighbors are uncorrelated: the rank correlation is normal with variance 1/(n - 1).
    flat = numbers.ravel()
    assert abs(stats.spearmanr(flat[:-1], flat[1:]).statistic) < 4 / np.sqrt(flat.size)
