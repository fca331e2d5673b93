"""NIfTI files: what is read lies where the file says, and every fault is told with its file."""

from __future__ import annotations

import gzip
import io

import nibabel as nib
import numpy as np
import pytest
from niftis import AFFINE, SPACING, small_cases, write_image

from confseg.manifest import Row, Rule
from confseg.nifti import (
    Reading,
    files_of,
    read_case,
    read_labels,
    read_nifti,
    read_score,
    write_mask,
)

SHAPE = (4, 5, 6)


@pytest.fixture
def softmax():
    """Three classes, in float32, whose sums are 1 but for rounding."""
    raw = np.random.default_rng(0).exponential(size=(*SHAPE, 3)).astype(np.float32)
    return raw / raw.sum(axis=-1, keepdims=True)


def row(folder, score, truth, affine=AFFINE, **options) -> Row:
    names = (folder / "score.nii.gz", folder / "truth.nii.gz")
    write_image(names[0], score)
    write_image(names[1], truth, affine)
    return Row("one", "p", "g", *names, **options)


def test_a_case_keeps_axes_orientation_and_values(tmp_path):
    (case,) = small_cases(1, seed=1)
    read = read_case(row(tmp_path, case.score, case.truth.astype(np.int16)))
    assert read.score.dtype == np.float32
    np.testing.assert_array_equal(read.score, case.score)
    np.testing.assert_array_equal(read.truth, case.truth)
    assert read.spacing == SPACING
    assert (read.name, read.patient, read.group) == ("one", "p", "g")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_both_versions_packed_or_not(tmp_path, ending, kind):
    values = np.arange(120.0).reshape(SHAPE)
    nib.save(kind(values, AFFINE), tmp_path / f"a{ending}")
    image = read_nifti(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(image.values, values)
    np.testing.assert_array_equal(image.affine, AFFINE)


@pytest.mark.parametrize(
    ("unit", "shape", "spacing"),
    [
        ("mm", (4, 5, 6), SPACING),
        ("unknown", (4, 5, 6), SPACING),
        ("micron", (4, 5, 6), (0.002, 0.001, 0.003)),
        ("unknown", (4, 5), None),
        ("unknown", (4, 5, 1), None),
        ("mm", (4, 5), SPACING[:2]),
    ],
)
def test_units(tmp_path, unit, shape, spacing):
    path = write_image(tmp_path / "a.nii", np.zeros(shape, np.float32), unit=unit)
    found = read_nifti(path).spacing
    assert found == spacing if spacing is None else found == pytest.approx(spacing)


def test_the_spacing_is_the_decimal_that_was_meant(tmp_path):
    turn = np.deg2rad(7)
    slanted = np.diag([0.3, 0.3, 3, 1])
    slanted[:2, :2] = 0.3 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    path = write_image(tmp_path / "a.nii", np.zeros(SHAPE, np.float32), slanted)
    assert read_nifti(path).spacing == (0.3, 0.3, 3.0)


@pytest.mark.parametrize(
    ("rule", "lesion"), [("label > 0", {1, 2, 3}), ("label >= 2", {2, 3}), ("label == 1", {1})]
)
def test_label_rules(tmp_path, rule, lesion):
    labels = np.arange(120).reshape(SHAPE) % 4
    case = read_case(row(tmp_path, np.zeros(SHAPE), labels.astype(np.uint8), rule=Rule(rule)))
    np.testing.assert_array_equal(case.truth, np.isin(labels, list(lesion)))


def test_classes_of_the_lesion_are_added(tmp_path, softmax):
    path = write_image(tmp_path / "a.nii.gz", softmax)
    one = read_score(path, Rule("label == 2")).values
    np.testing.assert_array_equal(one, softmax[..., 2])
    both = read_score(path, Rule("label > 0")).values
    np.testing.assert_allclose(both, 1 - softmax[..., 0], atol=1e-6)
    assert both.max() <= 1
    np.testing.assert_array_equal(read_score(path, channel=0).values, softmax[..., 0])


def test_one_channel_in_a_fourth_axis_is_a_plain_map(tmp_path, softmax):
    path = write_image(tmp_path / "a.nii.gz", softmax[..., 1:2])
    np.testing.assert_array_equal(read_score(path).values, softmax[..., 1])


def test_nnunet_probabilities_lie_on_the_grid_beside_them(tmp_path, softmax):
    np.savez_compressed(tmp_path / "a.npz", probabilities=softmax.T)
    write_image(tmp_path / "a.nii.gz", softmax.argmax(axis=-1).astype(np.uint8))
    image = read_score(tmp_path / "a.npz", Rule("label == 1"))
    np.testing.assert_array_equal(image.values, softmax[..., 1])
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert image.spacing == SPACING


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL", "IPL"])
def test_nnunet_probabilities_of_every_orientation(tmp_path, softmax, axes):
    """SimpleITK reads a file in the order of its bytes, and nnU-Net's arrays are in that order."""
    stored = turned(softmax, axes)
    write_nnunet(tmp_path, stored)
    image = read_score(tmp_path / "a.npz", Rule("label == 1"))
    expected = np.asarray(stored.dataobj)[..., 1].astype(np.float16)
    np.testing.assert_array_equal(image.values, expected)
    np.testing.assert_array_equal(image.affine, stored.affine)
    assert nib.aff2axcodes(image.affine) == tuple(axes)


@pytest.mark.parametrize(("axes", "agree"), [("RAS", True), ("LPS", False)])
def test_nnunet_probabilities_that_were_turned_are_refused(tmp_path, softmax, axes, agree):
    """Its reader that turns scans to RAS turns the mask back, and not the probabilities."""
    (tmp_path / "ras").mkdir()
    write_nnunet(tmp_path / "ras", turned(softmax, "RAS"))
    write_nnunet(tmp_path, turned(softmax, axes))
    (tmp_path / "ras/a.npz").replace(tmp_path / "a.npz")
    if agree:
        assert read_score(tmp_path / "a.npz", Rule("label == 1")).values.shape == SHAPE
    else:
        with pytest.raises(ValueError, match=r"a.npz: only \d+% of the lesion voxels of a.nii.gz"):
            read_score(tmp_path / "a.npz", Rule("label == 1"))


def turned(softmax, axes: str) -> nib.Nifti1Image:
    """An image of classes whose axes point to right (left), anterior (posterior), and so on."""
    straight = nib.Nifti1Image(softmax, np.diag([2.0, 1, 3, 1]))
    start, end = (nib.orientations.axcodes2ornt(codes) for codes in ("RAS", axes))
    return straight.as_reoriented(nib.orientations.ornt_transform(start, end))


def write_nnunet(folder, image: nib.Nifti1Image) -> None:
    values = np.asarray(image.dataobj)
    np.savez_compressed(folder / "a.npz", probabilities=values.T.astype(np.float16))
    write_image(folder / "a.nii.gz", values.argmax(axis=-1).astype(np.uint8), image.affine)


def test_overlapping_regions_beside_their_mask(tmp_path):
    """Regions have no likeliest class, and one of them is chosen."""
    regions = np.random.default_rng(0).random((*SHAPE, 2))
    np.savez_compressed(tmp_path / "a.npz", probabilities=regions.T)
    write_image(tmp_path / "a.nii.gz", (regions[..., 0] > 0.5).astype(np.uint8))
    np.testing.assert_array_equal(read_score(tmp_path / "a.npz", channel=1).values, regions[..., 1])


def test_certain_regions_beside_their_mask_are_not_taken_for_turned(tmp_path):
    """The first channel is a region and not the background, as where every label has its own."""
    regions = np.zeros((*SHAPE, 2))
    regions[1:3, 1:3, 1:3, 0] = 1
    np.savez_compressed(tmp_path / "a.npz", probabilities=regions.T)
    write_image(tmp_path / "a.nii.gz", regions[..., 0].astype(np.uint8))
    np.testing.assert_array_equal(read_score(tmp_path / "a.npz", channel=0).values, regions[..., 0])


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ((0, 0), "The header of .*truth.nii.gz does not say where its voxels lie"),
        ((2, 1), "The sform and the qform of .*truth.nii.gz differ; the sform was taken"),
        ((1, 0), r"or turned\?$"),
    ],
)
def test_headers_that_leave_their_place_open_are_told(tmp_path, forms, message):
    one = row(tmp_path, np.zeros(SHAPE), np.ones(SHAPE))
    image = nib.load(one.truth)
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 50
    image.set_qform(AFFINE, code=forms[1])
    image.set_sform(elsewhere if forms[0] else None, code=forms[0])
    nib.save(nib.Nifti1Image(np.ones(SHAPE), None, image.header), one.truth)
    with pytest.raises(ValueError, match=message):
        read_case(one)


def test_a_mask_goes_where_its_score_was(tmp_path):
    (case,) = small_cases(1, seed=2)
    like = read_nifti(write_image(tmp_path / "score.nii", case.score, unit="micron"))
    write_mask(tmp_path / "mask.nii.gz", case.truth, like)
    written = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), case.truth)
    np.testing.assert_array_equal(written.get_sform(), AFFINE)
    np.testing.assert_allclose(written.get_qform(), AFFINE, atol=1e-5)
    assert written.header.get_xyzt_units()[0] == "micron"
    assert written.get_data_dtype() == np.uint8
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mask.nii.gz", "score.nii"]


@pytest.mark.parametrize(("shift", "is_one_place"), [(1e-3, True), (0.49, True), (0.51, False)])
def test_up_to_half_a_voxel_is_one_place(tmp_path, shift, is_one_place):
    nearly = AFFINE.copy()
    nearly[0, 3] += shift  # the smallest edge is 1 mm
    one = row(tmp_path, np.zeros(SHAPE), np.ones(SHAPE), nearly)
    if is_one_place:
        assert read_case(one).truth.all()
    else:
        with pytest.raises(ValueError, match=r"a corner lies 0.51 apart, at most 0.5 is expected"):
            read_case(one)


@pytest.mark.parametrize(
    ("affine", "apart"), [(AFFINE @ np.diag([1, 1, -1, 1]), "30"), (np.diag([2, 1, 3, 1.0]), "")]
)
def test_another_place_is_refused(tmp_path, affine, apart):
    with pytest.raises(ValueError, match=rf"case 'one': .*score.*truth.*affines: .* lies {apart}"):
        read_case(row(tmp_path, np.zeros(SHAPE), np.ones(SHAPE), affine))


def test_another_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"score.nii.gz and .*truth.nii.gz have the shapes"):
        read_case(row(tmp_path, np.zeros(SHAPE), np.ones(SHAPE[::-1])))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(SHAPE, 0.5), "whole numbers from 0 on, found 0.5"),
        (np.full(SHAPE, -1, np.int16), "whole numbers from 0 on, found -1"),
        (np.full(SHAPE, np.nan), "whole numbers from 0 on, found nan"),
        (np.full(SHAPE, 255, np.uint8), r"expected labels among \[0, 1, 2\], found \[255\]"),
        (np.zeros((*SHAPE, 2), np.uint8), "one label per voxel"),
    ],
)
def test_other_labels_are_refused(tmp_path, labels, message):
    path = write_image(tmp_path / "truth.nii.gz", labels)
    with pytest.raises(ValueError, match=f"truth.nii.gz: .*{message}"):
        read_labels(path, (1, 2))


def test_expected_labels_pass(tmp_path):
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(float)
    path = write_image(tmp_path / "truth.nii.gz", labels)
    np.testing.assert_array_equal(read_labels(path, Reading(labels=(1, 2)).labels).values, labels)


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*a.nii"):
        read_nifti(tmp_path / "a.nii")
    with pytest.raises(FileNotFoundError, match="there is no file .*a.npz"):
        read_score(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", probabilities=np.zeros((2, 3, 3, 3)))
    with pytest.raises(FileNotFoundError, match="expected a.nii.gz beside it"):
        read_score(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="expected a score and a truth"):
        read_case(Row("one", score=tmp_path / "a.npz"))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 20, 200, 349, -9, -1])
def test_truncated_files_are_refused(tmp_path, ending, kept):
    whole = write_image(tmp_path / f"a{ending}", np.random.default_rng(0).random(SHAPE))
    content = whole.read_bytes()
    whole.write_bytes(content[:kept])
    with pytest.raises(ValueError, match=rf"a{ending} (cannot be read|is no NIfTI file)"):
        read_nifti(whole)


@pytest.mark.parametrize("place", [20, 600, -6])
def test_altered_files_are_refused(tmp_path, place):
    path = write_image(tmp_path / "a.nii.gz", np.random.default_rng(0).random(SHAPE))
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.nii.gz (cannot be read|is no NIfTI file)"):
        read_nifti(path)


def test_a_header_that_asks_for_more_memory_than_there_is_is_refused(tmp_path):
    path = write_image(tmp_path / "a.nii", np.zeros(SHAPE))
    content = bytearray(path.read_bytes())
    content[42:48] = np.full(3, 32767, dtype="<i2").tobytes()  # the shape
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.nii cannot be read: MemoryError"):
        read_nifti(path)


@pytest.mark.parametrize(
    # gzip writes the time of day into its header, which must not become the name of a test.
    "content",
    [b"", b"text", gzip.compress(b"x" * 1000, mtime=0)],
    ids=["empty", "text", "gzip of text"],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.nii.gz (cannot be read|is no NIfTI file)"):
        read_nifti(path)
    path.rename(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"a.txt: expected a file that ends in \.nii"):
        read_nifti(tmp_path / "a.txt")


def test_headers_that_contradict_themselves_are_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros(SHAPE), AFFINE)
    image.header["pixdim"][1:4] = (1, 1, 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"a.nii: the affine gives voxels of .*2.0, 1.0, 3.0"):
        read_nifti(tmp_path / "a.nii")


def test_sheared_axes_are_refused(tmp_path):
    sheared = np.eye(4)
    sheared[1, 2] = 0.3
    path = write_image(tmp_path / "a.nii", np.zeros(SHAPE), sheared)
    with pytest.raises(ValueError, match="a.nii: the axes are not at right angles"):
        read_nifti(path)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.full((*SHAPE, 3), 4.0), {}, r"sums range from 12 to 12, expected 1. Logits need"),
        (np.full((*SHAPE, 2), 0.9), {}, "choose one"),
        (np.full((*SHAPE, 2), 0.5), {"channel": 2}, "no channel 2: expected one from 0 to 1"),
        (np.full((*SHAPE, 2), 0.5), {"rule": Rule("label == 2")}, "none of the 2 classes"),
        (np.full((*SHAPE, 2, 2), 0.5), {}, "at most one axis of classes"),
        (np.full(SHAPE, 0.5), {"channel": 1}, "holds one map"),
    ],
)
def test_channels_that_do_not_fit_are_refused(tmp_path, values, options, message):
    path = write_image(tmp_path / "score.nii.gz", values)
    with pytest.raises(ValueError, match=f"score.nii.gz:? .*{message}"):
        read_score(path, **options)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"softmax": np.zeros((2, 6, 5, 4))}, "expected an array 'probabilities'"),
        ({"probabilities": np.zeros((2, 4, 5, 6))}, r"expected \(classes, 6, 5, 4\)"),
        ({"probabilities": np.zeros((6, 5, 4))}, r"expected \(classes, 6, 5, 4\)"),
    ],
)
def test_other_npz_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    write_image(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(ValueError, match=f"a.npz .*{message}"):
        read_score(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match="a.npz cannot be read"):
        read_score(tmp_path / "a.npz")


def test_arrays_of_something_else_than_numbers_are_refused(tmp_path):
    write_image(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8))
    np.savez(tmp_path / "a.npz", probabilities=np.full((2, *SHAPE[::-1]), "0.5"))
    with pytest.raises(ValueError, match="a.npz holds no numbers but <U3"):
        read_score(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.zeros((2, *SHAPE[::-1])))
    (tmp_path / "b.npy").replace(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a.npz cannot be read, expected an array 'probabilities'"):
        read_score(tmp_path / "a.npz")


def packed_classes() -> bytes:
    """An ``.npz`` that is longer than what is read, and its checksum compared, at once."""
    content = io.BytesIO()
    np.savez(content, probabilities=np.zeros((9, *SHAPE[::-1])))
    return content.getvalue()


def with_entry(place: int, value: int) -> bytes:
    """Another byte in the list of files at the end."""
    content = bytearray(packed_classes())
    content[content.rindex(b"PK\1\2") + place] = value
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        with_entry(6, 123),
        with_entry(8, 1),
        with_entry(10, 99),
        packed_classes().replace(b", }", b",  "),
    ],
    ids=["version", "encrypted", "compression", "array"],
)
def test_damaged_npz_files_are_told_with_their_name(tmp_path, content):
    """Whatever the libraries raise, which is not always a ValueError."""
    write_image(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8))
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="a.npz cannot be read, expected") as error:
        read_score(tmp_path / "a.npz")
    assert not isinstance(error.value.__cause__, ValueError)


def test_damaged_headers_are_told_with_their_file(tmp_path):
    path = write_image(tmp_path / "a.nii", np.zeros(SHAPE))
    header = nib.load(path).header
    header["vox_offset"] = 3e38
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    with pytest.raises(ValueError, match="a.nii cannot be read: ") as error:
        read_nifti(path)
    assert not isinstance(error.value.__cause__, ValueError)


def test_a_qform_without_meaning_is_told_with_its_file(tmp_path):
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 50
    one = row(tmp_path, np.zeros(SHAPE), np.ones(SHAPE), elsewhere)
    image = nib.load(one.truth)
    for name, value in {"qform_code": 1, "quatern_b": 7, "vox_offset": 352}.items():
        image.header[name] = value
    content = image.header.binaryblock + b"\0" * 4 + np.ones(SHAPE).tobytes()
    one.truth.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"case .one.: .*truth.nii.gz cannot be read"):
        read_case(one)


def test_probabilities_in_8_bits_are_probabilities(tmp_path):
    """As the page about many cases advises. The factor is stored in 32 bits: 255 of it exceed 1."""
    values = np.linspace(0, 1, 120).reshape(SHAPE)
    image = nib.Nifti1Image(np.round(255 * values).astype(np.uint8), AFFINE)
    image.header.set_slope_inter(1 / 255, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    assert read_nifti(tmp_path / "a.nii.gz").values.max() > 1
    read = read_score(tmp_path / "a.nii.gz").values
    assert read.max() == 1
    np.testing.assert_allclose(read, np.round(255 * values) / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("low", "high", "moved"),
    [
        (-1e-9, 0.5, True),
        (0.0, np.nextafter(np.float32(1), np.float32(2)), True),
        (-2e-6, 1.0, False),
        (0.0, 1 + 2e-6, False),
        (-1e-9, 3.0, False),  # logits stay what they are
    ],
)
def test_only_rounding_is_moved_back(tmp_path, low, high, moved):
    values = np.full(SHAPE, 0.25)
    values[0, 0, :2] = low, high
    read = read_score(write_image(tmp_path / "a.nii.gz", values)).values
    np.testing.assert_array_equal(read, values.clip(0, 1) if moved else values)


def test_rounding_is_moved_back_in_one_of_several_channels(tmp_path, softmax):
    softmax[0, 0, 0] = (-1e-8, 1 + 1e-7, 0)
    path = write_image(tmp_path / "a.nii.gz", softmax)
    for options in ({"rule": Rule("label == 1")}, {"channel": 1}, {}):
        assert read_score(path, **options).values.max() == 1


@pytest.mark.parametrize("values", [[0, 255], [-1, 1], [0, 2]])
def test_whole_numbers_are_told_what_they_lack(tmp_path, values):
    path = write_image(tmp_path / "a.nii.gz", np.resize(values, SHAPE).astype(np.int16))
    message = rf"a.nii.gz: whole numbers from {values[0]} to {values[1]} .*scl_slope"
    with pytest.raises(ValueError, match=message):
        read_score(path)
    mask = write_image(tmp_path / "mask.nii.gz", np.resize([0, 1], SHAPE).astype(np.uint8))
    assert read_score(mask).values.dtype == np.uint8


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda image: image.header.__setitem__("xyzt_units", 7), "the header has no unit 7"),
        (lambda image: image.header.__setitem__("srow_x", np.nan), "the affine is no affine"),
    ],
)
def test_headers_without_meaning_are_refused(tmp_path, spoil, message):
    image = nib.Nifti1Image(np.zeros(SHAPE), AFFINE)
    image.update_header()
    spoil(image)
    (tmp_path / "a.nii").write_bytes(
        image.header.binaryblock + b"\0" * 4 + np.zeros(SHAPE).tobytes()
    )
    with pytest.raises(ValueError, match=f"a.nii: {message}"):
        read_nifti(tmp_path / "a.nii")


def test_colors_are_refused(tmp_path):
    colors = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colors, AFFINE), tmp_path / "a.nii")
    with pytest.raises(ValueError, match="a.nii holds no numbers"):
        read_nifti(tmp_path / "a.nii")


def test_the_grid_of_npz_files_counts_as_one_of_the_files(tmp_path):
    for name in ("a.npz", "a.nii.gz", "b.nii"):
        (tmp_path / name).touch()
    named = files_of(Row("one", score=tmp_path / "a.npz", truth=tmp_path / "b.nii"))
    assert [file.name for file in named] == ["a.npz", "b.nii", "a.nii.gz"]
    assert files_of(Row("one", score=tmp_path / "b.nii")) == [tmp_path / "b.nii"]
