"""Confidence sets against brute force, on whole images."""

import math

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import alphas, calibration_sets, cases, tolerances
from test_fields import public_fields, rank_filter

from confseg import Case, ConfidenceSets, Sets, fields

set_of_cases = calibration_sets(empty=True, spaced=True)
controls = st.sampled_from(["joint", "inner", "outer"])


def field_of(field, case):
    """The field of a case on the whole image."""
    return field(case.score, case.spacing)


def critical_values(inner, outer, calibration):
    """Both critical values of every case, by brute force."""
    return (
        [brute.inner_cutoff(field_of(inner, case), case.truth) for case in calibration],
        [brute.outer_cutoff(field_of(outer, case), case.truth) for case in calibration],
    )


def naive_sets(method, case):
    """The two sets at the method's cut-offs, voxel by voxel."""
    return (
        brute.above(field_of(method.inner, case), method.cutoff_inner_, strict=True),
        brute.above(field_of(method.outer, case), method.cutoff_outer_, strict=False),
    )


@given(set_of_cases, public_fields, public_fields, alphas)
def test_joint_cutoffs_equal_brute_force(calibration, inner, outer, alpha):
    method = ConfidenceSets(alpha, inner=inner, outer=outer).calibrate(calibration)
    c_in, c_out = critical_values(inner, outer, calibration)
    worst = [max(tau, -c) for tau, c in zip(c_in, c_out, strict=True)]
    limit = brute.conformal_quantile(worst, alpha)
    assert method.cutoff_inner_ == limit
    assert method.cutoff_outer_ == -limit
    assert method.critical_values_.inner.tolist() == c_in
    assert method.critical_values_.outer.tolist() == c_out
    assert method.nonconformity_.tolist() == worst


@given(set_of_cases, public_fields, public_fields, st.sampled_from(["inner", "outer"]), alphas)
def test_marginal_cutoffs_equal_brute_force(calibration, inner, outer, control, alpha):
    method = ConfidenceSets(alpha, control, inner, outer).calibrate(calibration)
    c_in, c_out = critical_values(inner, outer, calibration)
    if control == "inner":
        expected = (brute.inner_calibration(c_in, alpha), -math.inf, c_in, [])
    else:
        expected = (math.inf, brute.outer_calibration(c_out, alpha), [], c_out)
    assert (method.cutoff_inner_, method.cutoff_outer_) == expected[:2]
    assert method.critical_values_.inner.tolist() == expected[2]
    assert method.critical_values_.outer.tolist() == expected[3]


@given(set_of_cases, cases(empty=True, spaced=True), public_fields, tolerances, tolerances, alphas)
def test_tolerances_equal_brute_force(calibration, new, field, false, miss, alpha):
    method = ConfidenceSets(alpha, inner=field, outer=field, false=false, miss=miss)
    method.calibrate(calibration)
    images = [(field_of(field, case), case.truth) for case in calibration]
    c_in = [brute.inner_cutoff(image, truth, false, "fdp") for image, truth in images]
    c_out = [brute.outer_cutoff(image, truth, miss) for image, truth in images]
    assert method.critical_values_.inner.tolist() == c_in
    assert method.critical_values_.outer.tolist() == c_out
    worst = [max(tau, -c) for tau, c in zip(c_in, c_out, strict=True)]
    assert method.cutoff_inner_ == brute.conformal_quantile(worst, alpha)
    image = field_of(field, new)
    kept = not brute.too_false(image, new.truth, method.cutoff_inner_, false, "fdp")
    kept &= brute.missed(image, new.truth, method.cutoff_outer_) <= brute.allowed(miss, new.truth)
    assert method.complies(new) is kept


@given(
    set_of_cases,
    public_fields,
    public_fields,
    st.sampled_from([(0.25, 0.5), (0.3, 0.4), (0.5, 0.25)]),
)
def test_weighted_cutoffs_equal_brute_force(calibration, inner, outer, weights):
    alpha = float(sum(map(brute.decimal, weights)))
    method = ConfidenceSets(alpha, "weighted", inner, outer, weights).calibrate(calibration)
    c_in, c_out = critical_values(inner, outer, calibration)
    assert method.cutoff_inner_ == brute.inner_calibration(c_in, weights[0])
    assert method.cutoff_outer_ == brute.outer_calibration(c_out, weights[1])
    np.testing.assert_array_equal(method.nonconformity_, np.transpose([c_in, -np.array(c_out)]))


@given(set_of_cases, cases(empty=True, spaced=True), public_fields, public_fields, controls, alphas)
def test_prediction_and_compliance_equal_a_naive_count(
    calibration, new, inner, outer, control, alpha
):
    method = ConfidenceSets(alpha, control, inner, outer).calibrate(calibration)
    found, expected = method.predict(new.score, new.spacing), naive_sets(method, new)
    assert isinstance(found, Sets)
    for region, naive in zip(found, expected, strict=True):
        assert region.dtype == np.bool_
        np.testing.assert_array_equal(region, naive)
    inside = brute.overcalled(field_of(inner, new), new.truth, method.cutoff_inner_) == 0
    around = brute.missed(field_of(outer, new), new.truth, method.cutoff_outer_) == 0
    assert method.complies(new) is (inside and around)


@given(set_of_cases, public_fields, alphas)
def test_on_one_field_the_inner_set_lies_in_the_outer_set_or_the_cutoffs_cross(
    calibration, field, alpha
):
    """The sets are nested unless the joint cut-off is negative: then both are better than asked."""
    method = ConfidenceSets(alpha, inner=field, outer=field).calibrate(calibration)
    if method.cutoff_inner_ >= method.cutoff_outer_:
        for case in calibration:
            inner, outer = method.predict(case.score, case.spacing)
            assert (inner <= outer).all()


def test_the_side_that_was_not_asked_for_is_trivial():
    case = Case([[0.1, 0.9]], [[False, True]])
    for control, inner, outer in [("inner", [[0, 1]], [[1, 1]]), ("outer", [[0, 0]], [[0, 1]])]:
        found = ConfidenceSets(0.5, control).calibrate([case]).predict(case.score)
        assert found.inner.tolist() == (np.array(inner) == 1).tolist()
        assert found.outer.tolist() == (np.array(outer) == 1).tolist()


def test_strict_inside_and_not_strict_outside():
    """Voxels at the cut-off are left out of the inner set and kept in the outer set."""
    case = Case([0.2, 0.6, 0.6, 0.8], [False, False, True, True])
    method = ConfidenceSets(0.5, "weighted", fields.identity, fields.identity, (0.25, 0.25))
    with pytest.warns(UserWarning, match="too few"):
        method.calibrate([case])
    marginal = {
        control: ConfidenceSets(0.5, control, fields.identity, fields.identity).calibrate([case])
        for control in ("inner", "outer")
    }
    assert marginal["inner"].predict(case.score).inner.tolist() == [False, False, False, True]
    assert marginal["outer"].predict(case.score).outer.tolist() == [False, True, True, True]


def test_certain_probabilities_give_infinite_logits_and_trivial_sets():
    """A background voxel with probability 1 leaves no inner set."""
    case = Case([0.0, 1.0, 1.0], [False, False, True])
    method = ConfidenceSets(0.5).calibrate([case])
    assert (method.cutoff_inner_, method.cutoff_outer_) == (math.inf, -math.inf)
    inner, outer = method.predict(case.score)
    assert not inner.any()
    assert outer.all()


def test_an_own_function_is_used_as_it_is():
    case = Case(np.random.default_rng(0).random((6, 7)), np.eye(6, 7) > 0, (2.0, 1.0))
    method = ConfidenceSets(0.5, inner=rank_filter, outer=rank_filter).calibrate([case])
    field = rank_filter(case.score, (2.0, 1.0))
    expected = max(field[~case.truth].max(), -field[case.truth].min())
    assert method.cutoff_inner_ == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"control": "both"}, "control must be one of .* found 'both'"),
        ({"control": "weighted"}, "weights go with control='weighted', found None with 'weighted'"),
        ({"weights": (0.05, 0.05)}, "weights go with control='weighted'"),
        ({"control": "weighted", "weights": (0.1,)}, r"expected \(alpha inner, alpha outer\)"),
        ({"control": "weighted", "weights": (0.02, 0.07)}, "must add up to alpha = 0.1"),
        ({"control": "weighted", "weights": (0.1, 0.0)}, "a weight must lie strictly between"),
    ],
)
def test_unsound_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        ConfidenceSets(0.1, **parameters)


def test_weights_add_up_as_decimals():
    """In floating point 0.1 + 0.2 is not 0.3."""
    assert ConfidenceSets(0.3, "weighted", weights=(0.1, 0.2)).weights == (0.1, 0.2)


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ("joint", "lies outside the outer set, together, with a probability of at least 90%"),
        ("weighted", "lies outside the outer set, together, with a probability of at least 90%"),
        ("inner", "every voxel of the inner set is lesion with a probability of at least 90%"),
        ("outer", "no lesion voxel lies outside the outer set with a probability of at least 90%"),
    ],
)
def test_statement_speaks_of_the_side_that_is_controlled(control, words):
    weights = (0.05, 0.05) if control == "weighted" else None
    calibration = [Case([k / 64, 0.9], [False, True]) for k in range(1, 40)]
    method = ConfidenceSets(0.1, control, weights=weights).calibrate(calibration)
    assert words in method.statement()
    assert "39 cases" in method.statement()


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ("joint", "the inner region is empty and the outer region is the whole image, since"),
        ("inner", "the inner region is empty, since in too many cases the field is infinite"),
    ],
)
def test_statement_tells_what_saturated_scores_make_of_the_sets(control, words):
    """A probability of exactly 1 outside every lesion, as single precision rounds it."""
    score, truth = np.array([0.2, 0.9, 1.0]), np.array([False, True, False])
    saturated = ConfidenceSets(0.1, control).calibrate([Case(score, truth)] * 20)
    assert f"Here that says nothing: {words}" in saturated.statement()
    assert not saturated.predict(score).inner.any()
    finite = ConfidenceSets(0.1, control).calibrate([Case(score - 0.1, truth)] * 20)
    assert "says nothing" not in finite.statement()


def test_statement_names_the_tolerances():
    calibration = [Case([0.9, k / 32], [True, False]) for k in range(1, 20)]
    tolerant = ConfidenceSets(0.1, false=0.1, miss=0.05).calibrate(calibration).statement()
    assert "at most 10% of the inner set's voxels are no lesion and at most 5%" in tolerant
    assert "of the lesion's voxels lie outside the outer set, together," in tolerant


@pytest.mark.parametrize("name", ["false", "miss"])
def test_tolerances_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\), found 1.0"):
        ConfidenceSets(0.1, **{name: 1.0})


def test_a_larger_set_may_have_a_smaller_share_of_false_voxels():
    """A case may keep the promise beyond its score, and the statement allows for it."""
    truth = np.array([False] + [True] * 9 + [False])
    lesion = [0.8] * 9
    speck = Case(np.array([0.9, *lesion, 0.2]), truth)  # bright, and outside
    tolerant = ConfidenceSets(0.5, "inner", inner=fields.identity, false=0.1)
    assert (tolerant.calibrate([speck] * 3).nonconformity_ == 0.9).all()
    tolerant.calibrate([Case(np.array([0.3, *lesion, 0.2]), truth)] * 3)
    assert tolerant.cutoff_inner_ < 0.9
    assert tolerant.complies(speck)
    told = "or a larger set has a smaller share of false voxels"
    assert told in tolerant.statement()
    strict = ConfidenceSets(0.5, "inner", inner=fields.identity).calibrate([speck] * 3)
    assert told not in strict.statement()
