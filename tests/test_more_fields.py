"""Boxes, cumulative mass, contours between voxels, combinations and scales, against brute force."""

import itertools
import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import SPACINGS, cases, masks, scores, shapes
from test_fields import rank_filter

from confseg import Case, ConfidenceSets, fields, phantoms
from confseg.fields import Learned, Scaled, field_from_dict, field_on, is_own
from confseg.fields.rectangles import components, largest_box

thresholds = st.sampled_from([0.5, 0.3, 0.9])
box_fields = st.builds(fields.boxes, thresholds, st.sampled_from(["outer", "inner"]))
contours = thresholds.map(fields.contour_distance)
scales = st.builds(
    lambda of, knots, levels: Scaled(of, tuple(sorted(knots)), tuple(sorted(levels))),
    st.sampled_from([fields.identity, fields.signed_distance(), fields.boxes(), fields.Depth()]),
    st.sets(st.integers(-8, 8), min_size=3, max_size=3),
    st.sets(st.integers(0, 8), min_size=3, max_size=3),
)
simple = st.one_of(
    box_fields,
    st.just(fields.cumulative_mass),
    scales,
    st.builds(fields.smooth, st.floats(0.3, 4.0), st.just(fields.cumulative_mass)),
)
combinations = st.builds(
    lambda how, a, b: fields.combine(fields.identity, a, b, weights=(1, 0.5, 2), how=how),
    st.sampled_from(["maximum", "minimum"]),
    simple,
    simple,
)
anywhere = simple | combinations | simple.map(lambda field: Learned(field, ("0123",)))


@st.composite
def cases_with_fields(draw):
    case = draw(cases(empty=True, spaced=True))
    return case, draw(anywhere | contours if case.score.ndim in (2, 3) else anywhere)


@given(cases_with_fields(), st.booleans(), st.data())
def test_level_sets_are_comparisons_on_the_whole_image(drawn, strict, data):
    case, field = drawn
    values = field(case.score, case.spacing)
    cutoff = data.draw(
        st.one_of(st.sampled_from(brute.candidates(values)), st.floats(-4, 4)), label="cutoff"
    )
    region = field.level_set(case.score, case.spacing, cutoff, strict)
    assert region.dtype == np.bool_
    np.testing.assert_array_equal(region, brute.above(values, cutoff, strict))


@given(cases_with_fields())
def test_the_deciding_part_has_the_same_values_and_the_same_extremes(drawn):
    """To the last bit: the voxel on which the promise hangs is at its edge."""
    case, field = drawn
    whole = field(case.score, case.spacing)
    box = field.support(case.score, case.truth)
    part, truth = field_on(field, case.score, case.truth, case.spacing)
    np.testing.assert_array_equal(part, whole[box])
    assert brute.inner_cutoff(part, truth) == brute.inner_cutoff(whole, case.truth)
    assert brute.outer_cutoff(part, truth) == brute.outer_cutoff(whole, case.truth)


@given(cases_with_fields())
def test_bounds_of_the_values(drawn):
    case, field = drawn
    values = field(case.score, case.spacing)
    assert field.smallest <= values.min() <= values.max() <= field.largest
    if field.smallest > -math.inf:
        values[field.support(case.score, case.truth)] = field.smallest
        assert (values == field.smallest).all()


@given(anywhere | contours | st.just(fields.combine(fields.logit, how="sum")))
def test_fields_survive_a_round_trip_through_json_types(field):
    assert field_from_dict(field.to_dict()) == field


# --- boxes ---


def flooded(mask):
    """Components by face neighbors, as lists of voxels, by flooding."""
    left, found = {tuple(v) for v in np.argwhere(mask)}, []
    while left:
        front, component = [left.pop()], []
        while front:
            voxel = front.pop()
            component.append(voxel)
            for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
                other = (*voxel[:axis], voxel[axis] + step, *voxel[axis + 1 :])
                if other in left:
                    left.remove(other)
                    front.append(other)
        found.append(component)
    return found


def most_voxels(mask):
    """Voxels of the largest box that holds nothing but True, trying every box."""
    sides = [list(itertools.combinations(range(n + 1), 2)) for n in mask.shape]
    boxes = (tuple(itertools.starmap(slice, box)) for box in itertools.product(*sides))
    return max((mask[box].size for box in boxes if mask[box].all()), default=0)


def around(voxels):
    """The smallest box that holds the voxels."""
    return tuple(slice(min(side), max(side) + 1) for side in zip(*voxels, strict=True))


@given(shapes.flatmap(scores), thresholds)
def test_outer_boxes_hold_the_components(score, threshold):
    union = np.zeros(score.shape, dtype=bool)
    mask = score if score.dtype == bool else score >= threshold
    for component in flooded(mask):
        union[around(component)] = True
    field = fields.boxes(threshold)
    np.testing.assert_array_equal(field.boxes(score), union)
    np.testing.assert_array_equal(field(score), brute.signed_distance(union, None, "cube"))


@given(shapes.flatmap(scores), thresholds)
def test_inner_boxes_are_the_largest_within_the_components(score, threshold):
    field = fields.boxes(threshold, "inner")
    union = field.boxes(score)
    mask = score if score.dtype == bool else score >= threshold
    assert not (union & ~mask).any()
    for component in flooded(mask):
        only = np.zeros(score.shape, dtype=bool)
        only[tuple(np.transpose(component))] = True
        part = union & only
        assert part[around(np.argwhere(part))].all()
        assert part.sum() == most_voxels(only)
    np.testing.assert_array_equal(field(score), brute.signed_distance(union, None, "cube"))


@given(shapes.flatmap(masks))
def test_largest_box(mask):
    assume(mask.any())
    box = largest_box(mask)
    assert mask[box].all()
    assert mask[box].size == most_voxels(mask)


def test_components_that_meet_at_a_corner_are_two():
    found = dict(enumerate(components(np.eye(2, dtype=bool))))
    assert [box for box, _ in found.values()] == [(slice(0, 1),) * 2, (slice(1, 2),) * 2]
    ring = np.ones((3, 5), dtype=bool)
    ring[1, 1:4] = False
    assert fields.boxes()(ring.astype(float)).min() == math.inf
    assert fields.boxes(kind="inner").boxes(ring)[0].all()


@pytest.mark.parametrize("kind", ["outer", "inner"])
def test_boxes_without_a_mask_or_with_nothing_else(kind):
    field = fields.boxes(kind=kind)
    np.testing.assert_array_equal(field(np.zeros((2, 3))), np.full((2, 3), -math.inf))
    np.testing.assert_array_equal(field(np.ones((2, 3))), np.full((2, 3), math.inf))
    assert not field.in_mm


def test_the_largest_box_of_a_large_ball():
    """A volume of many candidates; the largest box in a ball shares its center."""
    grid = np.indices((41, 41, 41)) - 20
    ball = (grid**2).sum(axis=0) <= 18.5**2
    box = largest_box(ball)
    assert ball[box].all()
    halves = [h for h in itertools.product(range(20), repeat=3) if math.hypot(*h) <= 18.5]
    assert ball[box].size == max(math.prod(2 * h + 1 for h in half) for half in halves)


# --- cumulative mass ---


@given(shapes.flatmap(scores))
def test_cumulative_mass_is_one_minus_the_share_above(score):
    found = brute.numbers(fields.cumulative_mass(score))
    p = [Fraction(value) for value in brute.numbers(score)]
    total = sum(p)
    for value, mine in zip(p, found, strict=True):
        expected = 1 - sum(q for q in p if q > value) / total if total else 0
        assert math.isclose(mine, expected, rel_tol=1e-11, abs_tol=1e-300)


@given(shapes.flatmap(scores))
def test_cumulative_mass_keeps_order_and_ties(score):
    pairs = sorted(
        zip(brute.numbers(score), brute.numbers(fields.cumulative_mass(score)), strict=True)
    )
    for (p, one), (q, other) in itertools.pairwise(pairs):
        assert one <= other
        assert one == other or p < q


def test_cumulative_mass_by_hand():
    field = fields.cumulative_mass
    np.testing.assert_allclose(field(np.array([0.5, 0.25, 0.25, 0.0])), [1, 0.5, 0.5, 0])
    np.testing.assert_array_equal(field(np.zeros((2, 2))), np.zeros((2, 2)))
    np.testing.assert_array_equal(field(np.array([True, False])), [1, 0])


def test_cumulative_mass_needs_probabilities():
    with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\], found"):
        fields.cumulative_mass(np.array([0.5, 1.5]))


# --- contours between voxels ---


def segments(score, threshold):
    """The contour of a 2-D image by marching squares, cell by cell; (row, column) pairs."""
    score = np.asarray(score, dtype=np.float64)
    inside = score >= threshold
    found = []
    for r, c in itertools.product(range(score.shape[0] - 1), range(score.shape[1] - 1)):
        corners = [(r, c), (r, c + 1), (r + 1, c + 1), (r + 1, c)]
        crossed = {}
        for edge in range(4):
            a, b = corners[edge], corners[(edge + 1) % 4]
            if inside[a] != inside[b]:
                share = (threshold - score[a]) / (score[b] - score[a])
                crossed[edge] = np.array(a) + share * (np.array(b) - np.array(a))
        if len(crossed) == 2:
            found.append(tuple(crossed.values()))
        if len(crossed) == 4:  # each corner inside is cut off from the other
            for k in range(4):
                if inside[corners[k]]:
                    found.append((crossed[k], crossed[(k - 1) % 4]))
    return found


def distance_to_segment(point, a, b):
    along = b - a
    length = along @ along
    t = 0.0 if length == 0 else min(1.0, max(0.0, (point - a) @ along / length))
    return math.dist(point, a + t * along)


def contour_by_hand(score, threshold, spacing):
    steps = np.array(spacing)
    lines = [(a * steps, b * steps) for a, b in segments(score, threshold)]
    result = np.zeros(score.shape)
    for voxel in np.ndindex(score.shape):
        near = min(distance_to_segment(np.array(voxel) * steps, a, b) for a, b in lines)
        result[voxel] = near if score[voxel] >= threshold else -near
    return result


@pytest.mark.parametrize("seed", range(8))
def test_contour_distance_in_two_dimensions(seed):
    """Noise, with cells of every kind; a bool mask has its contour halfway."""
    rng = np.random.default_rng(seed)
    score, spacing = rng.random((6, 8)), tuple(rng.choice(SPACINGS, 2).tolist())
    for image, threshold in ((score, 0.5), (score, 0.3), (score > 0.5, 0.5)):
        found = fields.contour_distance(threshold)(image, spacing)
        expected = contour_by_hand(image.astype(float), threshold, spacing)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_contour_distance_of_a_plane_in_three_dimensions():
    """A score that rises along one axis crosses the threshold in a plane."""
    for axis in range(3):
        ramp = np.moveaxis(np.broadcast_to(np.linspace(0, 1, 9), (5, 4, 9)), -1, axis)
        steps = [0.7, 1.5, 2.0]
        found = fields.contour_distance(0.3)(ramp, steps)
        expected = (np.indices(ramp.shape)[axis] - 0.3 * 8) * steps[axis]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_contour_distance_of_a_cylinder_is_that_of_its_cross_section():
    for case in phantoms.cases(5, phantoms.Lesions((20, 22), (4, 6)), seed=3):
        flat = fields.contour_distance()(case.score, (1.5, 0.5))
        deep = fields.contour_distance()(np.stack([case.score] * 3), (2.0, 1.5, 0.5))
        thin = fields.contour_distance()(case.score[np.newaxis], (2.0, 1.5, 0.5))
        np.testing.assert_allclose(deep, np.stack([flat] * 3), atol=1e-5)
        np.testing.assert_allclose(thin[0], flat, atol=1e-5)


def test_contour_distance_is_nearly_that_to_a_ball():
    radius = np.sqrt(((np.indices((25, 25, 25)) - 12.2) ** 2).sum(axis=0))
    found = fields.contour_distance(0.0)(8.0 - radius)
    np.testing.assert_allclose(found, 8.0 - radius, atol=0.1)


def test_a_voxel_right_at_the_threshold_is_inside():
    """Marching squares alone would find no contour around it."""
    for shape in ((3, 3), (3, 3, 3), (1, 3)):
        score = np.zeros(shape)
        center = tuple(n // 2 for n in shape)
        score[center] = 0.5
        found = fields.contour_distance(0.5)(score)
        assert found[center] >= 0
        assert found[(*center[:-1], 0)] == pytest.approx(-1, abs=1e-6)


def test_contour_distance_without_a_mask_or_with_nothing_else():
    field = fields.contour_distance()
    np.testing.assert_array_equal(field(np.zeros((2, 3))), np.full((2, 3), -math.inf))
    np.testing.assert_array_equal(field(np.ones((2, 3))), np.full((2, 3), math.inf))
    assert field.in_mm


@pytest.mark.parametrize("shape", [(5,), (2, 2, 2, 2)])
def test_contours_need_two_or_three_axes(shape):
    with pytest.raises(ValueError, match=f"needs 2 or 3 axes, found {len(shape)}; signed_dist"):
        fields.contour_distance()(np.zeros(shape))


# --- combinations, smoothing of fields, scales ---


@given(shapes.flatmap(scores))
def test_combinations(score):
    parts = [fields.cumulative_mass(score), score.astype(float)]
    of, weights = (fields.cumulative_mass, fields.identity), (0.5, 2.0)
    rules = {"sum": np.add, "maximum": np.maximum, "minimum": np.minimum}
    for how, rule in rules.items():
        found = fields.combine(*of, weights=weights, how=how)(score)
        np.testing.assert_array_equal(found, rule(0.5 * parts[0], 2.0 * parts[1]))
    np.testing.assert_array_equal(fields.combine(*of)(score), parts[0] + parts[1])


def test_infinities_of_both_signs_have_no_sum():
    field = fields.combine(fields.logit, fields.signed_distance(threshold=0.0))
    with pytest.raises(ValueError, match="is NaN at 1 voxels"):
        ConfidenceSets(0.5, inner=field).calibrate([Case([[1.0, 0.0]], [[True, False]])])
    found = fields.combine(fields.logit, fields.signed_distance(), how="minimum")
    assert found(np.ones((1, 2))).max() == math.inf


def test_a_combination_measures_mm_if_one_of_its_parts_does():
    assert fields.combine(fields.logit, fields.smooth(1.0)).in_mm
    assert not fields.combine(fields.logit, fields.boxes()).in_mm
    assert Scaled(fields.signed_distance(), (0,), (0,)).in_mm
    assert Learned(fields.signed_distance(), ()).in_mm


def test_smoothing_of_another_field():
    score = np.random.default_rng(0).uniform(0.1, 0.9, (9, 9))
    np.testing.assert_array_equal(
        fields.smooth(2.0, of=fields.logit)(score), fields.smooth(2.0)(fields.logit(score))
    )


def test_a_scale_is_piecewise_linear():
    scale = Scaled(fields.identity, (0.0, 1.0, 3.0), (0.0, 0.5, 0.6))
    found = scale.scale([-10, 0, 0.5, 1, 2, 3, 13])
    np.testing.assert_allclose(found, [-2, 0, 0.25, 0.5, 0.55, 0.6, 2.6])
    assert scale.scale([-math.inf, math.inf]).tolist() == [-math.inf, math.inf]
    assert Scaled(fields.identity, (2.0,), (0.5,)).scale(3.0) == 1.5
    assert Scaled(fields.Distance(signed=False), (-1, 0), (0.2, 0.9)).largest == 0.9


finite = st.floats(-100, 100)


@given(
    st.sets(finite, min_size=1, max_size=9),
    st.sets(finite, min_size=9, max_size=9),
    st.lists(finite),
)
def test_a_scale_never_decreases(knots, levels, values):
    try:
        scale = Scaled(fields.identity, tuple(sorted(knots)), tuple(sorted(levels))[: len(knots)])
    except ValueError:
        assume(False)
    everything = np.sort([*values, *knots, *np.nextafter(list(knots), -math.inf)])
    assert (np.diff(scale.scale(everything)) >= 0).all()
    assert scale.scale(sorted(knots)).tolist() == sorted(levels)[: len(knots)]


# --- own functions, and what is refused ---


def test_own_functions_inside_other_fields_have_to_be_handed_over():
    spaced = list(phantoms.cases(12, phantoms.Lesions((12, 12), (2, 3), spacing=(1, 1)), seed=1))
    own = fields.combine(fields.logit, fields.smooth(2.0, of=rank_filter), how="maximum")
    assert is_own(own.to_dict())
    assert not is_own(fields.smooth(2.0).to_dict())
    text = ConfidenceSets(0.1, inner=own).calibrate(spaced).to_json()
    with pytest.raises(ValueError, match="your own field 'rank_filter', which JSON cannot hold"):
        ConfidenceSets.from_json(text)
    assert ConfidenceSets.from_json(text, inner=own).to_json() == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fields.boxes(kind="middle"), "kind must be one of .* found 'middle'"),
        (lambda: fields.boxes(math.nan), "threshold must be finite, found nan"),
        (lambda: fields.contour_distance("x"), "threshold must be a number, found 'x'"),
        (lambda: fields.combine(), "found 0 fields, 0 weights"),
        (lambda: fields.combine(fields.logit, weights=(1, 2)), "found 1 fields, 2 weights"),
        (lambda: fields.combine(fields.logit, weights=(0,)), "weights must be positive, found"),
        (lambda: fields.combine(fields.logit, how="mean"), "how must be one of .* found 'mean'"),
        (lambda: Scaled(fields.logit, (), ()), "found 0 knots, 0 levels"),
        (lambda: Scaled(fields.logit, (0, 1), (0,)), "found 2 knots, 1 levels"),
        (lambda: Scaled(fields.logit, (0, 0), (0, 1)), "knots must be finite and increase"),
        (lambda: Scaled(fields.logit, (0, 1), (0, math.inf)), "levels must be finite and incre"),
        (lambda: Scaled(fields.logit, (0, 1), (0, 5e-324)), None),
        (lambda: Scaled(fields.logit, (0, 4), (0, 5e-324)), "too close together, or too far"),
    ],
)
def test_unsound_parameters_are_refused(make, message):
    if message is None:
        make()
        return
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_not_callable_is_no_part_of_a_field():
    with pytest.raises(TypeError, match="a field is a callable"):
        fields.combine(3)
    with pytest.raises(TypeError, match="a field is a callable"):
        fields.smooth(1.0, of=3)
