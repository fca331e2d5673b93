"""The weighted quantile against plain fractions, its laws, and what a shift does without it."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from confseg import conformal_quantile, effective_cases, weighted_quantile

ALPHAS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


def plain_quantile(scores, weights, test_weight, alpha):
    """The definition: try every score, sum in fractions of the decimals."""
    masses = [brute.decimal(weight) for weight in weights]
    needed = (1 - brute.decimal(alpha)) * (sum(masses) + brute.decimal(test_weight))
    enough = [
        s for s in scores if sum(m for r, m in zip(scores, masses, strict=True) if r <= s) >= needed
    ]
    return min(enough, default=math.inf)


lists_of_weights = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([-1.0, 0.0, 2.0, math.inf, -math.inf]), st.floats(-9, 9)),
        st.one_of(st.sampled_from([0, 0.1, 0.2, 0.3, 0.7, 1, 2]), st.floats(0, 1e6)),
    ),
    min_size=1,
    max_size=12,
)
test_weights = st.one_of(st.sampled_from([0.0, 0.1, 0.3, 1.0, 5.0]), st.floats(0, 1e7))


@given(lists_of_weights, test_weights, st.sampled_from(ALPHAS))
def test_is_the_definition(rows, test_weight, alpha):
    scores, weights = zip(*rows, strict=True)
    if not any(weights) and not test_weight:
        return
    expected = plain_quantile(scores, weights, test_weight, alpha)
    assert weighted_quantile(scores, weights, test_weight, alpha) == expected


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=60),
    st.one_of(st.floats(1e-300, 1e300), st.sampled_from([0.1, 0.3, 1 / 3])),
    st.sampled_from(ALPHAS),
)
def test_equal_weights_give_the_conformal_quantile(scores, weight, alpha):
    found = weighted_quantile(scores, [weight] * len(scores), weight, alpha)
    assert found == conformal_quantile(scores, alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_equal_weights_at_every_size(alpha):
    """The sums meet the target exactly at the sizes where a promise would change: 9, 19, ..."""
    for n in range(1, 120):
        for weight in (0.1, 0.7, 1.0, 1e-9):
            scores = np.arange(n)[::-1]
            expected = conformal_quantile(scores, alpha)
            assert weighted_quantile(scores, np.full(n, weight), weight, alpha) == expected


def test_decimals_are_taken_as_typed():
    """In binary 0.3 + 0.6 stays below nine tenths of 0.3 + 0.6 + 0.1."""
    assert weighted_quantile([1.0, 2.0], [0.3, 0.6], 0.1, alpha=0.1) == 2.0
    assert weighted_quantile([1.0, 2.0], [0.3, 0.6], np.nextafter(0.1, 1), alpha=0.1) == math.inf
    float32 = np.array([0.1, 0.8], dtype=np.float32)
    assert weighted_quantile([1.0, 2.0], float32, np.float32(0.1), alpha=0.1) == 2.0


def test_a_tiny_share_is_not_rounded():
    """In floats 1 - 0.999999999 is too small by 3e-8 of its value."""
    weights = [0.99999999, 999999998.0]
    assert weighted_quantile([1.0, 2.0], weights, 1, alpha=0.999999999) == 2.0
    assert plain_quantile([1.0, 2.0], weights, 1, alpha=0.999999999) == 2.0


@given(lists_of_weights, test_weights, st.sampled_from(ALPHAS), st.integers(-30, 30))
def test_a_common_factor_and_the_order_do_not_matter(rows, test_weight, alpha, power):
    scores, weights = zip(*rows, strict=True)
    if not any(weights) and not test_weight:
        return
    expected = plain_quantile(scores, weights, test_weight, alpha)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    again = weighted_quantile(
        np.array(scores)[shuffled], np.array(weights)[shuffled], test_weight, alpha
    )
    assert again == expected
    factor = Fraction(10) ** power
    scaled = [float(brute.decimal(weight) * factor) for weight in (*weights, test_weight)]
    if all(brute.decimal(s) == brute.decimal(w) * factor for s, w in zip(
        scaled, (*weights, test_weight), strict=True
    )):  # fmt: skip
        assert weighted_quantile(scores, scaled[:-1], scaled[-1], alpha) == expected


@given(lists_of_weights, test_weights, test_weights, st.sampled_from(ALPHAS))
def test_a_heavier_new_case_never_lowers_the_quantile(rows, one, other, alpha):
    scores, weights = zip(*rows, strict=True)
    light, heavy = sorted([one + 0.1, other + 0.1])
    low = weighted_quantile(scores, weights, light, alpha)
    assert low <= weighted_quantile(scores, weights, heavy, alpha)


def test_weights_at_the_ends():
    scores = [1.0, 2.0, 3.0]
    assert weighted_quantile(scores, [1, 1, 1], 0, 0.1) == 3
    assert weighted_quantile(scores, [0, 1, 0], 0, 0.1) == 2  # weight 0 never decides
    assert weighted_quantile(scores, [1, 1, 1], math.inf, 0.1) == math.inf
    assert weighted_quantile(scores, [0, 0, 0], 1, 0.1) == math.inf
    assert weighted_quantile(scores, [1e308] * 3, 0, 0.1) == 3  # the sum overflows
    assert weighted_quantile(scores, [1e-320] * 3, 0, 0.1) == 3
    assert weighted_quantile([1.0, 1.0, 0.0], [1, 1, 1], 1, 0.5) == 1  # ties count together


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], 1, 0.1), "non-empty list"),
        (([[1.0]], [1], 1, 0.1), "shape \\(1, 1\\)"),
        (([1.0, math.nan], [1, 1], 1, 0.1), "1 of 2 scores are NaN"),
        (([1.0], [1, 1], 1, 0.1), "expected 1 weights"),
        (([1.0], [math.nan], 1, 0.1), "1 of 1 weights are NaN or infinite"),
        (([1.0], [math.inf], 1, 0.1), "1 of 1 weights are NaN or infinite"),
        (([1.0], [-1.0], 1, 0.1), "must not be negative, found -1"),
        (([1.0], [1.0], -1, 0.1), "weight of the new case"),
        (([1.0], [1.0], math.nan, 0.1), "weight of the new case"),
        (([1.0], [0.0], 0, 0.1), "all weights are 0"),
        (([1.0], [1.0], 1, 1.0), "alpha must lie strictly"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        weighted_quantile(*arguments)


def test_effective_cases():
    assert effective_cases([3.0] * 7) == pytest.approx(7)
    assert effective_cases([1e200, 0, 1e200]) == pytest.approx(2)
    assert effective_cases([1, 2, 3]) == pytest.approx(36 / 14)
    for weights in ([], [0.0], [-1.0], [math.nan], [[1.0]]):
        with pytest.raises(ValueError, match="weight"):
            effective_cases(weights)


# --- the guarantee: exact coverage under a known shift ---

# Two kinds of cases, in the source with probability 1/2, in the target with 4/5 of the hard ones.
# Scores of the hard kind are larger. The coverage of a new case is computed, not drawn, for every
# calibration set, so only the calibration sets vary.
RATIOS = {0: 0.2 / 0.5, 1: 0.8 / 0.5}
N, SETS, ALPHA = 40, 3000, 0.1


def coverages(weighted: bool):
    rng = np.random.default_rng(5)
    found = []
    for _ in range(SETS):
        hard = rng.integers(0, 2, N)
        scores = rng.normal(2.0 * hard, 1.0)
        weights = np.where(hard, RATIOS[1], RATIOS[0]) if weighted else np.ones(N)
        total = 0.0
        for kind, share in ((0, 0.2), (1, 0.8)):
            own = RATIOS[kind] if weighted else 1.0
            limit = weighted_quantile(scores, weights, own, ALPHA)
            total += share * stats.norm.cdf(limit - 2.0 * kind)
        found.append(total)
    return np.array(found)


def p_at_least(found, level):
    """One-sided normal p-value of: the mean coverage is at least `level`."""
    return stats.norm.sf((level - found.mean()) / (found.std() / math.sqrt(found.size)))


def test_weighted_coverage_under_a_known_shift():
    """The mean is between 1 - alpha and what distinct scores allow: the largest weight's share."""
    found = coverages(weighted=True)
    assert p_at_least(found, 1 - ALPHA) > 1e-3
    largest = RATIOS[1] / (N * 0.8)  # of the weights, the hard kind's share, roughly
    assert found.mean() < 1 - ALPHA + 1.5 * largest


def test_twin_without_weights_the_shift_breaks_the_promise():
    assert p_at_least(coverages(weighted=False), 1 - ALPHA) < 1e-6


def test_twin_the_new_case_is_left_out_of_the_weights():
    """Without the new case's own weight the quantile is too small."""
    rng, found = np.random.default_rng(6), []
    for _ in range(SETS):
        hard = rng.integers(0, 2, N)
        scores = rng.normal(2.0 * hard, 1.0)
        limit = weighted_quantile(scores, np.where(hard, RATIOS[1], RATIOS[0]), 0, ALPHA)
        found.append(0.2 * stats.norm.cdf(limit) + 0.8 * stats.norm.cdf(limit - 2))
    assert p_at_least(np.array(found), 1 - ALPHA) < 1e-6
