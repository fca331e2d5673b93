"""Learn then test: two losses by brute force, the tests by hand, the error rate by simulation."""

import math
import warnings
from fractions import Fraction

import brute
import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_bounds import p_plain

from confseg import Case, LearnThenTest, NotCalibratedError, phantoms
from confseg.learn_then_test import fnr_and_fdp

GRID = [0.35, 0.3, 0.4, 0.25, 0.45]
CASES = list(phantoms.cases(300, phantoms.Lesions((32, 32), (7, 10)), seed=6))


def make(**changes):
    return LearnThenTest(**{"alpha": (0.15, 0.3), "delta": 0.1, "cutoffs": GRID} | changes)


def losses(case, cutoff):
    """FNR and FDP of ``{score >= cutoff}``, voxel by voxel."""
    truth = brute.flags(case.truth)
    mask = [value >= cutoff for value in brute.numbers(case.score)]
    hit = sum(a and b for a, b in zip(mask, truth, strict=True))
    return (
        Fraction(sum(truth) - hit, sum(truth)) if any(truth) else Fraction(0),
        Fraction(sum(mask) - hit, sum(mask)) if any(mask) else Fraction(0),
    )


@given(
    case=strategies.cases(empty=True),
    cutoffs=st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=8, unique=True),
)
def test_both_losses_at_every_cut_off(case, cutoffs):
    cutoffs += [float(case.score.flat[0])]
    found = fnr_and_fdp(case, cutoffs)
    for i, cutoff in enumerate(cutoffs):
        assert tuple(found[:, i]) == tuple(map(float, losses(case, cutoff)))


@pytest.mark.parametrize("bound", ["hoeffding", "bentkus", "wsr"])
@pytest.mark.parametrize("procedure", ["fixed-sequence", "bonferroni"])
@given(cases=strategies.calibration_sets(), grid=st.permutations([0.2, 0.4, 0.5, 0.7, 0.8]))
def test_valid_cut_offs_by_hand(bound, procedure, cases, grid):
    alpha, delta = (0.7, 0.9), 0.9
    with warnings.catch_warnings(record=True):
        test = LearnThenTest(alpha, delta, grid, procedure, bound).calibrate(cases)
    level = delta / 5 if procedure == "bonferroni" else delta
    wanted, going = [], True
    for cutoff in grid:
        pairs = zip(*(losses(case, cutoff) for case in cases), strict=True)
        p = max(p_plain(v, a, bound, level) for v, a in zip(pairs, alpha, strict=True))
        going = p <= level and (going or procedure == "bonferroni")
        if p <= level if procedure == "bonferroni" else going:
            wanted.append(cutoff)
    assert test.valid_.tolist() == wanted
    if wanted:
        assert test.cutoff_ == min(wanted)


def test_a_calibrated_test():
    test = make().calibrate(CASES)
    assert test.p_values_.shape == (5,)
    assert test.cutoff_ == test.valid_.min()
    assert test.losses_.shape == (300, 2)
    for case, both in zip(CASES[:4], test.losses_, strict=False):
        assert both.tolist() == [float(loss) for loss in losses(case, test.cutoff_)]
        np.testing.assert_array_equal(test.predict(case.score), case.score >= test.cutoff_)
    text = test.statement()
    assert "the mean false negative rate is at most 15%" in text
    assert "the mean false discovery proportion is at most 30%" in text
    assert f"at each of {test.valid_.size} of 5 cut-offs tested" in text
    assert "probability of at least 90%" in text


@pytest.mark.parametrize("procedure", ["fixed-sequence", "bonferroni"])
def test_json_comes_back_to_the_bit(procedure):
    test = make(procedure=procedure).calibrate(CASES)
    loaded = LearnThenTest.from_json(test.to_json())
    assert repr(loaded) == repr(test)
    assert loaded.statement() == test.statement()
    assert loaded.p_values_.tobytes() == test.p_values_.tobytes()
    assert loaded.valid_.tolist() == test.valid_.tolist()
    assert loaded.losses_.tobytes() == test.losses_.tobytes()


def test_nothing_valid_is_said_clearly():
    with pytest.warns(UserWarning, match="none of the 5 cut-offs was found to keep both levels"):
        test = make(alpha=(0.01, 0.01)).calibrate(CASES)
    assert test.valid_.size == 0
    for ask in (lambda: test.cutoff_, lambda: test.predict(CASES[0].score), lambda: test.losses_):
        with pytest.raises(ValueError, match="none of the 5 cut-offs was found"):
            ask()
    assert "at each of 0 of 5 cut-offs tested" in test.statement()
    with pytest.raises(NotCalibratedError):
        make().predict(CASES[0].score)


def test_the_first_failure_ends_a_fixed_sequence():
    """A hopeless cut-off at the front hides all that follow; Bonferroni does not care."""
    with pytest.warns(UserWarning, match="none of the 6"):
        assert make(cutoffs=[0.95, *GRID]).calibrate(CASES).valid_.size == 0
    front, back = (
        make(cutoffs=grid, procedure="bonferroni").calibrate(CASES).valid_
        for grid in ([0.95, *GRID], [*GRID, 0.95])
    )
    assert front.tolist() == back.tolist() != []


def test_the_order_is_learned_from_other_cases():
    grid = [0.05, 0.95, 0.5, 0.35, 0.2]
    learned = make(cutoffs=grid).learn_order(phantoms.cases(100, seed=7))
    assert learned.cutoffs[0] == 0.35
    assert sorted(learned.cutoffs) == sorted(grid)
    assert not hasattr(learned, "p_values_")
    assert learned.calibrate(CASES).valid_.size > 0


def test_cases_without_lesion():
    healthy = Case(np.array([0.3, 0.36]), [False, False], name="healthy")
    assert fnr_and_fdp(healthy, [0.35, 0.4]).tolist() == [[0, 0], [1, 0]]
    with pytest.warns(UserWarning, match="1 of 301 cases have an empty truth"):
        assert make().calibrate([*CASES, healthy]).n_ == 300
    assert make(empty="zero").calibrate([*CASES, healthy]).n_ == 301


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.1}, "alpha must be two levels"),
        ({"alpha": (0.1, 0.2, 0.3)}, "alpha must be two levels"),
        ({"alpha": (0, 0.2)}, "the level of the FNR must lie strictly between"),
        ({"alpha": (0.1, 1)}, "the level of the FDP must lie strictly between"),
        ({"delta": 1.0}, "delta must lie"),
        ({"cutoffs": []}, "expected a list of cut-offs"),
        ({"cutoffs": 0.5}, "expected a list of cut-offs"),
        ({"cutoffs": [0.1, math.nan]}, "must be finite"),
        ({"cutoffs": [0.5, 0.5]}, "one is given twice"),
        ({"procedure": "holm"}, "procedure must be one of"),
        ({"bound": "clt"}, "bound must be one of"),
        ({"empty": "drop"}, "empty must be one of"),
    ],
)
def test_parameters_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


# --- the familywise error rate ---

SETS, N, DELTA = 400, 40, 0.2
MISSES, FALSE = (0.2, 0.8), (0.9, 0.4)  # one of the two levels is easy to keep
RISING = [0.05, 0.1, 0.15, 0.21, 0.22, 0.23, 0.24, 0.25, 0.3, 0.4]
FALLING = [0.85, 0.8, 0.7, 0.6, 0.5, 0.44, 0.43, 0.42, 0.4, 0.35, 0.3]


def population(n, seed):
    """One lesion voxel and one background voxel, of independent uniform scores.

    The mean FNR at c is c. The FDP is 1 with the background voxel alone, 1/2 with both, else 0:
    its mean is (1 - c) c + (1 - c)^2 / 2 = (1 - c^2) / 2.
    """
    scores = np.random.default_rng(seed).random((n, 2))
    return [Case(row, [True, False]) for row in scores]


def truly_valid(cutoff, alpha):
    return cutoff <= alpha[0] and (1 - cutoff**2) / 2 <= alpha[1]


def errors(cases, grid, alpha=MISSES, **how):
    """In how many calibrations some valid cut-off breaks a level, and how many find any."""
    wrong, found = 0, 0
    for i in range(0, len(cases), N):
        with warnings.catch_warnings(record=True):
            test = LearnThenTest(alpha, DELTA, grid, **how).calibrate(cases[i : i + N])
        wrong += not all(truly_valid(cutoff, alpha) for cutoff in test.valid_)
        found += test.valid_.size > 0
    return wrong, found


def p_at_most_delta(wrong):
    return stats.binom.sf(wrong - 1, SETS, DELTA)


@pytest.mark.parametrize("bound", ["bentkus", "wsr"])
@pytest.mark.parametrize("procedure", ["fixed-sequence", "bonferroni"])
@pytest.mark.parametrize(("alpha", "grid"), [(MISSES, RISING), (FALSE, FALLING)])
def test_some_error_has_a_probability_of_at_most_delta(alpha, grid, procedure, bound):
    """From the fourth cut-off on the level of the FNR is broken; the sixth, that of the FDP."""
    wrong, found = errors(population(SETS * N, 31), grid, alpha, procedure=procedure, bound=bound)
    assert p_at_most_delta(wrong) > 1e-3
    assert found > SETS / 10


def test_twin_a_cut_off_picked_by_its_mean_fails():
    """Mean losses below their levels, without a test."""
    grid, wrong = [0.19, 0.21, 0.22, 0.23], 0
    cases = population(SETS * N, 32)
    for i in range(0, len(cases), N):
        means = np.mean([fnr_and_fdp(case, grid) for case in cases[i : i + N]], axis=0)
        kept = [c for c, both in zip(grid, means.T, strict=True) if (both <= MISSES).all()]
        wrong += not all(truly_valid(cutoff, MISSES) for cutoff in kept)
    assert p_at_most_delta(wrong) < 1e-6


def test_twin_cases_of_one_patient_count_as_independent():
    patients = population(SETS * 4, 33)
    cases = [case for case in patients for _ in range(N // 4)]
    assert p_at_most_delta(errors(cases, [0.21, 0.22, 0.23])[0]) < 1e-6


def test_twin_new_cases_come_from_a_worse_segmenter():
    """Calibrated where the lesion scores higher: the mean FNR there is c squared."""
    cases = [
        Case(np.array([case.score[0] ** 0.5, case.score[1]]), case.truth)
        for case in population(SETS * N, 34)
    ]
    assert p_at_most_delta(errors(cases, [0.21, 0.25, 0.3])[0]) < 1e-6
