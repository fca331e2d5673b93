"""Reweighted methods, and weights from a classifier."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestClassifier

from confseg import (
    CLS,
    ConfidenceSets,
    DensityRatio,
    Margin,
    NotCalibratedError,
    effective_cases,
    phantoms,
    reweighted,
    weighted_quantile,
)

LESIONS = phantoms.Lesions(shape=(20, 20), radius=(3.5, 6.0), roughness=0.6, bumps=2.5)
METHODS = {
    "CLS": lambda: CLS(eps=0.1, alpha=0.2),
    "joint sets": lambda: ConfidenceSets(0.2),
    "weighted sets": lambda: ConfidenceSets(0.2, "weighted", weights=(0.05, 0.15)),
    "margin": lambda: Margin(0.2, metric="cross"),
}
CASES = list(phantoms.cases(40, LESIONS, seed=1))
WEIGHTS = np.random.default_rng(2).uniform(0, 2, 40)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_cutoffs_are_the_weighted_quantiles(make):
    method = make().calibrate(CASES)
    found = reweighted(method, WEIGHTS, test_weight=0.7)
    scores = method.nonconformity_.reshape(40, -1)
    for column, promise in zip(scores.T, method._promises, strict=True):
        quantile = weighted_quantile(column, WEIGHTS, 0.7, promise.alpha)
        for side in promise.sides:
            sign = 1 if side == "inner" else -1
            assert sign * found._calibrated().cutoffs[side] == quantile
    assert type(found) is type(method)
    assert found.predict(CASES[0].score) is not None
    assert sum(found.complies(case) for case in CASES) > 20


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_equal_weights_change_nothing_and_the_method_stays_as_it_is(make):
    method = make().calibrate(CASES)
    before = method.to_json()
    same = reweighted(method, np.ones(40), 1.0)
    assert same._calibrated().cutoffs == method._calibrated().cutoffs
    reweighted(method, WEIGHTS, 5.0)
    assert method.to_json() == before


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("test_weight", [0.7, math.inf])
def test_json(make, test_weight, tmp_path):
    found = reweighted(make().calibrate(CASES), WEIGHTS, test_weight)
    found.to_json(tmp_path / "weighted.json")
    again = type(found).from_json(tmp_path / "weighted.json")
    assert again.statement() == found.statement()
    assert again._calibrated().cutoffs == found._calibrated().cutoffs
    assert (again._calibrated().weights == WEIGHTS).all()
    assert again.to_json() == found.to_json()
    assert "weights" not in json.loads(make().calibrate(CASES).to_json())


def test_statement_says_what_is_now_assumed():
    method = CLS(eps=0.1, alpha=0.2).calibrate(CASES)
    found = reweighted(method, WEIGHTS, 0.7)
    text = found.statement()
    assert "weighted for a new case of weight 0.7" in text
    assert f"worth about {effective_cases(WEIGHTS):.3g} of equal weight" in text
    assert "assumes that the weights are right" in text
    assert "says nothing" not in text and "weight" not in method.statement()
    # The law of an unweighted calibration no longer applies.
    assert "nine calibrations out of ten" not in text


def test_trivial_answers_are_called_so():
    outer = reweighted(CLS(eps=0.1, alpha=0.2).calibrate(CASES), WEIGHTS, 1e6)
    assert outer.cutoff_ == -math.inf and outer.predict(CASES[0].score).all()
    assert "says nothing: the outer region is the whole image" in outer.statement()
    both = reweighted(ConfidenceSets(0.2).calibrate(CASES), np.zeros(40), 1.0)
    assert not both.predict(CASES[0].score).inner.any()
    assert "the inner region is empty and the outer region is the whole" in both.statement()
    assert "worth about 0 of equal weight" in both.statement()


def test_patients_are_weighted_where_patients_count():
    cases = [replace(case, patient=f"patient {i // 2}") for i, case in enumerate(CASES)]
    method = Margin(0.2).calibrate(cases, per="worst")
    found = reweighted(method, WEIGHTS[:20], 1.0)
    assert "20 patients" in found.statement() and "a new patient of weight 1" in found.statement()
    with pytest.raises(ValueError, match="expected 20 weights"):
        reweighted(method, WEIGHTS, 1.0)


def test_bad_input():
    with pytest.raises(NotCalibratedError):
        reweighted(CLS(0.1, 0.2), [1.0], 1.0)
    method = CLS(0.1, 0.2).calibrate(CASES)
    for weights, own, message in [
        (WEIGHTS[1:], 1.0, "expected 40 weights"),
        (-WEIGHTS, 1.0, "must not be negative"),
        (WEIGHTS * math.nan, 1.0, "40 of 40 weights are NaN"),
        (WEIGHTS, -1.0, "weight of the new case"),
        (WEIGHTS * 0, 0.0, "all weights are 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            reweighted(method, weights, own)


# --- weights from a classifier ---


def test_ratio_of_two_gaussians():
    """Logistic regression is the right model there: the log ratio is linear."""
    rng = np.random.default_rng(3)
    ratio = DensityRatio().fit(rng.normal(0, 1, (40_000, 1)), rng.normal(1, 1, (20_000, 1)))
    x = np.linspace(-2, 3, 11)[:, np.newaxis]
    expected = stats.norm.pdf(x[:, 0], 1) / stats.norm.pdf(x[:, 0])
    assert ratio.weights(x) == pytest.approx(expected, rel=0.1)


def test_any_classifier_and_it_is_not_changed():
    rng = np.random.default_rng(4)
    forest = RandomForestClassifier(20, random_state=0)
    source, target = rng.integers(0, 2, (200, 1)), rng.integers(1, 3, (100, 1))
    ratio = DensityRatio(forest).fit(source, target)
    assert not hasattr(forest, "estimators_")
    never, both, only_target = ratio.weights([[0], [1], [2]])
    assert never == 0 and only_target == math.inf
    assert both == pytest.approx(1, rel=0.5)  # half of either population


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ([], [[1.0]], "source: expected a table"),
        ([1.0], [[1.0]], "source: expected a table"),
        ([[1.0]], [[[1.0]]], "target: expected a table"),
        ([[1.0]], [[1.0], [math.nan]], "target: the covariates of case 1 are not finite"),
        ([[1.0]], [[1.0, 2.0]], "1 covariates but the target 2"),
    ],
)
def test_bad_tables(source, target, message):
    with pytest.raises(ValueError, match=message):
        DensityRatio().fit(source, target)


def test_bad_order_and_bad_classifier():
    with pytest.raises(ValueError, match="call fit first"):
        DensityRatio().weights([[1.0]])
    with pytest.raises(ValueError, match="predict_proba"):
        DensityRatio(object()).fit([[1.0]], [[2.0]])
    with pytest.raises(ValueError, match="fitted on 1 covariates"):
        DensityRatio().fit([[1.0], [2.0]], [[2.0]]).weights([[1.0, 2.0]])


def test_scikit_learn_is_not_imported_before_it_is_needed():
    code = "import sys, confseg; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the guarantee with weights learned on cases of their own, and twins ---

N, SETS, ALPHA, LEARNING = 60, 150, 0.1, 300


def coverage_of(learned_on: str):
    """Exact coverage after each of many calibrations; covariate x, score x plus noise.

    The source is N(0, 1), the target N(1, 1): the true ratio is exp(x - 1/2).
    """
    rng, found = np.random.default_rng(7), []
    grid = stats.norm.ppf((np.arange(40) + 0.5) / 40)[:, np.newaxis] + 1  # target covariates
    for _ in range(SETS):
        x = rng.normal(size=(N, 1))
        scores = x[:, 0] + rng.normal(size=N)
        source = rng.normal(size=(LEARNING, 1))
        target = rng.normal(1.0, 1.0, size=(LEARNING, 1))
        if learned_on == "swapped":
            source, target = target, source
        ratio = DensityRatio().fit(source, target)
        weights, own = ratio.weights(x), ratio.weights(grid)
        if learned_on == "nothing":
            weights, own = np.ones(N), np.ones(40)
        limits = [weighted_quantile(scores, weights, w, ALPHA) for w in own]
        found.append(stats.norm.cdf(np.array(limits) - grid[:, 0]).mean())
    return np.array(found)


def p_at_least(found, level):
    return stats.norm.sf((level - found.mean()) / (found.std() / math.sqrt(found.size)))


def test_learned_weights_mend_the_shift():
    assert p_at_least(coverage_of("learning cases"), 1 - ALPHA) > 1e-3


@pytest.mark.parametrize("learned_on", ["nothing", "swapped"])
def test_twin_no_weights_or_wrong_weights(learned_on):
    assert p_at_least(coverage_of(learned_on), 1 - ALPHA) < 1e-6
