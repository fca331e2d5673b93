"""Several lesions per patient: the patient is the unit, and one number is what it gives.

Patients are drawn independently; their lesions share what is hard about the patient, and easy
patients have more of them. The laws are those of `test_guarantees`.
"""

import json
import re

import numpy as np
import pytest
from test_guarantees import ALPHA, SETS, M, N, batches, law_of, p_at_least, p_same_law, p_same_mean

from confseg import CLS, Case, ConfidenceSets, Margin

TRUTH = np.arange(12) < 8


def lesion(patient, score, name="lesion", truth=TRUTH):
    return Case(score, truth, name=name, patient=patient)


def flat(patient, probability, name="lesion"):
    """A case whose critical value under CLS is its probability."""
    return lesion(patient, [probability, 0.0], name, [True, False])


def patients(n, seed, shared=1.5):
    """The lesions of each of `n` patients; `shared` is what they have in common."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=n)
    numbers = rng.binomial(4, 1 / (1 + np.exp(2 * hard))) + 1
    found = []
    for i, (effect, number) in enumerate(zip(hard, numbers, strict=True)):
        depth = np.where(TRUTH, 2.0, -2.0) - shared * effect
        logit = depth + rng.normal(size=(number, 1)) + rng.normal(size=(number, TRUTH.size))
        scores = 1 / (1 + np.exp(-logit))
        found.append([lesion(f"patient {i}", score, f"lesion {i}") for score in scores])
    return found


@pytest.fixture(scope="module")
def population():
    return patients(SETS * (N + M), seed=5)


def every_lesion(method, known, rng):
    """Whether the promise holds in all cases of one patient."""
    return all(method.complies(case) for case in known)


def one_lesion(method, known, rng):
    """Whether it holds in one case drawn from the patient's."""
    return method.complies(known[rng.integers(len(known))])


def count_compliant(per, keeps, population):
    """Compliant patients among M new ones after each of the calibrations."""
    counts, rng = [], np.random.default_rng(7)
    for group in batches(population, N + M):
        method = CLS(0.25, ALPHA)
        known = [case for patient in group[:N] for case in patient]
        method.calibrate(known, per=per, seed=int(rng.integers(2**31)))
        counts.append(sum(keeps(method, patient, rng) for patient in group[N:]))
    return np.array(counts)


@pytest.mark.parametrize(("per", "keeps"), [("worst", every_lesion), ("draw", one_lesion)])
def test_counts_of_patients_follow_the_law(population, per, keeps):
    counts = count_compliant(per, keeps, population)
    assert p_same_law(counts, law_of(ALPHA)) > 1e-3
    assert p_same_mean(counts, law_of(ALPHA)) > 1e-3


@pytest.mark.parametrize("keeps", [every_lesion, one_lesion])
def test_twin_lesions_count_as_independent(population, keeps):
    """Lesion by lesion: too little for all lesions of a patient, and too little for one."""
    counts = count_compliant("case", keeps, population)
    assert p_same_law(counts, law_of(ALPHA)) < 1e-6
    assert p_at_least(counts, law_of(ALPHA)) < 1e-6


def test_twin_one_drawn_lesion_does_not_speak_for_all(population):
    counts = count_compliant("draw", every_lesion, population)
    assert p_at_least(counts, law_of(ALPHA)) < 1e-6


# --- what is kept of a patient ---

COHORT = [
    flat("b", 0.5, "b1"),
    flat("a", 0.9, "a1"),
    flat("b", 0.3, "b2"),
    flat("a", 0.8, "a2"),
    flat("c", 0.7, "c1"),
]


def test_the_worst_case_of_each_patient_counts():
    method = CLS(0.0, 0.4).calibrate(COHORT, per="worst")
    assert method.n_ == 3
    assert method.patients_ == ("b", "a", "c")
    assert method.critical_values_.tolist() == [0.3, 0.8, 0.7]
    assert method.cutoff_ == 0.3


def test_the_worst_is_taken_on_each_side():
    """One case overcalls, the other misses: the patient is as bad as both."""
    overcalls = lesion("a", [0.8, 0.7], "over", [True, False])
    misses = lesion("a", [0.2, 0.1], "miss", [True, False])
    identity = {"inner": lambda score, _: score, "outer": lambda score, _: score}
    method = ConfidenceSets(0.6, **identity).calibrate([overcalls, misses], per="worst")
    assert method.critical_values_.inner.tolist() == [0.7]
    assert method.critical_values_.outer.tolist() == [0.2]


def test_every_case_is_drawn_as_often_as_any_other():
    drawn = [
        CLS(0.0, 0.4).calibrate(COHORT, per="draw", seed=seed).critical_values_.tolist()
        for seed in range(400)
    ]
    first, second, third = map(list, zip(*drawn, strict=True))
    assert 160 < first.count(0.5) < 240
    assert first.count(0.5) + first.count(0.3) == 400
    assert 160 < second.count(0.9) < 240
    assert third == [0.7] * 400
    again = CLS(0.0, 0.4).calibrate(iter(COHORT), n_jobs=2, per="draw", seed=3)
    assert again.critical_values_.tolist() == drawn[3]
    assert set(again._calibration.names) <= {case.name for case in COHORT}


def test_patients_of_one_case_each_give_what_cases_give():
    known = [patient[0] for patient in patients(30, seed=2)]
    by_case = Margin(0.1).calibrate(known)
    for per in ("worst", "draw"):
        method = Margin(0.1).calibrate(known, per=per)
        assert method.margin_ == by_case.margin_
        assert method.nonconformity_.tolist() == by_case.nonconformity_.tolist()


# --- cases without lesion ---


def healthy(patient):
    return lesion(patient, [0.9, 0.9], "healthy", [False, False])


@pytest.mark.parametrize("per", ["worst", "draw"])
def test_a_patient_without_any_lesion_is_left_out_and_counted(per):
    mixed = [healthy("a"), *COHORT, healthy("d"), healthy("d")]
    with pytest.warns(UserWarning, match="3 of 8 cases have an empty truth"):
        method = CLS(0.0, 0.4).calibrate(mixed, per=per)
    assert method.n_ == 3
    assert "Calibrated on 3 patients" in method.statement()
    assert "(1 without lesion were left out" in method.statement()
    assert "for patients with a lesion" in method.statement()
    assert set(method.critical_values_) <= {0.3, 0.5, 0.7, 0.8, 0.9}


def test_cases_without_lesion_that_count_as_no_loss_are_never_the_worst():
    mixed = [*COHORT, healthy("a"), healthy("d")]
    method = CLS(0.0, 0.4, empty="zero").calibrate(mixed, per="worst")
    assert method.critical_values_.tolist() == [0.3, 0.8, 0.7, np.inf]
    with pytest.raises(ValueError, match="2 cases have an empty truth, first 'healthy'"):
        CLS(0.0, 0.4, empty="refuse").calibrate(mixed, per="worst")


# --- words, files, bad input ---


def test_the_statement_says_what_is_drawn():
    texts = {
        per: CLS(0.0, 0.4).calibrate(COHORT, per=per).statement()
        for per in ("case", "worst", "draw")
    }
    assert "Calibrated on 5 cases. For a new case drawn" in texts["case"]
    assert "if cases of one patient are counted as independent" in texts["case"]
    assert "Calibrated on 3 patients, each by the worst of its cases." in texts["worst"]
    assert "in all cases of the patient at once, the mask misses" in texts["worst"]
    assert "after 3 calibration patients the long-run share of new patients" in texts["worst"]
    assert "Calibrated on 3 patients, each by one case drawn at random." in texts["draw"]
    assert "in one case drawn at random from the patient's, the mask misses" in texts["draw"]
    assert "or for all cases of a patient at once" in texts["draw"]


@pytest.mark.parametrize("per", ["case", "worst", "draw"])
def test_files_keep_the_unit(per):
    method = CLS(0.0, 0.4).calibrate(COHORT, per=per)
    loaded = CLS.from_json(method.to_json())
    assert json.loads(method.to_json())["per"] == per
    assert loaded.statement() == method.statement()
    assert loaded.to_json() == method.to_json()


def test_a_file_without_a_unit_speaks_of_cases():
    """As the first version wrote them."""
    from confseg import storage

    method = CLS(0.0, 0.4).calibrate(COHORT)
    data = json.loads(method.to_json())
    del data["per"]
    data["sha256"] = storage.digest(data)
    assert CLS.from_json(json.dumps(data)).to_json() == method.to_json()


@pytest.mark.parametrize("per", ["worst", "draw"])
def test_cases_that_name_no_patient_are_refused(per):
    method = CLS(0.0, 0.4).calibrate(COHORT)
    message = re.escape("case 6 ('nobody'): names no patient, so there are no patients to count")
    with pytest.raises(ValueError, match=message):
        method.calibrate([*COHORT, flat("", 0.5, "nobody")], per=per)
    assert not hasattr(method, "n_")


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="per must be one of .* found 'patient'"):
        CLS(0.0, 0.4).calibrate(COHORT, per="patient")


def test_too_few_patients():
    with pytest.warns(UserWarning, match=r"3 calibration patients are too few: .* 9 are needed"):
        method = CLS(0.0, 0.1).calibrate(COHORT, per="worst")
    assert "So few patients support no more than the trivial answer" in method.statement()
