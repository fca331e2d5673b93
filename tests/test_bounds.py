"""Bounds on a mean: against plain formulas, and by simulation at their stated error level."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from confseg import bounds

NAMES = ("hoeffding", "bentkus", "wsr")
every_bound = pytest.mark.parametrize("bound", NAMES)

losses = st.lists(st.fractions(0, 1, max_denominator=12), min_size=1, max_size=30)
levels = st.sampled_from([0.05, 0.1, 0.25, 0.3, 0.5, 0.9])


# --- the formulas, one loss after the other ---


def divergence(a, b):
    parts = ((a, b), (1 - a, 1 - b))
    return sum(float(x) * math.log(float(x) / float(y)) for x, y in parts if x)


def binomial_cdf(k, n, level):
    return sum(math.comb(n, j) * level**j * (1 - level) ** (n - j) for j in range(k + 1))


def p_hoeffding(values, level):
    n, mean = len(values), sum(values) / len(values)
    return math.exp(-2 * n * float(max(level - mean, 0)) ** 2)


def p_bentkus(values, level):
    n, total = len(values), sum(values)
    chernoff = math.exp(-n * divergence(min(total / n, level), level))
    return min(chernoff, math.e * float(binomial_cdf(math.ceil(total), n, level)), 1.0)


def largest_capital(values, mean, delta):
    """Proposition 5 of Bates et al., in a loop."""
    n, capital, best = len(values), 1.0, 0.0
    total, spread, variance = 0.5, 0.25, 0.25
    for i, loss in enumerate(values, start=1):
        bet = min(1.0, math.sqrt(2 * math.log(1 / delta) / (n * variance)))
        capital *= 1 - bet * (float(loss) - mean)
        best = max(best, capital)
        total += float(loss)
        spread += (float(loss) - total / (i + 1)) ** 2
        variance = spread / (i + 1)
    return best


def p_plain(values, level, bound, delta):
    level = brute.decimal(level)
    if bound == "wsr":
        return min(1.0, 1 / largest_capital(values, float(level), delta))
    return {"hoeffding": p_hoeffding, "bentkus": p_bentkus}[bound](values, level)


@every_bound
@given(values=losses, level=levels, delta=levels)
def test_p_values_are_the_published_formulas(bound, values, level, delta):
    found = bounds.p_value([float(v) for v in values], level, bound, delta)
    assert found == pytest.approx(p_plain(values, level, bound, delta), abs=1e-11)


@every_bound
@given(values=losses, delta=levels)
def test_bounds_are_where_the_p_value_crosses_delta(bound, values, delta):
    """Just above the bound the p-value is at most delta, just below it is more."""
    found = float(bounds.upper_bound([float(v) for v in values], delta, bound))
    assert 0 < found <= 1
    if found + 1e-9 < 1:
        assert bounds.p_value([float(v) for v in values], found + 1e-9, bound, delta) <= delta
    if found < 1 or bound == "wsr":
        below = bounds.p_value([float(v) for v in values], found - 1e-9, bound, delta)
        assert below > delta * (1 - 1e-9)


@given(n=st.integers(1, 500), delta=levels)
def test_no_loss_at_all_has_a_closed_form(n, delta):
    zeros = np.zeros(n)
    assert bounds.upper_bound(zeros, delta, "bentkus") == pytest.approx(1 - delta ** (1 / n))
    hoeffding = min(1, math.sqrt(math.log(1 / delta) / (2 * n)))
    assert bounds.upper_bound(zeros, delta, "hoeffding") == pytest.approx(hoeffding)


@every_bound
def test_all_lost_is_bounded_by_one(bound):
    assert bounds.upper_bound(np.ones(20), 0.1, bound) == 1.0
    assert bounds.p_value(np.ones(20), 0.9, bound) == 1.0


@pytest.mark.parametrize("bound", ["hoeffding", "bentkus"])
@given(values=losses, delta=levels, data=st.data())
def test_a_larger_loss_never_lowers_the_bound(bound, values, delta, data):
    before = np.array([float(v) for v in values])
    after = before.copy()
    i = data.draw(st.integers(0, len(values) - 1))
    after[i] = data.draw(st.floats(after[i], 1))
    one, other = bounds.upper_bound([before, after], delta, bound)
    assert one <= other
    assert np.diff(bounds.p_value([before, after], 0.3, bound)) >= 0


@every_bound
def test_many_vectors_at_once_are_each_of_them(bound):
    table = np.random.default_rng(0).random((3, 4, 25))
    together = bounds.upper_bound(table, 0.1, bound)
    assert together.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        assert together[i, j] == bounds.upper_bound(table[i, j], 0.1, bound)


def test_a_sum_that_is_whole_is_not_rounded_up():
    """Seven losses of 1/7 are one loss; their floats may sum to a little more or less."""
    for parts in range(2, 60):
        for count in range(1, 6):
            values = [Fraction(1, parts)] * (parts * count) + [Fraction(0)] * 20
            found = bounds.p_value([float(v) for v in values], 0.3, "bentkus")
            assert found == pytest.approx(p_bentkus(values, Fraction(3, 10)), rel=1e-9)


def test_order_counts_for_bets_only():
    values = np.repeat([0.0, 1.0], [30, 10])
    for bound in ("hoeffding", "bentkus"):
        both = bounds.upper_bound([values, values[::-1]], 0.1, bound)
        assert both[0] == both[1]
    both = bounds.upper_bound([values, values[::-1]], 0.1, "wsr")
    assert both[0] != both[1]


@every_bound
def test_fewest_cases_by_trying_them_all(bound):
    for alpha, delta in ((0.1, 0.1), (0.3, 0.05), (0.5, 0.5), (0.9, 0.9)):
        enough = [bounds.p_value(np.zeros(n), alpha, bound, delta) <= delta for n in range(1, 300)]
        found = bounds.fewest_cases(alpha, delta, bound)
        assert [n for n, ok in enumerate(enough, start=1) if ok] == [*range(found, 300)]


@pytest.mark.parametrize("values", [[], 0.5, [0.2, -0.1], [0.2, 1.1], [0.2, math.nan]])
def test_losses_outside_the_range(values):
    with pytest.raises(ValueError, match=r"at least one loss|must lie in \[0, 1\]"):
        bounds.upper_bound(values, 0.1)
    with pytest.raises(ValueError, match=r"at least one loss|must lie in \[0, 1\]"):
        bounds.p_value(values, 0.1)


def test_levels_and_names_out_of_range():
    with pytest.raises(ValueError, match="bound must be one of"):
        bounds.upper_bound([0.0], 0.1, "clt")
    with pytest.raises(ValueError, match="delta must lie strictly between 0 and 1"):
        bounds.upper_bound([0.0], 0)
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
        bounds.p_value([0.0], 1)


# --- validity: the bound lies below the mean in a share of at most delta of the samples ---

SAMPLES, DELTA = 10_000, 0.1
LAWS = {
    "Bernoulli": (lambda rng, n: rng.random((SAMPLES, n)) < 0.3, 0.3),
    "rare": (lambda rng, n: rng.random((SAMPLES, n)) < 0.05, 0.05),
    "uniform": (lambda rng, n: rng.random((SAMPLES, n)), 0.5),
    "skewed": (lambda rng, n: rng.beta(0.3, 1.2, (SAMPLES, n)), 0.2),
}


def p_at_most(misses, samples, delta):
    """One-sided binomial p-value of the hypothesis that a miss has probability `delta` or less."""
    return stats.binom.sf(misses - 1, samples, delta)


@every_bound
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [10, 50])
def test_the_bound_fails_in_at_most_delta_of_the_samples(bound, law, n):
    draw, mean = LAWS[law]
    table = draw(np.random.default_rng(7), n).astype(float)
    p = bounds.p_value(table, mean, bound, DELTA)
    assert p_at_most((p <= DELTA).sum(), SAMPLES, DELTA) > 1e-3
    if bound != "wsr":
        assert p_at_most((p <= DELTA / 2).sum(), SAMPLES, DELTA / 2) > 1e-3
    found = bounds.upper_bound(table[:1000], DELTA, bound)
    np.testing.assert_array_equal(found < mean - 1e-12, (p < DELTA)[:1000] & (found != mean))


def test_twin_the_betting_bound_of_two_half_samples_fails():
    """A mistake found in a published package: the smaller of the bounds of both halves."""
    table = (np.random.default_rng(7).random((SAMPLES, 50)) < 0.3).astype(float)
    halves = [bounds.upper_bound(half, DELTA, "wsr") for half in (table[:, :25], table[:, 25:])]
    misses = (np.minimum(*halves) < 0.3).sum()
    assert p_at_most(misses, SAMPLES, DELTA) < 1e-6


@every_bound
def test_twin_the_best_of_forty_bounds_fails(bound):
    """Forty cut-offs with a mean loss at the level, and the most favorable bound is believed."""
    table = (np.random.default_rng(8).random((SAMPLES // 10, 40, 50)) < 0.3).astype(float)
    best = bounds.p_value(table, 0.3, bound, DELTA).min(axis=1)
    assert p_at_most((best <= DELTA).sum(), len(best), DELTA) < 1e-6
    assert p_at_most((best <= DELTA / 40).sum(), len(best), DELTA) > 1e-3


@every_bound
def test_twin_cases_of_one_patient_count_as_independent(bound):
    """Fifty losses from ten patients."""
    patients = (np.random.default_rng(9).random((SAMPLES // 5, 10)) < 0.3).astype(float)
    p = bounds.p_value(np.repeat(patients, 5, axis=1), 0.3, bound, DELTA)
    assert p_at_most((p <= DELTA).sum(), len(p), DELTA) < 1e-6
