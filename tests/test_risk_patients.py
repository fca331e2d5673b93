"""Mean losses over patients with several lesions: the worst of them, or one drawn.

In the population `alike` the lesions of a patient all score the same, and patients that are easy
have more of them: the mean loss of a patient at the cut-off c is c, by the worst lesion and by
one drawn. In `unlike` the lesions of a patient have nothing in common.
"""

import functools
import itertools
import json
import math
import re
import warnings

import numpy as np
import pytest
import strategies
from hypothesis import given
from scipy import stats
from test_learn_then_test import losses as both_losses
from test_risk import all_cutoffs, crc_keeps, fnr, p_mean_at_most

from confseg import RCPS, Case, ConformalRiskControl, LearnThenTest
from confseg.steps import WorstLoss, candidates, fnr_steps

SETS, N, ALPHA, DELTA = 200, 30, 0.2, 0.2
METHODS = {
    "crc": lambda: ConformalRiskControl(ALPHA),
    "rcps": lambda: RCPS(ALPHA, DELTA),
    "wsr": lambda: RCPS(ALPHA, DELTA, "wsr"),
    "ltt": lambda: LearnThenTest((ALPHA, 0.9), DELTA, [0.1, 0.21]),
}


def lesion(values, patient, name="lesion"):
    return Case(values, np.ones(len(values), dtype=bool), name=name, patient=patient)


def alike(n):
    """Patients whose lesions, one or five, are one and the same."""
    uniform = np.random.default_rng(41).random(n)
    return [
        [lesion([u, (u + 0.1) % 1], f"patient {i}")] * (1 if u < 0.5 else 5)
        for i, u in enumerate(uniform)
    ]


def unlike(n):
    """Patients of three independent lesions of one voxel each."""
    scores = np.random.default_rng(42).random((n, 3, 1))
    return [[lesion(score, f"patient {i}") for score in three] for i, three in enumerate(scores)]


@functools.cache
def cutoffs(kind, population, per):
    """The cut-off of each of many calibrations on N patients: the largest that is allowed."""
    found, patients = [], population(SETS * N)
    for seed, start in enumerate(range(0, len(patients), N)):
        method = METHODS[kind]()
        with warnings.catch_warnings(record=True):
            method.calibrate(itertools.chain(*patients[start : start + N]), per=per, seed=seed)
        found.append(max(method.valid_, default=0) if kind == "ltt" else method.cutoff_)
    return np.array(found)


def of_the_worst(cutoff):
    """Mean of the largest loss of three independent lesions."""
    return 1 - (1 - cutoff) ** 3


def p_fails_at_most_delta(risks):
    return stats.binom.sf((risks > ALPHA).sum() - 1, SETS, DELTA)


# --- the promises, and what breaks them ---


@pytest.mark.parametrize("per", ["worst", "draw"])
def test_crc_keeps_the_mean_over_patients(per):
    """It is also at least alpha - 2 / (n + 1), as for cases."""
    risks = cutoffs("crc", alike, per)
    assert p_mean_at_most(risks, ALPHA) > 1e-3
    assert p_mean_at_most(-risks, 2 / (N + 1) - ALPHA) > 1e-3


def test_crc_keeps_the_mean_of_the_worst_of_unlike_lesions():
    risks = of_the_worst(cutoffs("crc", unlike, "worst"))
    assert p_mean_at_most(risks, ALPHA) > 1e-3
    assert p_mean_at_most(-risks, 2 / (N + 1) - ALPHA) > 1e-3


@pytest.mark.parametrize("kind", ["rcps", "wsr", "ltt"])
@pytest.mark.parametrize("per", ["worst", "draw"])
def test_a_level_is_broken_in_at_most_delta_of_the_calibrations(kind, per):
    assert p_fails_at_most_delta(cutoffs(kind, alike, per)) > 1e-3


def test_twin_lesions_of_a_patient_count_as_independent():
    """Easy patients have more lesions and are counted more often."""
    assert p_mean_at_most(cutoffs("crc", alike, "case"), ALPHA) < 1e-6
    for kind in ("rcps", "wsr", "ltt"):
        assert p_fails_at_most_delta(cutoffs(kind, alike, "case")) < 1e-6


def test_twin_one_drawn_lesion_does_not_speak_for_the_worst():
    drawn = cutoffs("crc", unlike, "draw")
    assert p_mean_at_most(drawn, ALPHA) > 1e-3
    assert p_mean_at_most(of_the_worst(drawn), ALPHA) < 1e-6


# --- exactly the worst, exactly one ---


@given(cases=strategies.calibration_sets(empty=True))
def test_the_worst_loss_is_the_largest_at_every_cut_off(cases):
    losses = [fnr_steps(case) for case in cases]
    worst = WorstLoss(losses)
    for cutoff in all_cutoffs(cases):
        assert worst.exactly(cutoff) == max(fnr(case, cutoff) for case in cases)
        assert worst(cutoff) == float(worst.exactly(cutoff))
    assert candidates([worst]).tolist() == candidates(losses).tolist()


def pairs_of(cases):
    """The cases as those of patients, two each."""
    known = [Case(c.score, c.truth, name=f"{i}", patient=f"{i // 2}") for i, c in enumerate(cases)]
    return [known[i : i + 2] for i in range(0, len(known), 2)]


@given(cases=strategies.calibration_sets(empty=True))
def test_the_largest_cut_off_that_is_safe_for_the_worst_of_each_patient(cases):
    pairs = pairs_of(cases)
    with warnings.catch_warnings(record=True):
        method = ConformalRiskControl(0.6, empty="zero")
        method.calibrate(itertools.chain(*pairs), per="worst")

    def keeps(cutoff):
        return crc_keeps([max(fnr(case, cutoff) for case in pair) for pair in pairs], 0.6)

    largest = max(filter(keeps, all_cutoffs(cases)), default=-1)
    assert method.cutoff_ == {-1: -math.inf, 2: math.inf}.get(largest, largest)
    assert method.patients_ == method._calibration.names == tuple(map(str, range(len(pairs))))


@given(cases=strategies.calibration_sets(empty=True))
def test_the_worst_of_two_losses_is_taken_for_each(cases):
    pairs = pairs_of(cases)
    with warnings.catch_warnings(record=True):
        test = LearnThenTest((0.9, 0.9), 0.99, [0.5], empty="zero")
        test.calibrate(itertools.chain(*pairs), per="worst")
    losses = [[both_losses(case, 0.5) for case in pair] for pair in pairs]
    expected = [[float(max(each)) for each in zip(*pair, strict=True)] for pair in losses]
    found = np.column_stack(list(test._calibration.scores.values()))
    np.testing.assert_array_equal(found, expected)


COHORT = [
    lesion([0.5], "b", "b1"),
    lesion([0.9], "a", "a1"),
    lesion([0.3], "b", "b2"),
    lesion([0.8], "a", "a2"),
]
HEALTHY = Case([0.9], [False], name="healthy", patient="c")


def test_one_case_of_each_patient_is_drawn():
    drawn = {
        tuple(ConformalRiskControl(0.5).calibrate(COHORT, per="draw", seed=seed)._calibration.names)
        for seed in range(40)
    }
    assert drawn == set(itertools.product(("b1", "b2"), ("a1", "a2")))


def test_patients_of_one_case_each_give_what_cases_give():
    known = [patient[0] for patient in unlike(30)]
    for make in METHODS.values():
        with warnings.catch_warnings(record=True):
            expected = make().calibrate(known)._calibration
            for per in ("worst", "draw"):
                found = make().calibrate(known, per=per)._calibration
                assert found.cutoffs == expected.cutoffs
                for name, losses in expected.scores.items():
                    np.testing.assert_array_equal(found.scores[name], losses)


# --- words, files, bad input ---


@pytest.mark.parametrize(
    ("per", "counted", "mean", "end"),
    [
        ("worst", ", each by the worst of its cases", " in the worst of a patient's cases", "on."),
        (
            "draw",
            ", each by one case drawn at random",
            " in one case drawn at random from a patient's",
            "on, or for all cases of a patient at once.",
        ),
    ],
)
def test_the_statement_says_what_is_counted(per, counted, mean, end):
    known = [case for patient in alike(200) for case in patient]
    texts = {kind: make().calibrate(known, per=per).statement() for kind, make in METHODS.items()}
    for text in texts.values():
        assert f"Calibrated on 200 patients{counted}. For new patients drawn from" in text
        assert f"the mean false negative rate{mean} is at most 20%" in text
        assert "A mean says nothing of one patient: some may lose much more." in text
        assert text.endswith(end)
    assert "of the calibration patients and of the new patient together" in texts["crc"]
    assert "over the draw of the calibration patients." in texts["rcps"]
    assert f"the mean false discovery proportion{mean} is at most 90%" in texts["ltt"]
    assert "over the draw of the calibration patients." in texts["ltt"]


@pytest.mark.parametrize("per", ["case", "worst", "draw"])
@pytest.mark.parametrize("kind", METHODS)
def test_files_keep_the_unit(kind, per):
    known = [case for patient in alike(200) for case in patient]
    method = METHODS[kind]().calibrate(known, per=per)
    loaded = type(method).from_json(method.to_json())
    assert json.loads(method.to_json())["per"] == per
    assert loaded.statement() == method.statement()
    assert loaded.to_json() == method.to_json()


def test_a_patient_without_any_lesion_is_left_out_and_counted():
    with pytest.warns(UserWarning, match="2 of 6 cases have an empty truth"):
        method = ConformalRiskControl(0.5).calibrate([HEALTHY, *COHORT, HEALTHY], per="worst")
    assert method.n_ == 2
    assert "(1 without lesion were left out, so that the promise is for patients" in (
        method.statement()
    )


def test_too_few_patients():
    with pytest.warns(UserWarning, match="2 calibration patients are too few: .* 9 are needed"):
        ConformalRiskControl(0.1).calibrate(COHORT, per="worst")


@pytest.mark.parametrize("kind", METHODS)
def test_unknown_units_and_cases_of_nobody_are_refused(kind):
    method = METHODS[kind]()
    with pytest.raises(ValueError, match="per must be one of .* found 'patient'"):
        method.calibrate(COHORT, per="patient")
    message = re.escape("case 5 ('lesion'): names no patient, so there are no patients to count")
    with pytest.raises(ValueError, match=message):
        method.calibrate([*COHORT, lesion([0.5], "")], per="worst")
    assert not hasattr(method, "n_")
