"""p-values that are uniform, a capital that is fair, and alarms as rare as promised."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from confseg import drift
from confseg.martingale import conformal_p_values, log_mixture, log_power

p_lists = st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=30)


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=20),
    st.lists(st.integers(-3, 3), max_size=20),
    st.integers(0, 5),
)
def test_p_values_count_larger_and_equal_scores(scores, reference, seed):
    p = conformal_p_values(scores, reference, seed)
    shares = 1 - np.random.default_rng(seed).random(len(scores))
    for i, score in enumerate(scores):
        so_far = [*reference, *scores[: i + 1]]
        larger = sum(other > score for other in so_far)
        ties = sum(other == score for other in so_far)
        assert p[i] == pytest.approx((larger + shares[i] * ties) / len(so_far), abs=1e-15)
        assert 0 < p[i] <= 1


@given(p_lists)
def test_mixture_is_the_integral_over_kappa(p):
    """Numerical integration of the power martingales, after every p-value."""
    capital = log_mixture(p)
    for m in (1, len(p)):
        x = -np.log(p[:m]).sum()
        # The integrand peaks at m / x; it is divided by its largest value.
        peak = min(1.0, m / x) if x > 0 else 1.0
        top = m * math.log(peak) + (1 - peak) * x
        area, _ = integrate.quad(
            lambda k, m=m, x=x, top=top: math.exp(m * math.log(k) + (1 - k) * x - top),
            0,
            1,
            points=[peak],
            epsabs=1e-13,
            limit=200,
        )
        assert capital[m - 1] == pytest.approx(top + math.log(area), abs=1e-7)


def test_mixture_at_its_ends():
    """p-values of 1: each power loses the factor kappa, and the mean of kappa**m is 1 / (m+1)."""
    assert log_mixture(np.ones(50)) == pytest.approx(-np.log(np.arange(2.0, 52.0)))
    # Where the series hands over to the incomplete gamma function, both agree.
    for m in (1, 10, 1000, 20_000):
        near = [np.full(m, math.exp(-(m + 1 + shift) / m)) for shift in (-1e-6, 1e-6)]
        low, high = (log_mixture(p)[-1] for p in near)
        assert math.isfinite(low) and 0 <= high - low < 1e-4
    assert np.isfinite(log_mixture(np.full(3000, 1e-300))).all()


@given(p_lists, st.sampled_from([0.1, 0.5, 0.9]))
def test_power_is_the_product(p, kappa):
    expected = [sum(math.log(kappa * q ** (kappa - 1)) for q in p[: i + 1]) for i in range(len(p))]
    assert log_power(p, kappa) == pytest.approx(expected, abs=1e-9)


def test_alarm_is_the_first_time_at_the_level():
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=100), rng.normal(2.0, size=60)
    for betting in ("mixture", "power"):
        report = drift(after, before, betting, delta=0.01)
        assert report.alarm is not None
        assert report.log_capital[report.alarm] >= math.log(100)
        assert (report.log_capital[: report.alarm] < math.log(100)).all()
        quiet = drift(before, betting=betting, delta=0.01)
        assert quiet.alarm is None and quiet.p_values.shape == quiet.log_capital.shape == (100,)


def test_equal_seeds_give_equal_reports():
    scores = np.repeat([1.0, 2.0], 20)
    one, same, other = (drift(scores, seed=seed) for seed in (3, 3, 4))
    assert (one.p_values == same.p_values).all()
    assert (one.p_values != other.p_values).any()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"scores": []}, "at least one new score"),
        ({"scores": [[1.0]]}, "scores: expected a list"),
        ({"scores": [math.nan]}, "scores: 1 of 1 are NaN"),
        ({"scores": [1.0], "reference": [math.nan, 0.0]}, "reference: 1 of 2 are NaN"),
        ({"scores": [1.0], "betting": "sure"}, "betting must be one of"),
        ({"scores": [1.0], "kappa": 1.0}, "kappa must lie strictly"),
        ({"scores": [1.0], "delta": 0.0}, "delta must lie strictly"),
    ],
)
def test_bad_input(keywords, message):
    with pytest.raises(ValueError, match=message):
        drift(**keywords)


# --- the guarantees ---

STREAMS, LENGTH, REFERENCE, DELTA = 1000, 150, 30, 0.1


@pytest.fixture(scope="module")
def quiet():
    """p-values of exchangeable streams of integers, full of ties and not independent."""
    rng = np.random.default_rng(8)
    level = rng.normal(0, 2, (STREAMS, 1))  # shared by a stream: exchangeable, not independent
    scores = np.round(level + rng.normal(0, 2, (STREAMS, REFERENCE + LENGTH)))
    return np.array(
        [conformal_p_values(s[REFERENCE:], s[:REFERENCE], seed=i) for i, s in enumerate(scores)]
    )


def p_uniform(p):
    """Kolmogorov-Smirnov on all p-values, and chi-square on pairs of neighbors: independence."""
    single = stats.kstest(p.ravel(), "uniform").pvalue
    pairs = np.histogram2d(p[:, :-1:2].ravel(), p[:, 1::2].ravel(), bins=5, range=[[0, 1]] * 2)[0]
    return min(single, stats.chisquare(pairs.ravel()).pvalue)


def false_alarms(p, log_capital):
    return sum(bool((log_capital(stream) >= -math.log(DELTA)).any()) for stream in p)


def p_at_most_delta(alarms):
    """One-sided binomial p-value of: an alarm has at most the probability delta."""
    return stats.binom.sf(alarms - 1, STREAMS, DELTA)


def test_p_values_are_independent_and_uniform(quiet):
    assert p_uniform(quiet) > 1e-3


def test_capital_is_fair(quiet):
    """Its mean stays 1. The power martingale with kappa near 1 has a variance small enough."""
    capital = np.exp([log_power(stream[:40], 0.8)[-1] for stream in quiet])
    z = (capital.mean() - 1) / (capital.std() / math.sqrt(STREAMS))
    assert 2 * stats.norm.sf(abs(z)) > 1e-3


@pytest.mark.parametrize("log_capital", [log_mixture, lambda p: log_power(p, 0.5)])
def test_false_alarms_are_as_rare_as_promised(quiet, log_capital):
    assert p_at_most_delta(false_alarms(quiet, log_capital)) > 1e-3


def test_twin_scores_that_grow_give_other_p_values_and_alarms():
    rng = np.random.default_rng(9)
    scores = rng.normal(size=(STREAMS, REFERENCE + LENGTH))
    scores[:, REFERENCE:] += 1.0
    p = np.array([conformal_p_values(s[REFERENCE:], s[:REFERENCE]) for s in scores])
    assert p_uniform(p) < 1e-6
    alarms = false_alarms(p, log_mixture)
    assert p_at_most_delta(alarms) < 1e-6
    assert alarms > 0.9 * STREAMS


def test_twin_p_values_against_the_reference_alone():
    """Compared with the reference only, the p-values are not independent: alarms are too many."""
    rng, alarms, p = np.random.default_rng(10), 0, []
    for _ in range(STREAMS):
        scores = rng.normal(size=REFERENCE + LENGTH)
        reference, new = np.sort(scores[:REFERENCE]), scores[REFERENCE:]
        larger = REFERENCE - np.searchsorted(reference, new)
        p.append((larger + 1 - rng.random(LENGTH)) / (REFERENCE + 1))
        alarms += bool((log_mixture(p[-1]) >= -math.log(DELTA)).any())
    assert p_uniform(np.array(p)) < 1e-6
    assert p_at_most_delta(alarms) < 1e-6
