"""Cases: what they accept, what they keep, and how their values are checked."""

import math

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLOATS, layouts, shapes

from confseg import Case
from confseg.case import check_values, extent

# The neighbors of 0 and 1 in every float type, both zeros, and what is no number.
EDGES = [
    value
    for dtype in FLOATS
    for one in np.ones(1, dtype)
    for value in (
        np.nextafter(one, 0),
        np.nextafter(one, 2),
        np.finfo(dtype).smallest_subnormal,
        -np.finfo(dtype).smallest_subnormal,
    )
]
values = st.sampled_from([*map(float, EDGES), 0.0, -0.0, 1.0, 0.5, -1.0, 2.0, *[0.25] * 10])


@given(st.lists(values, min_size=1, max_size=6), st.sampled_from(FLOATS), st.data())
def test_probabilities_are_what_lies_between_0_and_1(numbers, dtype, data):
    score = data.draw(layouts(np.array([numbers]).astype(dtype)))
    if all(0 <= value <= 1 for value in brute.numbers(score)):
        check_values(score, probability=True)
    else:
        with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\]"):
            check_values(score, probability=True)
    check_values(score)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("probability", [False, True])
def test_values_that_are_not_finite_are_counted(dtype, bad, probability):
    score = np.array([0.5, bad, 1.0, bad], dtype=dtype)
    with pytest.raises(ValueError, match="found 2 NaN or infinite voxels"):
        check_values(score, probability)


@given(shapes, st.sampled_from(FLOATS), st.data())
def test_extent_is_the_smallest_and_the_largest_value(shape, dtype, data):
    seed = data.draw(st.integers(0, 99))
    image = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    found = extent(data.draw(layouts(image)))
    assert found == (min(brute.numbers(image)), max(brute.numbers(image)))


def test_extent_of_an_image_that_takes_many_pieces():
    image = np.random.default_rng(0).standard_normal((3, 700, 900)).astype(np.float32)
    assert extent(image) == (image.min(), image.max())
    assert extent(image[:, ::-2, ::3]) == (image[:, ::-2, ::3].min(), image[:, ::-2, ::3].max())
    image[2, -1, -1] = np.nan
    assert all(map(math.isnan, extent(image)))


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_truths_may_be_zeros_and_ones_of_any_type(kind):
    case = Case([0.1, 0.2, 0.3], np.array([0, 1, 1], dtype=kind))
    assert case.truth.dtype == np.bool_
    assert case.truth.tolist() == [False, True, True]


def test_masks_serve_as_scores_and_integers_as_masks():
    assert Case(np.array([0, 1]), [0, 1]).score.dtype == np.bool_
    assert Case([True, False], [0, 1]).score.dtype == np.bool_


def test_arrays_are_not_copied():
    score, truth = np.zeros((3, 4), dtype=np.float16), np.ones((3, 4), dtype=bool)
    case = Case(score, truth)
    assert case.score is score
    assert case.truth is truth


def test_spacing_is_a_tuple_of_floats():
    assert Case([[0.1]], [[1]], np.array([1, 2])).spacing == (1.0, 2.0)
    assert Case([0.1], [1], 2.5).spacing == (2.5,)
    assert Case([0.1], [1]).spacing is None


def test_a_case_cannot_be_changed():
    case = Case([0.1], [True], name="scan")
    with pytest.raises(AttributeError):
        case.name = "other"
