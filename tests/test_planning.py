"""How many cases: against every n up to a bound, and against simulated calibrations."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from confseg import cases_needed, coverage_law
from confseg.exact import conformal_rank, exact, fewest_cases


def holds(n, alpha, floor, confidence):
    """Whether n cases do, from the binomial: fewer than `rank` of n uniforms below the floor."""
    return stats.binom.cdf(conformal_rank(n, alpha) - 1, n, floor) >= confidence


def brute_force(alpha, tolerance, confidence):
    """The same by trying every n up to Hoeffding's bound, which is the coarser one."""
    floor = float(1 - exact(alpha) - exact(tolerance))
    bound = math.ceil(-math.log(1 - confidence) / (2 * tolerance**2)) + 1
    tried = range(fewest_cases(alpha), max(bound, fewest_cases(alpha)) + 1)
    failing = [n for n in tried if not holds(n, alpha, floor, confidence)]
    return failing[-1] + 1 if failing else fewest_cases(alpha)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60).map(lambda k: k / 100),
    st.integers(4, 30).map(lambda k: k / 100),
    st.sampled_from([0.05, 0.5, 0.8, 0.9, 0.95, 0.99]),
)
def test_agrees_with_trying_every_number_of_cases(alpha, tolerance, confidence):
    assert cases_needed(alpha, tolerance, confidence) == brute_force(alpha, tolerance, confidence)


@pytest.mark.parametrize("alpha", [1 / 3, 0.0123456789012345])
def test_agrees_with_trying_every_number_for_a_long_decimal(alpha):
    assert cases_needed(alpha, 0.05, 0.9) == brute_force(alpha, 0.05, 0.9)


def test_smaller_numbers_may_do_but_the_one_before_does_not():
    n = cases_needed(0.1, 0.05, 0.9)
    enough = [m for m in range(9, 300) if coverage_law(m, 0.1).sf(0.85) >= 0.9]
    assert n == 60
    assert n - 1 not in enough
    assert set(range(n, 300)) <= set(enough)
    assert min(enough) == 15  # the zigzag: fifteen do, fifty-nine do not


def test_the_smallest_nontrivial_set_is_enough_where_little_is_asked():
    assert cases_needed(0.01, 0.5, 0.5) == fewest_cases(0.01) == 99


def test_simulated_calibrations_fall_short_as_rarely_as_planned():
    """Coverage of a calibration is the k-th smallest of n uniforms; error level 0.001."""
    alpha, floor, confidence = 0.2, 0.7, 0.95
    n = cases_needed(alpha, 0.1, confidence)
    uniforms = np.random.default_rng(0).random((10_000, n))
    rank = conformal_rank(n, alpha)
    good = int(np.sum(np.partition(uniforms, rank - 1)[:, rank - 1] >= floor))
    expected = coverage_law(n, alpha).sf(floor)
    assert confidence <= expected < confidence + 0.02
    assert stats.binomtest(good, 10_000, expected).pvalue > 0.001
    # Half the cases break the plan, and the same test sees it.
    half = n // 2
    rank = conformal_rank(half, alpha)
    good = int(np.sum(np.partition(uniforms[:, :half], rank - 1)[:, rank - 1] >= floor))
    assert stats.binomtest(good, 10_000, confidence, alternative="less").pvalue < 1e-6


def test_a_demanding_plan_takes_less_than_a_second():
    begin = time.process_time()
    n = cases_needed(0.01, 0.005, 0.99)
    assert time.process_time() - begin < 1
    assert all(coverage_law(m, 0.01).sf(0.985) >= 0.99 for m in (n, 2 * n, 5 * n))
    assert coverage_law(n - 1, 0.01).sf(0.985) < 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.05, 0.9), "alpha must lie strictly between 0 and 1, found 0.0"),
        ((1.0, 0.05, 0.9), "alpha must lie strictly between 0 and 1, found 1.0"),
        ((0.1, 0.0, 0.9), "tolerance must lie strictly between 0 and 1, found 0.0"),
        ((0.1, 0.9, 0.9), "tolerance must be less than 1 - alpha = 0.9, found 0.9"),
        ((0.1, -0.05, 0.9), "tolerance must lie strictly between 0 and 1, found -0.05"),
        ((0.1, 0.05, 1.0), "confidence must lie strictly between 0 and 1, found 1.0"),
        ((0.1, 0.05, math.nan), "confidence must be finite, found nan"),
        ((0.1, 0.05, "high"), "confidence must be a number, found 'high'"),
        ((0.1, 1e-6, 0.95), r"tolerance = 1e-06 might take 5.4e\+11 cases; expected one that"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cases_needed(*arguments)
