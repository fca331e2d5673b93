"""Margins against iterated dilation, and against distances over the whole image."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import alphas, calibration_sets, cases

from confseg import Case, Margin, phantoms

COVERAGES = (1.0, 0.99, 0.9, 0.7, 0.5, 0.3, 0.01)
coverages = st.sampled_from(COVERAGES)
steps = st.sampled_from(["cross", "cube"])
thresholds = st.sampled_from([0.5, 0.3, 0.9])
spaced_sets = calibration_sets(spaced=True)


def predicted(score, threshold):
    """The predicted mask, by definition."""
    return score if score.dtype == bool else score >= threshold


@given(calibration_sets(), coverages, steps, thresholds, alphas)
def test_steps_equal_iterated_dilation(calibration, coverage, metric, threshold, alpha):
    method = Margin(alpha, coverage, metric, threshold).calibrate(calibration)
    needed = [
        brute.needed_dilations(predicted(case.score, threshold), case.truth, coverage, metric)
        for case in calibration
    ]
    assert method.critical_values_.tolist() == needed
    assert method.margin_ == brute.conformal_quantile(needed, alpha)


@given(spaced_sets, coverages, thresholds, alphas)
def test_mm_equal_distances_over_the_whole_image(calibration, coverage, threshold, alpha):
    method = Margin(alpha, coverage, "mm", threshold).calibrate(calibration)
    needed = [
        brute.needed_mm(predicted(case.score, threshold), case.truth, coverage, case.spacing)
        for case in calibration
    ]
    assert method.critical_values_.tolist() == needed
    assert method.margin_ == brute.conformal_quantile(needed, alpha)


@given(cases(), coverages)
def test_a_margin_in_voxels_is_the_root_of_a_whole_number(case, coverage):
    """Without spacing the squared distances are integers, so nothing is rounded but the root."""
    found = Margin(0.5, coverage).calibrate([case]).margin_
    mask = predicted(case.score, 0.5)
    one = [Fraction(1)] * mask.ndim
    pairs = zip(brute.squared_distance_to(mask, one), brute.flags(case.truth), strict=True)
    squares = sorted(square for square, lesion in pairs if lesion)
    rank = math.ceil(brute.decimal(coverage) * len(squares))
    assert found == math.sqrt(squares[rank - 1])


@given(calibration_sets(), cases(empty=True), coverages, steps, alphas)
def test_prediction_is_the_mask_dilated_as_often_as_the_margin_says(
    calibration, new, coverage, metric, alpha
):
    method = Margin(alpha, coverage, metric).calibrate(calibration)
    region = method.predict(new.score)
    assert region.dtype == np.bool_
    naive = brute.dilated(predicted(new.score, 0.5), metric, method.margin_)
    np.testing.assert_array_equal(region, naive)


@given(spaced_sets, cases(empty=True, spaced=True), coverages, alphas)
def test_prediction_in_mm_is_all_that_is_near_the_mask(calibration, new, coverage, alpha):
    method = Margin(alpha, coverage).calibrate(calibration)
    distances = brute.mm_to(predicted(new.score, 0.5), new.spacing)
    naive = brute.above(-distances, -method.margin_, strict=False)
    np.testing.assert_array_equal(method.predict(new.score, new.spacing), naive)


@given(spaced_sets, cases(empty=True, spaced=True), coverages, st.sampled_from(["mm", "cube"]))
def test_compliance_equals_a_naive_count(calibration, new, coverage, metric):
    method = Margin(0.25, coverage, metric).calibrate(calibration)
    region = method.predict(new.score, new.spacing)
    held = sum(a and b for a, b in zip(brute.flags(region), brute.flags(new.truth), strict=True))
    lesion = sum(brute.flags(new.truth))
    assert method.complies(new) is (held >= brute.decimal(coverage) * lesion)


@given(spaced_sets, coverages, st.sampled_from(["mm", "cross", "cube"]))
def test_a_mask_and_the_score_it_comes_from_are_one(calibration, coverage, metric):
    masks = [
        Case(predicted(case.score, 0.5), case.truth, case.spacing, case.name)
        for case in calibration
    ]
    from_scores = Margin(0.25, coverage, metric).calibrate(calibration)
    from_masks = Margin(0.25, coverage, metric).calibrate(masks)
    assert from_scores.critical_values_.tolist() == from_masks.critical_values_.tolist()
    for case, mask in zip(calibration, masks, strict=True):
        np.testing.assert_array_equal(
            from_masks.predict(mask.score.astype(int), mask.spacing),
            from_scores.predict(case.score, case.spacing),
        )


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
@pytest.mark.parametrize("spacing", [(0.7, 0.7), (2.5, 0.7)])
def test_realistic_lesions_agree_with_the_whole_image(metric, spacing):
    lesions = phantoms.Lesions(shape=(30, 36), radius=(3.0, 7.0), spacing=spacing)
    segmenter = phantoms.Segmenter(noise=3.0)
    calibration = list(phantoms.cases(20, lesions, segmenter, seed=4))
    distances = [
        np.sort(brute.distance_to(case.score >= 0.5, spacing, metric)[case.truth])
        for case in calibration
    ]
    for coverage in COVERAGES:
        method = Margin(0.1, coverage, metric).calibrate(calibration)
        needed = [d[math.ceil(brute.decimal(coverage) * d.size) - 1] for d in distances]
        assert method.critical_values_.tolist() == needed


def test_statement_names_the_margin_and_its_unit():
    def method(metric, spacing):
        calibration = [Case([0.9, 0.1, 0.1], [True, True, False], spacing)] * 9
        return Margin(0.1, metric=metric).calibrate(calibration)

    assert "mask widened by 2.5 mm holds all" in method("mm", (2.5,)).statement()
    assert "mask widened by 1 voxels holds all" in method("mm", None).statement()
    assert "mask dilated once by the cross holds all" in method("cross", None).statement()
    lenient = Margin(0.1, 0.9).calibrate([Case([0.9], [True])] * 9).statement()
    assert "holds at least 90% of the lesion's voxels" in lenient


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"coverage": 0.0}, r"coverage must lie in \(0, 1\], found 0.0"),
        ({"coverage": 1.1}, r"coverage must lie in \(0, 1\], found 1.1"),
        ({"coverage": math.nan}, "coverage must be finite, found nan"),
        ({"metric": "voxels"}, "metric must be one of .* found 'voxels'"),
        ({"threshold": math.inf}, "threshold must be finite, found inf"),
        ({"empty": "skip"}, "empty must be one of .* found 'skip'"),
    ],
)
def test_unsound_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Margin(0.1, **parameters)


# --- erosion ---


@given(calibration_sets(empty=True), coverages, steps, thresholds, alphas)
def test_steps_equal_iterated_erosion(calibration, coverage, metric, threshold, alpha):
    method = Margin(alpha, coverage, metric, threshold, side="inner").calibrate(calibration)
    needed = [
        brute.needed_erosions(predicted(case.score, threshold), case.truth, coverage, metric)
        for case in calibration
    ]
    assert method.critical_values_.tolist() == needed
    assert method.margin_ == brute.conformal_quantile(needed, alpha)
    assert method.margins_ == (method.margin_, math.inf)


@given(calibration_sets(empty=True, spaced=True), coverages, thresholds, alphas)
def test_mm_equal_depths_over_the_whole_image(calibration, coverage, threshold, alpha):
    method = Margin(alpha, coverage, "mm", threshold, side="inner").calibrate(calibration)
    needed = [
        brute.needed_inner_mm(predicted(case.score, threshold), case.truth, coverage, case.spacing)
        for case in calibration
    ]
    assert method.critical_values_.tolist() == needed
    assert method.margin_ == brute.conformal_quantile(needed, alpha)


@given(calibration_sets(), cases(empty=True), coverages, steps, alphas)
def test_both_sides_are_one_erosion_and_one_dilation(calibration, new, coverage, metric, alpha):
    method = Margin(alpha, coverage, metric, side="both").calibrate(calibration)
    pairs = [
        (
            brute.needed_erosions(predicted(case.score, 0.5), case.truth, coverage, metric),
            brute.needed_dilations(predicted(case.score, 0.5), case.truth, coverage, metric),
        )
        for case in calibration
    ]
    assert method.critical_values_.tolist() == [list(pair) for pair in pairs]
    assert method.margin_ == brute.conformal_quantile(map(max, pairs), alpha)
    assert method.margins_ == (method.margin_, method.margin_)
    mask = predicted(new.score, 0.5)
    inner, outer = method.predict(new.score)
    np.testing.assert_array_equal(inner, brute.eroded(mask, metric, method.margin_))
    np.testing.assert_array_equal(outer, brute.dilated(mask, metric, method.margin_))
    assert (inner <= mask).all()
    truth, share = np.array(new.truth), brute.decimal(coverage)
    kept = np.sum(inner & truth) >= share * int(inner.sum())
    kept &= np.sum(outer & truth) >= share * int(truth.sum())
    assert method.complies(new) is bool(kept)


@given(spaced_sets, cases(empty=True, spaced=True))
def test_weights_give_each_side_the_margin_it_has_alone(calibration, new):
    method = Margin(0.6, 0.9, side="both", weights=(0.25, 0.35)).calibrate(calibration)
    inner = Margin(0.25, 0.9, side="inner").calibrate(calibration)
    outer = Margin(0.35, 0.9).calibrate(calibration)
    assert method.margins_ == (inner.margin_, outer.margin_)
    regions = method.predict(new.score, new.spacing)
    np.testing.assert_array_equal(regions.inner, inner.predict(new.score, new.spacing))
    np.testing.assert_array_equal(regions.outer, outer.predict(new.score, new.spacing))
    assert method.complies(new) is (inner.complies(new) and outer.complies(new))
    assert method.nonconformity_.shape == (len(calibration), 2)
    with pytest.raises(AttributeError, match="with weights there are two margins, see margins_"):
        method.margin_  # noqa: B018


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
@pytest.mark.parametrize("spacing", [(0.7, 0.7), (2.5, 0.7)])
def test_realistic_erosions_agree_with_the_whole_image(metric, spacing):
    lesions = phantoms.Lesions(shape=(30, 36), radius=(3.0, 7.0), spacing=spacing)
    calibration = list(phantoms.cases(20, lesions, phantoms.Segmenter(noise=3.0), seed=4))
    for coverage in COVERAGES:
        method = Margin(0.1, coverage, metric, side="inner").calibrate(calibration)
        needed = [
            brute.needed_inner_mm(case.score >= 0.5, case.truth, coverage, spacing)
            if metric == "mm"
            else brute.needed_erosions(case.score >= 0.5, case.truth, coverage, metric)
            for case in calibration
        ]
        assert method.critical_values_.tolist() == needed


def test_what_empty_and_full_predictions_mean_on_each_side():
    truth = [False, True, True, False]
    empty, full = Case(np.zeros(4), truth), Case(np.ones(4), truth)
    method = Margin(0.4, side="both").calibrate([empty, full])
    assert method.critical_values_.tolist() == [[0.0, math.inf], [math.inf, 0.0]]
    true = Case(np.ones(4), np.ones(4, dtype=bool))
    assert Margin(0.5, side="inner").calibrate([true]).margin_ == 0.0
    healthy = Case([0.9, 0.9, 0.1, 0.1], np.zeros(4, dtype=bool))
    for empty_rule in ("exclude", "refuse"):
        method = Margin(0.5, side="inner", empty=empty_rule).calibrate([healthy])
        assert method.margin_ == 2.0
    with pytest.raises(ValueError, match="1 cases have an empty truth"):
        Margin(0.5, side="both", empty="refuse").calibrate([healthy])
    both = Margin(0.5, side="both", empty="zero").calibrate([healthy])
    assert both.critical_values_.tolist() == [[2.0, 0.0]]


def test_the_border_of_the_image_does_not_erode():
    """The mask goes on beyond the border, for all that is known."""
    case = Case([0.9, 0.9, 0.9, 0.1], [True, True, False, False])
    method = Margin(0.5, side="inner", metric="cross").calibrate([case])
    assert method.margin_ == 1.0
    assert method.predict(case.score).tolist() == [True, True, False, False]


def test_statement_names_both_margins():
    def text(**parameters):
        calibration = [Case([0.9, 0.9, 0.1], [True, False, False], (2.5,))] * 9
        return Margin(0.1, **parameters).calibrate(calibration).statement()

    assert "every voxel of the predicted mask narrowed by 2.5 mm is lesion with" in text(
        side="inner"
    )
    steps_ = text(side="both", metric="cross", coverage=0.9)
    assert "at least 90% of the predicted mask eroded once by the cross is lesion and" in steps_
    assert "the predicted mask dilated once by the cross holds at least 90%" in steps_
    assert "lesion's voxels, together, with a probability of at least 90%" in steps_
    full = [Case([0.9, 0.9], [True, False])] * 9
    never = Margin(0.1, side="inner").calibrate(full)
    assert "inner mask, empty since no finite erosion is safe, is lesion" in never.statement()
    assert not never.predict([0.9, 0.9]).any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"side": "left"}, "side must be one of .* found 'left'"),
        ({"weights": (0.05, 0.05)}, "weights go with side='both', found them with 'outer'"),
        ({"side": "both", "weights": (0.05, 0.1)}, "must add up to alpha = 0.1"),
        ({"side": "both", "weights": (0.1,)}, r"expected \(alpha inner, alpha outer\)"),
    ],
)
def test_unsound_sides_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Margin(0.1, **parameters)
