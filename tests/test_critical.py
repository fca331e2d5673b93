"""Critical values against a brute force over all distinct cut-offs."""

import math

import brute
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import fields, tolerances

from confseg import inner_cutoff, outer_cutoff

rates = st.sampled_from(["fpr", "fdp"])


@given(fields(), tolerances)
def test_outer_cutoff_equals_brute_force(case, miss):
    field, truth = case
    cutoff = outer_cutoff(field, truth, miss)
    assert type(cutoff) is float
    assert cutoff == brute.outer_cutoff(field, truth, miss)


@given(fields())
def test_inner_cutoff_equals_brute_force(case):
    field, truth = case
    cutoff = inner_cutoff(field, truth)
    assert type(cutoff) is float
    assert cutoff == brute.inner_cutoff(field, truth)


@given(fields(), tolerances, rates)
def test_inner_cutoff_with_a_tolerance_equals_brute_force(case, false, rate):
    field, truth = case
    cutoff = inner_cutoff(field, truth, false, rate)
    assert type(cutoff) is float
    assert cutoff == brute.inner_cutoff(field, truth, false, rate)


@given(fields(), tolerances, rates)
def test_more_tolerance_never_needs_a_stricter_cutoff(case, false, rate):
    field, truth = case
    assert inner_cutoff(field, truth, false, rate) <= inner_cutoff(field, truth)
    assert inner_cutoff(field, truth, 0.0, rate) == inner_cutoff(field, truth)


@given(fields(), tolerances)
def test_the_false_positive_rate_is_the_miss_rate_of_the_complement(case, false):
    field, truth = case
    assert inner_cutoff(field, truth, false) == -outer_cutoff(-field, ~truth, false)


@given(fields(), tolerances)
def test_outer_cutoff_keeps_the_promise_and_the_next_one_breaks_it(case, miss):
    field, truth = case
    cutoff, limit = outer_cutoff(field, truth, miss), brute.allowed(miss, truth)
    assert brute.missed(field, truth, cutoff) <= limit
    assume(cutoff < math.inf)
    larger = next(value for value in brute.candidates(field) if value > cutoff)
    assert limit < brute.missed(field, truth, larger)
    assert limit < brute.missed(field, truth, np.nextafter(cutoff, math.inf))


@given(fields())
def test_inner_cutoff_keeps_the_promise_and_the_next_one_breaks_it(case):
    field, truth = case
    cutoff = inner_cutoff(field, truth)
    assert brute.overcalled(field, truth, cutoff) == 0
    assume(cutoff > -math.inf)
    assert brute.overcalled(field, truth, np.nextafter(cutoff, -math.inf)) > 0


@given(fields(), tolerances)
def test_inner_and_outer_mirror_each_other(case, miss):
    """The largest background value is minus the smallest of minus the field over it."""
    field, truth = case
    assert inner_cutoff(field, truth) == -outer_cutoff(-field, ~truth)
    assert outer_cutoff(field, truth, miss) >= outer_cutoff(field, truth)


@given(fields(), tolerances)
def test_arrays_are_left_alone_and_lists_serve_as_well(case, miss):
    field, truth = case
    copies = field.copy(), truth.copy()
    from_lists = outer_cutoff(field.tolist(), truth.astype(int).tolist(), miss)
    assert from_lists == outer_cutoff(field, truth, miss)
    np.testing.assert_array_equal(field, copies[0])
    np.testing.assert_array_equal(truth, copies[1])


@pytest.mark.parametrize("voxels", range(1, 41))
@pytest.mark.parametrize("tenths", range(10))
def test_tolerated_count_of_every_small_lesion_is_exact(voxels, tenths):
    """The lesion's values are their ranks, so the cut-off reads off the tolerated count."""
    field, truth = np.arange(voxels, dtype=float), np.ones(voxels, dtype=bool)
    assert outer_cutoff(field, truth, tenths / 10) == tenths * voxels // 10


def test_numpy_numbers_mean_the_decimal_they_print():
    field, truth = np.arange(10.0), np.ones(10, dtype=bool)
    assert outer_cutoff(field, truth, np.float32(0.7)) == 7
    assert outer_cutoff(field, truth, np.float16(0.3)) == 3


def test_empty_and_full_truths():
    field = np.array([[0.2, 0.7], [0.4, 0.1]])
    nothing, everything = np.zeros((2, 2), dtype=bool), np.ones((2, 2), dtype=bool)
    assert outer_cutoff(field, nothing, 0.5) == math.inf
    assert inner_cutoff(field, nothing) == 0.7
    assert inner_cutoff(field, everything) == -math.inf
    assert outer_cutoff(field, everything) == 0.1


def test_the_false_discovery_proportion_is_not_monotone():
    """A region may get purer as it grows; every stricter one counts as well."""
    field = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    truth = np.array([False, True, True, True, False])
    assert [brute.too_false(field, truth, c, 0.3, "fdp") for c in (4.5, 1.5)] == [True, False]
    assert inner_cutoff(field, truth, 0.3, "fdp") == 5.0


@pytest.mark.parametrize("rate", ["fpr", "fdp"])
def test_empty_and_full_truths_with_a_tolerance(rate):
    field = np.array([[0.2, 0.7], [0.4, np.inf]])
    nothing, everything = np.zeros((2, 2), dtype=bool), np.ones((2, 2), dtype=bool)
    assert inner_cutoff(field, everything, 0.5, rate) == -math.inf
    assert inner_cutoff(field, nothing, 0.5, rate) == (0.4 if rate == "fpr" else math.inf)


@pytest.mark.parametrize("voxels", range(1, 41))
@pytest.mark.parametrize("false", [0.1, 0.3, 0.7, 0.29, 1 / 3])
def test_tolerated_false_voxels_are_counted_exactly(voxels, false):
    """All lesion voxels come first, so the cut-off reads off how many false ones may follow."""
    total = voxels + 150
    field, truth = np.arange(total, 0.0, -1.0), np.arange(total) < voxels
    most = math.floor(brute.decimal(false) * 150)
    assert inner_cutoff(field, truth, false, "fpr") == 150 - most
    share = brute.decimal(false)
    most = max(f for f in range(151) if f <= share * (voxels + f))
    assert inner_cutoff(field, truth, false, "fdp") == 150 - most


def test_shares_with_many_decimals_and_many_voxels_are_compared_without_rounding():
    """A third of three million voxels, typed with sixteen digits, is a voxel short of it."""
    field = np.arange(3_000_000, 0, -1)
    truth = field > 1_000_000
    assert inner_cutoff(field, truth, 1 / 3, "fdp") == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool])
def test_fields_may_be_integers_or_masks(dtype):
    field, truth = np.array([0, 1, 1, 0], dtype=dtype), [0, 1, 0, 0]
    assert outer_cutoff(field, truth) == 1.0
    assert inner_cutoff(field, truth) == 1.0


@pytest.mark.parametrize("cutoff", [outer_cutoff, inner_cutoff])
@pytest.mark.parametrize(
    ("field", "truth", "message"),
    [
        ([0.1, 0.2], [[True, False]], r"field has shape \(2,\) but the truth \(1, 2\)"),
        ([0.1, math.nan, math.nan], [True, False, True], "the field holds 2 NaN"),
        ([0.1, 0.2], [0, 2], "truth must hold only 0 and 1, found 2"),
        ([0.1, 0.2], [0.5, 1.0], "truth must hold only 0 and 1, found 0.5"),
        ([0.1, 0.2], [math.nan, 1.0], "truth must hold only 0 and 1, found nan"),
        ([0.1, 0.2], ["a", "b"], "truth must hold only 0 and 1, found dtype"),
        (0.1, True, r"must be an image, found an array of shape \(\)"),
        ([], [], r"must be an image, found an array of shape \(0,\)"),
        ([1j, 2j], [True, False], "complex128"),
        (np.array([0.1, 0.2], dtype=np.longdouble), [True, False], "longdouble|float128"),
    ],
)
def test_unsound_arrays_are_refused(cutoff, field, truth, message):
    with pytest.raises(ValueError, match=message):
        cutoff(field, truth)


@pytest.mark.parametrize("miss", [-0.1, 1.0, 1.5, math.nan, "half"])
def test_tolerance_out_of_range_is_refused(miss):
    with pytest.raises(ValueError, match="tolerated miss fraction must"):
        outer_cutoff([0.1], [True], miss)
    with pytest.raises(ValueError, match="tolerated share of false voxels must"):
        inner_cutoff([0.1], [True], miss)


def test_an_unknown_rate_is_refused():
    with pytest.raises(ValueError, match="rate must be one of .* found 'fnr'"):
        inner_cutoff([0.1], [True], 0.1, "fnr")
