"""Fields: their values, their level sets, and the part of the image that decides."""

import math
from dataclasses import replace

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special
from strategies import FLOATS, cases, images, scores, shapes

from confseg import fields
from confseg.fields import Distance, as_field, field_from_dict, field_on

METRICS = ("mm", "cross", "cube")


def rank_filter(score, spacing):
    """An own field: a 3-voxel median, with a pinch of the spacing."""
    wide = score.astype(np.float64)
    return ndimage.median_filter(wide, size=3) * (1 if spacing is None else spacing[0])


def whole_image(field, case):
    """The field of a case by definition, on the whole image, with nothing but NumPy and SciPy."""
    score = np.ascontiguousarray(case.score)
    native = score.astype(score.dtype.newbyteorder("="))
    if score.dtype == bool or score.dtype.itemsize < 4:
        native = native.astype(np.float32)
    if field is fields.identity:
        return score
    if field is fields.logit:
        return special.logit(native)
    if isinstance(field, fields.Smooth):
        steps = np.ones(score.ndim) if case.spacing is None else np.array(case.spacing)
        sigma = field.fwhm_mm / math.sqrt(8 * math.log(2)) / steps
        return ndimage.gaussian_filter(native, sigma, mode="nearest")
    if isinstance(field, Distance):
        mask = score if score.dtype == bool else score >= field.threshold
        if field.signed:
            return brute.signed_distance(mask, case.spacing, field.metric)
        return -brute.distance_to(mask, case.spacing, field.metric)
    if isinstance(field, fields.Depth):
        mask = score if score.dtype == bool else score >= field.threshold
        return brute.distance_to(~mask, case.spacing, field.metric)
    return rank_filter(score, case.spacing)


distance_fields = st.builds(
    fields.signed_distance, st.sampled_from([0.5, 0.3, 0.9]), st.sampled_from(METRICS)
)
public_fields = st.one_of(
    st.sampled_from([fields.identity, fields.logit, as_field(rank_filter)]),
    st.floats(0.3, 4.0).map(fields.smooth),
    distance_fields,
    distance_fields,
)
# What margins use: minus the distance, 0 inside the mask, and the depth, 0 outside.
margin_fields = distance_fields.map(lambda field: replace(field, signed=False)) | (
    distance_fields.map(lambda field: fields.Depth(field.threshold, field.metric))
)
any_field = public_fields | margin_fields


@given(cases(empty=True, spaced=True), any_field)
def test_values_over_the_whole_image(case, field):
    found, expected = field(case.score, case.spacing), whole_image(field, case)
    if isinstance(field, fields.Smooth):  # a rounded width may shift the last digit
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    else:
        np.testing.assert_array_equal(found, expected)


@given(cases(empty=True, spaced=True), any_field, st.booleans(), st.data())
def test_level_sets_are_comparisons_on_the_whole_image(case, field, strict, data):
    values = field(case.score, case.spacing)
    cutoff = data.draw(
        st.one_of(st.sampled_from(brute.candidates(values)), st.floats(-4, 4)), label="cutoff"
    )
    region = field.level_set(case.score, case.spacing, cutoff, strict)
    assert region.dtype == np.bool_
    np.testing.assert_array_equal(region, brute.above(values, cutoff, strict))


@given(cases(empty=True, spaced=True), any_field)
def test_the_deciding_part_has_the_same_values_and_the_same_extremes(case, field):
    whole = field(case.score, case.spacing)
    box = field.support(case.score, case.truth)
    part, truth = field_on(field, case.score, case.truth, case.spacing)
    np.testing.assert_array_equal(part, whole[box])
    assert brute.inner_cutoff(part, truth) == brute.inner_cutoff(whole, case.truth)
    assert brute.outer_cutoff(part, truth) == brute.outer_cutoff(whole, case.truth)
    assert truth.sum() == case.truth.sum()


@given(shapes.flatmap(scores), st.sampled_from(FLOATS), st.floats(0, 1), st.booleans())
def test_a_cutoff_is_not_rounded_to_the_precision_of_the_image(score, other, cutoff, strict):
    """Numbers are compared as the real numbers they are, whatever the types."""
    narrow = score.astype(other)
    region = fields.identity.level_set(narrow, None, cutoff, strict)
    np.testing.assert_array_equal(region, brute.above(narrow, cutoff, strict))


def test_logit_is_the_log_odds():
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    expected = [-math.inf, math.log(1 / 9), 0.0, math.log(9), math.inf]
    np.testing.assert_allclose(fields.logit(p), expected, rtol=1e-14)
    np.testing.assert_array_equal(fields.logit(np.array([True, False])), [math.inf, -math.inf])


def test_smooth_is_a_gaussian_of_the_given_width_in_mm():
    """An impulse turns into a bell whose value has halved fwhm/2 from its center."""
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1.0
    bell = fields.smooth(fwhm_mm=4.0)(impulse, (0.5, 1.0))
    assert bell.sum() == pytest.approx(1.0)
    assert bell[24, 20] / bell[20, 20] == pytest.approx(0.5, rel=0.01)
    assert bell[20, 22] / bell[20, 20] == pytest.approx(0.5, rel=0.01)


def test_smooth_counts_voxels_without_spacing():
    image = np.random.default_rng(0).random((9, 9))
    np.testing.assert_array_equal(
        fields.smooth(2.0)(image, None), fields.smooth(2.0)(image, (1.0, 1.0))
    )


def test_signed_distance_jumps_across_the_contour():
    field = fields.signed_distance(threshold=0.5, metric="cross")
    found = field(np.array([0.1, 0.5, 0.9, 0.9, 0.2, 0.3]))
    np.testing.assert_array_equal(found, [-1, 1, 2, 1, -1, -2])


@pytest.mark.parametrize("metric", METRICS)
def test_signed_distance_without_a_mask_or_with_nothing_else(metric):
    field = fields.signed_distance(metric=metric)
    np.testing.assert_array_equal(field(np.zeros((2, 3))), np.full((2, 3), -math.inf))
    np.testing.assert_array_equal(field(np.ones((2, 3))), np.full((2, 3), math.inf))


def test_which_fields_measure_mm():
    in_mm = [fields.smooth(1.0), fields.signed_distance(), Distance(signed=False), fields.Depth()]
    others = [fields.identity, fields.logit, fields.signed_distance(metric="cube")]
    assert all(field.in_mm for field in in_mm)
    assert not any(field.in_mm for field in others)


@given(st.one_of(st.just(fields.identity), st.just(fields.logit), distance_fields, margin_fields))
def test_fields_survive_a_round_trip_through_json_types(field):
    assert field_from_dict(field.to_dict()) == field


def test_numpy_parameters_become_plain_numbers():
    field = fields.smooth(np.float32(2.5))
    assert field == fields.smooth(2.5)
    assert type(field.fwhm_mm) is float
    assert type(fields.signed_distance(np.float32(0.25)).threshold) is float


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fields.smooth(0.0), "fwhm_mm must be positive, found 0.0"),
        (lambda: fields.smooth(-1), "fwhm_mm must be positive, found -1"),
        (lambda: fields.smooth(math.inf), "fwhm_mm must be finite, found inf"),
        (lambda: fields.smooth("wide"), "fwhm_mm must be a number, found 'wide'"),
        (lambda: fields.signed_distance(math.nan), "threshold must be finite, found nan"),
        (lambda: fields.signed_distance(metric="miles"), "metric must be one of .* found 'miles'"),
        (lambda: field_from_dict({"name": "aura"}), "unknown field 'aura', expected one of"),
    ],
)
def test_unsound_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_not_callable_is_no_field():
    with pytest.raises(TypeError, match=r"a field is a callable field\(score, spacing\), found 3"):
        as_field(3)


@given(shapes.flatmap(images))
def test_fields_leave_the_score_alone(score):
    before = score.copy()
    for field in (fields.identity, fields.logit, fields.smooth(1.0), fields.signed_distance()):
        field(score, None)
    np.testing.assert_array_equal(score, before)


def test_the_base_class_computes_nothing():
    with pytest.raises(NotImplementedError):
        fields.Field()(np.zeros(3))
