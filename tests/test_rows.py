"""The sizes of masks with a margin, against counts of voxels one by one."""

from __future__ import annotations

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import masks, shapes

from confseg import Case, Margin
from confseg.metrics import stretch
from confseg.rows import Columns, row_of_numbers

EXACT = (0.5, 0.625, 1.0, 1.25, 2.5, 3.0)  # their squares have no rounding
MARGINS = (0.0, 0.5, 1.0, 2.0, 2.5, 30.0)


def sizes(case: Case, margins: tuple[float, ...] = MARGINS) -> dict[str, float]:
    columns = Columns(eps=(), coverages=(), fields=(), margins=margins)
    found = dict(zip(columns.names(), row_of_numbers(case, columns), strict=True))
    return {name: found[name] for name in found if name.startswith("grown")}


@st.composite
def cases(draw) -> Case:
    mask = draw(shapes.flatmap(masks))
    spacing = draw(st.none() | st.tuples(*[st.sampled_from(EXACT)] * mask.ndim))
    return Case(mask.astype(float), np.zeros_like(mask), spacing)


@given(cases())
def test_sizes_are_those_of_dilations_and_of_all_distances(case):
    found, mask = sizes(case), case.score >= 0.5
    steps = [Fraction(step) for step in case.spacing or (1,) * mask.ndim]
    squares = brute.squared_distance_to(mask, steps)
    for margin in MARGINS:
        near = sum(square <= Fraction(margin) ** 2 for square in squares)
        assert found[f"grown_mm_{margin:g}"] == near
        for metric in ("cross", "cube"):
            grown = brute.dilated(mask, metric, math.floor(margin))
            assert found[f"grown_{metric}_{margin:g}"] == grown.sum()


def test_the_border_of_the_image_cuts_off_and_thick_slices_are_farther():
    score = np.zeros((3, 9, 9))
    score[0, 0, 4] = score[2, 8, 8] = 1
    for spacing in ((3.0, 0.5, 0.5), (0.5, 3.0, 0.5)):
        case = Case(score, np.zeros(score.shape, bool), spacing)
        found = sizes(case, (1.0, 2.0, 3.0))
        for margin in (1, 2, 3):
            reach = [math.floor(margin / step) for step in spacing]
            ball = np.indices([2 * r + 1 for r in reach]).T - reach
            lengths = np.linalg.norm(ball * spacing, axis=-1).T
            grown = ndimage.binary_dilation(score > 0, lengths <= margin)
            assert found[f"grown_mm_{margin}"] == grown.sum()
            cross = ndimage.binary_dilation(score > 0, iterations=margin)
            assert found[f"grown_cross_{margin}"] == cross.sum()


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
def test_a_size_is_that_of_the_set_which_the_method_predicts(metric):
    rng = np.random.default_rng(4)
    scores = ndimage.gaussian_filter(rng.random((20, 6, 24, 24)), (0, 1, 2, 2))
    made = [Case(s, s > 0.54, (3.0, 0.7, 0.7), name=f"{i}") for i, s in enumerate(scores)]
    method = Margin(0.2, metric=metric, threshold=0.56).calibrate(made)
    columns = Columns((), (), (metric,), (), 0.56, (method.margin_,))
    assert 0 < method.margin_ < math.inf
    for case in made:
        row = dict(zip(columns.names(), row_of_numbers(case, columns), strict=True))
        mask = case.score >= 0.56
        grown = row[f"grown_{metric}_{method.margin_:.10g}"]
        region = method.predict(case.score, case.spacing)
        assert grown / row["predicted_voxels"] == stretch(region, mask)


def test_nothing_grows_to_nothing_and_a_wrong_margin_is_refused():
    case = Case(np.zeros((4, 5)), np.ones((4, 5), bool), (2.0, 1.0))
    assert set(sizes(case).values()) == {0}
    for margin, message in ((-1.0, "must not be negative"), (math.inf, "must be finite")):
        with pytest.raises(ValueError, match=message):
            Columns(margins=(margin,))
