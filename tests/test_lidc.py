"""How the outlines of LIDC-IDRI are read: chains of pixels, masks, groups, counts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lidc_database import square, write_database
from matplotlib.path import Path as Polygon
from scipy import ndimage

from confseg.datasets import lidc_counts, lidc_nodules
from confseg.metrics import dice
from data_download.contours import closed_chain, fill
from data_download.lidc import Annotation, Contour, Scan, build, draw_nodule, group_annotations

# --- Chains of pixels -------------------------------------------------------------------------


@st.composite
def walks(draw: st.DrawFn) -> np.ndarray:
    """Any closed walk on the grid by steps to the eight neighbors; it may cross itself."""
    step = st.tuples(st.integers(-1, 1), st.integers(-1, 1))
    steps = draw(st.lists(step, min_size=1, max_size=60))
    return closed_chain(np.cumsum([(0, 0), *steps], axis=0))


@given(walks())
def test_fill_agrees_with_matplotlib_on_any_closed_walk(chain):
    inside, outline, corner = fill(chain)
    rows, columns = np.indices(inside.shape)
    pixels = np.column_stack([columns.ravel() + corner[1], rows.ravel() + corner[0]])
    expected = Polygon(chain, closed=True).contains_points(pixels).reshape(inside.shape)
    np.testing.assert_array_equal(inside, expected & ~outline)


@given(st.floats(3, 15), st.floats(3, 15), st.floats(0, 3), st.tuples(*[st.integers(0, 500)] * 2))
def test_fill_agrees_with_hole_filling_on_ellipses(width, height, tilt, center):
    assume(width * np.cos(tilt) ** 2 > 2)  # else its two sides share pixels
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x, y = width * np.cos(angles + tilt), height * np.sin(angles)
    points = np.rint(np.column_stack([x, y])).astype(int) + center
    inside, outline, corner = fill(closed_chain(points))
    np.testing.assert_array_equal(inside | outline, ndimage.binary_fill_holes(outline))
    np.testing.assert_array_equal(corner, points.min(axis=0)[::-1])


def test_pocket_that_the_line_closes_by_touching_itself_is_outside():
    # A bay in the lower side that closes where the line meets itself, at (3, 3).
    right = [(x, 0) for x in range(7)] + [(6, y) for y in range(1, 5)] + [(5, 4), (4, 4), (3, 3)]
    bay = [(4, 2), (3, 1), (2, 2), (3, 3)]
    left = [(2, 4), (1, 4), *((0, y) for y in range(4, -1, -1))]
    inside, outline, _ = fill(np.array(right + bay + left))
    assert ndimage.binary_fill_holes(outline)[2, 3], "hole filling would count the pocket"
    assert not inside[2, 3]
    assert inside[1, 1] and inside[2, 5]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=20))
def test_closed_chain_has_no_gaps_and_keeps_every_point(points):
    chain = closed_chain(np.array(points))
    assert (np.abs(np.diff(chain, axis=0)).max(axis=1, initial=0) <= 1).all()
    np.testing.assert_array_equal(chain[0], chain[-1])
    assert set(points) <= set(map(tuple, chain.tolist()))


def test_a_single_pixel_encloses_nothing():
    inside, outline, _ = fill(closed_chain(np.array([[7, 9]])))
    assert outline.all() and not inside.any()


# --- Masks of one nodule ----------------------------------------------------------------------


def annotation(*contours: tuple[int, bool, list[tuple[int, int]]]) -> Annotation:
    """One reader's contours: slice, whether it adds, points."""
    drawn = (Contour(np.array(points), k, included) for k, included, points in contours)
    return Annotation(0, tuple(drawn), (1,) * 9)


def test_contour_pixels_are_not_nodule():
    masks, outlined, corner = draw_nodule([annotation((4, True, square(10, 20, 5)))])
    expected = np.zeros((1, 1, 5, 5), dtype=bool)
    expected[..., 1:4, 1:4] = True
    np.testing.assert_array_equal(masks, expected)
    assert outlined == [25]
    np.testing.assert_array_equal(corner, [4, 20, 10])


@pytest.mark.parametrize("order", [1, -1])
def test_exclusion_removes_its_interior_and_its_own_pixels_in_any_order(order):
    contours = [(0, True, square(0, 0, 9)), (0, False, square(2, 2, 4))]
    masks, outlined, _ = draw_nodule([annotation(*contours[::order])])
    assert masks.sum() == 7 * 7 - 4 * 4
    assert not masks[0, 0, 2:6, 2:6].any()
    assert outlined == [9 * 9 - 2 * 2]


def test_several_contours_in_a_slice_are_united():
    # Each runs through the interior of the other; what lies inside either is nodule.
    contours = [(0, True, square(0, 0, 8)), (0, True, square(4, 0, 8))]
    masks, _, _ = draw_nodule([annotation(*contours)])
    assert masks[0, 0, 1:7, 1:11].all()
    assert masks.sum() == 6 * 10


def test_readers_share_one_box_and_a_skipped_slice_stays_empty():
    first = annotation((3, True, square(10, 10, 5)), (5, True, square(10, 10, 5)))
    second = annotation((4, True, square(12, 8, 4)))
    masks, _, corner = draw_nodule([first, second])
    assert masks.shape == (2, 3, 7, 6)
    np.testing.assert_array_equal(corner, [3, 8, 10])
    assert masks.sum(axis=(2, 3)).tolist() == [[9, 0, 9], [0, 4, 0]]
    assert masks[1, 1, 1:3, 3:5].all()


# --- Which annotations belong together --------------------------------------------------------


def scan_with(*points: tuple[int, int], slices: np.ndarray, thickness: float = 2.0) -> Scan:
    """Annotations that are single pixels (slice, x) of 0.5 mm, so that distances are plain."""
    annotations = tuple(annotation((k, True, [(x, 0), (x, 0)])) for k, x in points)
    return Scan("1.2.3", "P", thickness, 0.5, slices, annotations)


EVERY_2_MM = np.arange(0, 30, 2.0)


def test_neighbors_within_the_slice_thickness_are_one_nodule():
    # 2.0 mm apart in the slice; exactly 2.0 mm from slice to slice; 2.5 mm, too far.
    scan = scan_with((0, 0), (0, 4), (1, 4), (1, 9), slices=EVERY_2_MM)
    assert group_annotations(scan) == [[0, 1, 2], [3]]


def test_distances_along_z_do_not_depend_on_how_they_are_added_up():
    scan = scan_with((0, 0), (1, 0), slices=np.array([0.1, 0.4]), thickness=0.3)
    assert scan.slices[1] - scan.slices[0] > scan.slice_thickness
    assert group_annotations(scan) == [[0, 1]]


def test_more_than_four_are_parted_at_the_largest_tolerance_that_does():
    # Gaps of 0.5, 0.5, 1.0, 0.5 and 1.5 mm: six within 2 mm, five below 1.5 mm, and below
    # 1.0 mm three and two.
    scan = scan_with(*((0, x) for x in (0, 1, 2, 4, 5, 8)), slices=EVERY_2_MM)
    assert group_annotations(scan) == [[0, 1, 2], [3, 4], [5]]


def test_tightening_one_group_leaves_the_others_alone():
    crowd, pair = [(0, x) for x in (0, 1, 2, 4, 5)], [(10, 0), (10, 4)]
    scan = scan_with(*crowd, *pair, slices=EVERY_2_MM)
    assert group_annotations(scan) == [[0, 1, 2], [3, 4], [5, 6]]


def test_touching_annotations_stay_one_group_that_is_too_large():
    scan = scan_with(*[(0, 3)] * 5, (0, 5), slices=EVERY_2_MM)
    assert group_annotations(scan) == [[0, 1, 2, 3, 4], [5]]


# --- The whole way, on a small database -------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return build(write_database(tmp_path_factory.mktemp("lidc") / "small.sqlite"))


def test_counts_of_a_small_database(built):
    assert dict(zip(built["count_names"].tolist(), built["counts"].tolist(), strict=True)) == {
        "scans": 4,
        "patients": 2,
        "annotations": 18,
        "contours": 20,
        "exclusion contours": 1,
        "nodules": 5,
        "1 reader": 1,
        "2 readers": 0,
        "3 readers": 0,
        "4 readers": 3,
        "more annotations than readers": 1,
    }


def test_nodules_are_ordered_and_numbered_within_the_patient(built):
    assert built["patient"].tolist() == ["P-1", "P-1", "P-2"]
    assert built["number"].tolist() == [0, 1, 0]
    assert built["scan"].tolist() == ["1.2.3", "1.2.4", "1.2.1"]
    assert built["annotations"][2].tolist() == [1, 2, 3, 5]
    assert built["ratings"][0].tolist() == [list(range(1, 10))] * 4


def test_masks_and_geometry_of_a_small_database(built):
    # The second scan lacks a slice: the spacing is the median distance.
    assert built["spacing"].tolist() == [[1, 1, 1], [1, 1, 1], [2.5, 0.5, 0.5]]
    assert built["slice_thickness"].tolist() == [1.25, 1.25, 2.5]
    assert built["corner"][2].tolist() == [0, 20, 10]
    assert built["shape"][2].tolist() == [2, 7, 7]
    start, stop = built["offset"][2:]
    masks = np.unpackbits(built["bits"][start:stop], count=4 * 2 * 7 * 7).reshape(4, 2, 7, 7)
    # The exclusion contour of 9 pixels takes 9 of 25 from the first reader's second slice.
    assert masks.sum(axis=(2, 3)).tolist() == [[25, 16], [16, 0], [9, 0], [0, 16]]
    assert built["outlined_voxels"][2].tolist() == [49 + 48, 36, 25, 36]


def test_a_contour_between_slices_is_refused(tmp_path):
    scans = [("P", 1.0, 1.0, [0.0, 1.0], [[(0.5, 1, square(0, 0, 4))]])]
    with pytest.raises(ValueError, match="z = 0.5"):
        build(write_database(tmp_path / "bad.sqlite", scans))


# --- The real database: what a careful reading gives ------------------------------------------


def test_counts_of_the_real_database():
    assert lidc_counts() == {
        "scans": 1018,
        "patients": 1010,
        "annotations": 6859,
        "contours": 41_406,
        "exclusion contours": 992,
        "nodules": 2651,
        "1 reader": 769,
        "2 readers": 491,
        "3 readers": 481,
        "4 readers": 896,
        "more annotations than readers": 14,
    }


def test_patients_of_the_real_nodules():
    patients = lidc_nodules().patients
    _, nodules_of_patient = np.unique(patients, return_counts=True)
    assert len(patients) == 896
    assert len(nodules_of_patient) == 554
    assert nodules_of_patient.max() == 8


def test_geometry_of_the_real_nodules():
    nodules = list(lidc_nodules())
    shapes = np.array([nodule.masks.shape[1:] for nodule in nodules])
    assert np.median(shapes, axis=0).tolist() == [6, 16, 16]
    assert shapes.max(axis=0).tolist() == [43, 72, 84]
    spacing = np.array([nodule.spacing for nodule in nodules])
    assert (spacing[:, 1] == spacing[:, 2]).all()
    assert spacing.min(axis=0).round(2).tolist() == [0.45, 0.46, 0.46]
    assert spacing.max(axis=0).round(2).tolist() == [5.0, 0.98, 0.98]


def test_volumes_of_the_real_nodules():
    nodules = list(lidc_nodules())
    voxels = np.array([nodule.masks.sum(axis=(1, 2, 3)) for nodule in nodules])
    assert np.median(voxels) == 318
    assert voxels.min() == 11, "every reader's mask holds some voxels"
    outlined = np.array([nodule.outlined_voxels for nodule in nodules])
    assert round(np.median(outlined / voxels - 1), 2) == 0.47


def test_agreement_of_the_real_readers():
    agreement = [dice(a, b) for nodule in lidc_nodules() for a, b in combinations(nodule.masks, 2)]
    assert round(np.mean(agreement), 3) == 0.774
    assert agreement.count(0) == 1, "in one nodule two readers do not overlap"


def test_majority_of_three_readers_against_the_fourth():
    agreement = [
        dice(np.delete(nodule.masks, held_out, axis=0).sum(axis=0) >= 2, nodule.masks[held_out])
        for nodule in lidc_nodules()
        for held_out in range(4)
    ]
    assert round(np.mean(agreement), 2) == 0.81
