"""Distances: steps by iterated dilation, mm bit for bit and in exact fractions."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SPACINGS, shapes, truths

from confseg.boxes import bounding_box, grow_box, outside_box, union_box
from confseg.distances import distance_to, reach

masks = shapes.flatmap(truths)
# Numbers that binary floating point holds exactly: then squared distances are exact as well.
DYADIC = (0.25, 0.5, 0.625, 0.703125, 1.0, 1.25, 2.5, 3.0, 7.0)


@given(masks, st.sampled_from(["cross", "cube"]))
def test_steps_are_counted_dilations(mask, metric):
    np.testing.assert_array_equal(distance_to(mask, None, metric), brute.steps_to(mask, metric))


@given(masks, st.data())
def test_mm_are_exact_where_floating_point_allows(mask, data):
    spacing = data.draw(st.tuples(*[st.sampled_from(DYADIC)] * mask.ndim))
    squares = brute.squared_distance_to(mask, [Fraction(step) for step in spacing])
    found = brute.numbers(distance_to(mask, spacing, "mm"))
    assert found == [math.sqrt(square) for square in squares]


@given(masks, st.data())
def test_mm_are_right_to_the_last_digit_for_any_decimal(mask, data):
    spacing = data.draw(st.tuples(*[st.sampled_from(SPACINGS)] * mask.ndim))
    squares = brute.squared_distance_to(mask, [brute.decimal(step) for step in spacing])
    found = brute.numbers(distance_to(mask, spacing, "mm"))
    assert found == pytest.approx([math.sqrt(square) for square in squares], rel=1e-15)


@given(masks)
def test_without_spacing_voxels_are_counted(mask):
    in_mm = distance_to(mask, (1.0,) * mask.ndim, "mm")
    np.testing.assert_array_equal(distance_to(mask, None, "mm"), in_mm)


@given(masks, st.data())
def test_a_box_that_holds_the_mask_gives_the_same_bits(mask, data):
    """Rule 4 of exactness: the surroundings of the mask do not change a distance."""
    spacing = data.draw(st.tuples(*[st.sampled_from(SPACINGS)] * mask.ndim))
    around = [data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5))) for _ in range(mask.ndim)]
    core = tuple(slice(low, low + side) for (low, _), side in zip(around, mask.shape, strict=True))
    for metric in ("mm", "cross", "cube"):
        whole = distance_to(np.pad(mask, around), spacing, metric)
        np.testing.assert_array_equal(whole[core], distance_to(mask, spacing, metric))


@given(masks)
def test_bounding_box_is_the_smallest(mask):
    box = bounding_box(mask)
    if box is None:
        assert not mask.any()
        return
    assert mask[box].sum() == mask.sum()
    for axis in range(mask.ndim):
        ends = np.take(mask[box], [0, -1], axis=axis)
        assert ends.any(axis=tuple(a for a in range(mask.ndim) if a != axis)).all()


@given(masks)
def test_what_is_around_a_box_is_visited_once(mask):
    box, visits = bounding_box(mask), np.zeros(mask.shape, dtype=int)
    if box is None:
        return
    parts = [box, *outside_box(box, mask.shape)]
    for part in parts:
        visits[part] += 1
    assert (visits == 1).all()
    assert len(parts) <= 1 + 2 * mask.ndim


def test_boxes_join_and_grow_within_the_image():
    a, b = (slice(2, 3), slice(5, 9)), (slice(1, 2), slice(6, 7))
    assert union_box(a, b) == (slice(1, 3), slice(5, 9))
    assert union_box(a, None) == union_box(None, a) == a
    assert union_box(None, None) is None
    assert grow_box(a, [1.2, 0.0], (4, 9)) == (slice(0, 4), slice(5, 9))


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
def test_reach_is_wide_enough(metric):
    """Every voxel within a distance lies within the reach along each axis."""
    spacing, voxel = (0.3, 2.0), np.zeros((41, 41), dtype=bool)
    voxel[20, 20] = True
    distances = distance_to(voxel, spacing, metric)
    for distance in np.unique(distances):
        far = [math.ceil(side) for side in reach(distance, spacing, metric, 2)]
        hits = np.argwhere(distances <= distance) - 20
        assert (np.abs(hits).max(axis=0) <= far).all()
