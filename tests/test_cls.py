"""Conformal lesion segmentation against brute force, on whole images."""

import math

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLOATS, alphas, calibration_sets, cases, tolerances

from confseg import CLS, Case

sets_of_cases = calibration_sets()
RATES = ("fnr", "fpr", "fdp")


@given(sets_of_cases, tolerances, alphas)
def test_critical_values_and_cutoff_equal_brute_force(calibration, eps, alpha):
    method = CLS(eps, alpha).calibrate(calibration)
    critical = [brute.outer_cutoff(case.score, case.truth, eps) for case in calibration]
    assert method.critical_values_.tolist() == critical
    assert method.cutoff_ == brute.outer_calibration(critical, alpha)
    assert method.t_hat_ == 1 - method.cutoff_
    assert method.n_ == len(calibration)


@given(sets_of_cases, cases(empty=True), tolerances, alphas)
def test_prediction_and_compliance_equal_a_naive_count(calibration, new, eps, alpha):
    method = CLS(eps, alpha).calibrate(calibration)
    region = method.predict(new.score)
    assert region.dtype == np.bool_
    np.testing.assert_array_equal(region, brute.above(new.score, method.cutoff_, strict=False))
    kept = brute.missed(new.score, new.truth, method.cutoff_) <= brute.allowed(eps, new.truth)
    assert method.complies(new) is kept


@given(sets_of_cases, tolerances, alphas)
def test_as_many_calibration_cases_comply_as_the_rank_says(calibration, eps, alpha):
    method = CLS(eps, alpha).calibrate(calibration)
    rank = math.ceil((1 - brute.decimal(alpha)) * (len(calibration) + 1))
    assert sum(method.complies(case) for case in calibration) >= rank


@given(sets_of_cases, st.sampled_from(FLOATS), st.sampled_from(FLOATS), alphas)
def test_types_may_differ_between_calibration_and_prediction(calibration, first, second, alpha):
    """Numbers of either type are compared as real numbers, in both directions."""
    one = [Case(case.score.astype(first), case.truth) for case in calibration]
    other = [Case(case.score.astype(second), case.truth) for case in calibration]
    method = CLS(0.1, alpha).calibrate(one)
    for case in other:
        region = brute.above(case.score, method.cutoff_, strict=False)
        np.testing.assert_array_equal(method.predict(case.score), region)
        kept = brute.missed(case.score, case.truth, method.cutoff_)
        assert method.complies(case) is (kept <= brute.allowed(0.1, case.truth))


def test_the_voxel_at_the_cutoff_belongs_to_the_mask():
    case = Case(np.array([0.1, 0.7, 0.3], dtype=np.float32), [False, True, True])
    method = CLS(eps=0.0, alpha=0.5).calibrate([case])
    assert method.cutoff_ == float(np.float32(0.3))
    assert method.predict(case.score).tolist() == [False, True, True]


def test_t_hat_is_for_reading_only():
    """Rule 1 of exactness: 1 - (1 - p) is not p, and the boundary voxel would drop out."""
    method = CLS(eps=0.0, alpha=0.5).calibrate([Case([0.1, 0.9], [True, True])])
    assert 1 - method.t_hat_ != method.cutoff_
    assert method.cutoff_ == 0.1
    assert method.predict([0.1]).tolist() == [True]


@pytest.mark.parametrize("voxels", range(1, 31))
@pytest.mark.parametrize("eps", [0.1, 0.3, 0.7, 0.29, 1 / 3])
def test_compliance_is_decided_on_integers(voxels, eps):
    """Scores are ranks, so a case complies up to exactly the tolerated number of misses."""
    score, truth = np.arange(1, voxels + 1) / 64, np.ones(voxels, dtype=bool)
    most = brute.allowed(eps, truth)
    for missed in range(voxels + 1):
        cutoff = (missed + 1) / 64
        method = CLS(eps, alpha=0.5).calibrate([Case([cutoff], [True])])
        assert method.complies(Case(score, truth)) is (missed <= most)


def test_parameters_are_plain_numbers():
    method = CLS(np.float32(0.1), np.float64(0.3))
    assert (method.eps, method.alpha) == (0.1, 0.3)
    assert type(method.eps) is type(method.alpha) is float


def test_statement_speaks_of_what_is_promised():
    cases_ = [Case([k / 32], [True]) for k in range(1, 20)]
    text = CLS(eps=0.1, alpha=0.05).calibrate(cases_).statement()
    for words in (
        "Calibrated on 19 cases.",
        "misses at most 10% of the lesion's voxels with a probability of at least 95%",
        "same population",
        "does not hold for patients, scanners or segmenters that differ",
    ):
        assert words in text
    assert "left out" not in text


# --- the mirror image: false voxels ---


@given(calibration_sets(empty=True), tolerances, alphas, st.sampled_from(["fpr", "fdp"]))
def test_critical_values_for_false_voxels_equal_brute_force(calibration, eps, alpha, rate):
    method = CLS(eps, alpha, rate=rate).calibrate(calibration)
    critical = [brute.inner_cutoff(case.score, case.truth, eps, rate) for case in calibration]
    assert method.critical_values_.tolist() == critical
    assert method.cutoff_ == brute.inner_calibration(critical, alpha)
    assert method.n_ == len(calibration)


@given(sets_of_cases, cases(empty=True), tolerances, alphas, st.sampled_from(["fpr", "fdp"]))
def test_a_mask_of_few_false_voxels_equals_a_naive_count(calibration, new, eps, alpha, rate):
    method = CLS(eps, alpha, rate=rate).calibrate(calibration)
    region = brute.above(new.score, method.cutoff_, strict=True)
    np.testing.assert_array_equal(method.predict(new.score), region)
    kept = not brute.too_false(new.score, new.truth, method.cutoff_, eps, rate)
    assert method.complies(new) is kept


def test_cases_without_lesion_count_where_false_voxels_do():
    healthy = Case([0.6, 0.2], [False, False])
    for empty in ("exclude", "refuse"):
        method = CLS(0.1, 0.5, empty, "fdp").calibrate([healthy])
        assert (method.n_, method.cutoff_) == (1, 0.6)
        assert not method.predict(healthy.score).any()


@pytest.mark.parametrize("rate", ["fpr", "fdp"])
def test_too_few_cases_leave_an_empty_mask(rate):
    with pytest.warns(UserWarning, match="the inner region is empty; at least 9 are needed"):
        method = CLS(0.1, 0.1, rate=rate).calibrate([Case([0.9, 0.1], [True, False])])
    assert method.cutoff_ == math.inf
    assert not method.predict([1.0, 0.5]).any()


def test_statement_speaks_of_the_rate():
    cases_ = [Case([k / 32, 0.0], [True, False]) for k in range(1, 20)]
    texts = {rate: CLS(0.1, 0.05, rate=rate).calibrate(cases_).statement() for rate in RATES}
    assert "takes at most 10% of the voxels that are no lesion with" in texts["fpr"]
    assert "at most 10% of the mask's voxels are no lesion with" in texts["fdp"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rate": "ppv"}, "rate must be one of .* found 'ppv'"),
        ({"rate": "fdp", "eps": 1.0}, r"share of false voxels must lie in \[0, 1\), found 1.0"),
        ({"eps": 1.0}, r"tolerated miss fraction must lie in \[0, 1\), found 1.0"),
    ],
)
def test_unsound_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        CLS(**{"eps": 0.1, "alpha": 0.1, **parameters})
