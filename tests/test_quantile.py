"""The conformal quantile, by counting, and the laws of coverage, by simulation."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from confseg import compliance_law, conformal_quantile, coverage_law

numbers = st.one_of(st.floats(-5, 5), st.integers(-2, 2).map(float), st.just(math.inf))
levels = st.one_of(st.integers(1, 99).map(lambda k: k / 100), st.sampled_from([0.001, 0.999, 0.3]))


@given(st.lists(numbers, min_size=1, max_size=40), levels)
def test_quantile_is_the_smallest_value_that_enough_values_do_not_exceed(values, alpha):
    assert conformal_quantile(values, alpha) == brute.conformal_quantile(values, alpha)


@given(st.lists(numbers, min_size=1, max_size=20), levels, st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_matter_and_they_are_left_alone(values, alpha, random):
    shuffled = np.array(random.sample(values, len(values)))
    before = shuffled.copy()
    assert conformal_quantile(shuffled, alpha) == conformal_quantile(values, alpha)
    np.testing.assert_array_equal(shuffled, before)


@given(st.integers(1, 60), levels)
def test_the_rank_gives_coverage_between_1_minus_alpha_and_one_step_more(n, alpha):
    """Among n + 1 distinct exchangeable values the quantile covers exactly k of the places."""
    values = np.arange(n + 1)
    covered = sum(
        values[i] <= conformal_quantile(np.delete(values, i), alpha) for i in range(n + 1)
    )
    level = 1 - brute.decimal(alpha)
    assert level <= Fraction(covered, n + 1) < level + Fraction(1, n + 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"non-empty list of scores, found shape \(0,\)"),
        ([[1.0, 2.0]], r"found shape \(1, 2\)"),
        (3.0, r"found shape \(\)"),
        ([1.0, math.nan, math.nan], "2 of 3 scores are NaN"),
    ],
)
def test_unsound_scores_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        conformal_quantile(values, 0.1)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_levels_out_of_range_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha must"):
        conformal_quantile([1.0], alpha)
    with pytest.raises(ValueError, match="alpha must"):
        coverage_law(9, alpha)


@given(st.integers(1, 300), levels)
def test_coverage_law_is_the_beta_of_the_rank(n, alpha):
    k = math.ceil((1 - brute.decimal(alpha)) * (n + 1))
    if k > n:
        needed = math.ceil(1 / brute.decimal(alpha)) - 1
        with pytest.raises(ValueError, match=f"at least {needed} are needed"):
            coverage_law(n, alpha)
    else:
        assert coverage_law(n, alpha).args == (k, n + 1 - k)
        assert coverage_law(n, alpha).mean() == pytest.approx(k / (n + 1))


def test_coverage_law_is_the_law_of_an_order_statistic_of_uniforms():
    """20,000 simulated calibrations; Kolmogorov-Smirnov at level 1e-3."""
    uniform = np.sort(np.random.default_rng(1).random((20_000, 19)), axis=1)
    assert stats.kstest(uniform[:, 17], coverage_law(19, 0.1).cdf).pvalue > 1e-3
    assert stats.kstest(uniform[:, 16], coverage_law(19, 0.1).cdf).pvalue < 1e-6


def test_compliance_law_is_the_law_of_a_count():
    """20,000 simulated calibrations with 5 tests each; chi-square at level 1e-3."""
    rng = np.random.default_rng(2)
    limit = np.sort(rng.random((20_000, 19)), axis=1)[:, 17]
    count = (rng.random((20_000, 5)) <= limit[:, np.newaxis]).sum(axis=1)
    found = np.bincount(count, minlength=6)
    expected = 20_000 * compliance_law(19, 0.1, 5).pmf(np.arange(6))
    assert stats.chisquare(found, expected).pvalue > 1e-3


def test_laws_of_too_few_cases_or_no_test_cases_are_refused():
    with pytest.raises(ValueError, match="8 calibration cases are too few for alpha = 0.1"):
        compliance_law(8, 0.1, 10)
    with pytest.raises(ValueError, match="m must be at least 1, found 0"):
        compliance_law(9, 0.1, 0)
