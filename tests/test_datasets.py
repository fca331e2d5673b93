"""The LIDC nodules as the package gives them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from confseg import datasets
from confseg.datasets import (
    DamagedFileError,
    cache_folder,
    digest,
    lidc,
    lidc_counts,
    lidc_file,
    lidc_nodules,
    probability_of_readers,
)
from confseg.fields import logit

# --- The cache folder and its file ------------------------------------------------------------


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CONFSEG_DATA", str(tmp_path / "scans"))
    assert cache_folder() == tmp_path / "scans"
    monkeypatch.setenv("CONFSEG_DATA", "~/scans")
    assert cache_folder() == Path.home() / "scans"
    monkeypatch.setenv("CONFSEG_DATA", "")
    assert cache_folder().name == "confseg"
    assert not (tmp_path / "scans").exists(), "asking must not make the folder"


@pytest.mark.parametrize("read", [lidc, lidc_nodules, lidc_counts])
def test_missing_data_names_the_folder_and_the_command(monkeypatch, tmp_path, read):
    monkeypatch.setenv("CONFSEG_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        read()
    assert str(tmp_path) in str(error.value)
    assert "python -m data_download lidc" in str(error.value)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def empty(content: bytes) -> bytes:
    return b""


def replace_by_text(content: bytes) -> bytes:
    return b"<html>sign in to continue</html>"


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty, replace_by_text])
def test_damaged_data_are_noticed(monkeypatch, tmp_path, damage):
    content = lidc_file().read_bytes()
    monkeypatch.setenv("CONFSEG_DATA", str(tmp_path))
    lidc_file().write_bytes(damage(content))
    with pytest.raises(DamagedFileError, match="python -m data_download lidc"):
        lidc_nodules()


def test_other_contents_in_a_sound_file_are_noticed(monkeypatch, tmp_path):
    with np.load(lidc_file()) as archive:
        arrays = dict(archive)
    arrays["ratings"][0, 0, 0] += 1
    monkeypatch.setenv("CONFSEG_DATA", str(tmp_path))
    np.savez(lidc_file(), **arrays)
    with pytest.raises(DamagedFileError, match="checksum"):
        lidc_nodules()


def test_digest_sees_names_types_shapes_and_values_but_not_memory_layout():
    base = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.array(["x"])}
    others = [
        {"c": base["a"], "b": base["b"]},
        {**base, "a": base["a"].astype(np.int32)},
        {**base, "a": base["a"].reshape(3, 2)},
        {**base, "a": base["a"] + 1},
        {**base, "b": np.array(["y"])},
    ]
    assert len({digest(arrays) for arrays in [base, *others]}) == 6
    assert digest({**base, "a": np.asfortranarray(base["a"])}) == digest(base)
    assert digest({**base, "a": base["a"].astype(">i8")}) == digest(base)
    assert digest(dict(reversed(base.items()))) == digest(base)


# --- Nodules ----------------------------------------------------------------------------------


def test_a_nodule_says_what_it_is():
    nodule = lidc_nodules()[0]
    assert (nodule.name, nodule.patient) == ("LIDC-IDRI-0001/nodule-0", "LIDC-IDRI-0001")
    assert nodule.masks.dtype == np.bool_
    assert nodule.masks.shape == (4, 9, 52, 44)
    assert nodule.spacing == (2.5, 0.703125, 0.703125)
    assert nodule.slice_thickness == 2.5
    assert tuple(nodule.ratings) == datasets.RATINGS
    assert nodule.ratings["malignancy"] == (5, 5, 5, 4)
    assert nodule.scan.startswith("1.3.6.1.4.1.14519.5.2.1.6279.6001.")
    assert nodule.corner == (86, 340, 297)
    voxels = nodule.masks.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(nodule.volumes_mm3, voxels * 2.5 * 0.703125**2)


def test_nodules_are_a_sequence():
    nodules = lidc_nodules()
    assert nodules[-1].name == nodules[895].name
    part = nodules[10:20:3]
    assert [one.name for one in part] == [nodules[k].name for k in (10, 13, 16, 19)]
    assert part.rows.tolist() == [10, 13, 16, 19]
    assert part.patients == [one.patient for one in part]
    with pytest.raises(IndexError):
        nodules[896]


def test_names_are_unique_and_patients_together():
    nodules = lidc_nodules()
    names = [nodule.name for nodule in nodules]
    assert len(set(names)) == 896
    assert nodules.patients == sorted(nodules.patients)


@pytest.mark.parametrize("margin_mm", [0, 3.0, 10.0])
def test_padding_reaches_the_margin_on_every_side(margin_mm):
    nodule = lidc_nodules()[0]
    padded = nodule.padded(margin_mm)
    for axis, step in enumerate(nodule.spacing, start=1):
        width = (padded.shape[axis] - nodule.masks.shape[axis]) // 2
        assert width * step >= margin_mm > (width - 1) * step
    np.testing.assert_array_equal(padded.sum(axis=(1, 2, 3)), nodule.masks.sum(axis=(1, 2, 3)))


# --- Probability of readers -------------------------------------------------------------------

masks_of_readers = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).random((3, 4, 6, 5)) < 0.3
)


@given(masks_of_readers, st.floats(0.3, 5), st.floats(0.3, 1), st.floats(0.5, 3))
def test_probability_is_the_sigmoid_of_the_mean_signed_distance(masks, z, xy, scale):
    masks[:, 1, 2, 3] = True
    spacing = (z, xy, xy)
    framed = np.pad(masks, [(0, 0), (1, 1), (1, 1), (1, 1)])  # beyond the image is outside
    distances = [
        ndimage.distance_transform_edt(mask, sampling=spacing)
        - ndimage.distance_transform_edt(~mask, sampling=spacing)
        for mask in framed
    ]
    mean = np.mean(distances, axis=0)[1:-1, 1:-1, 1:-1]
    score = probability_of_readers(masks, spacing, scale)
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-mean / scale)), rtol=1e-12)


def test_probability_of_real_readers_agrees_with_scipy():
    for nodule in lidc_nodules()[::150]:
        case = nodule.case(held_out=1, scale_mm=2.0)
        masks = nodule.padded()[[0, 2, 3]]
        mean = np.mean(
            [
                ndimage.distance_transform_edt(mask, sampling=nodule.spacing)
                - ndimage.distance_transform_edt(~mask, sampling=nodule.spacing)
                for mask in masks
            ],
            axis=0,
        )
        np.testing.assert_allclose(logit(case.score) * 2.0, mean, atol=1e-6)


def test_an_empty_reader_is_refused():
    masks = np.zeros((2, 3, 3, 3), dtype=bool)
    masks[0, 1, 1, 1] = True
    with pytest.raises(ValueError, match="empty"):
        probability_of_readers(masks, (1, 1, 1))


# --- Cases ------------------------------------------------------------------------------------


def test_a_case_is_three_readers_against_the_fourth():
    nodule = lidc_nodules()[3]
    for held_out in range(4):
        case = nodule.case(held_out)
        np.testing.assert_array_equal(case.truth, nodule.padded()[held_out])
        others = np.delete(nodule.padded(), held_out, axis=0)
        np.testing.assert_array_equal(case.score, probability_of_readers(others, nodule.spacing))
        assert (case.score[others.all(axis=0)] > 0.5).all()
        assert (case.score[~others.any(axis=0)] < 0.5).all()
        assert (case.name, case.patient) == (nodule.name, nodule.patient)
        assert case.spacing == nodule.spacing


@pytest.mark.parametrize("held_out", [-1, 4, "first"])
def test_a_reader_that_does_not_exist_is_refused(held_out):
    with pytest.raises(ValueError, match="held_out"):
        lidc_nodules()[0].case(held_out)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale_mm": 0},
        {"scale_mm": np.nan},
        {"scale_mm": np.inf},
        {"margin_mm": -1},
        {"margin_mm": np.nan},
    ],
)
def test_wrong_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        lidc(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        lidc_nodules()[0].case(0, **wrong)


def test_cases_come_lazily_and_as_often_as_wanted():
    cases = lidc()
    start = time.perf_counter()
    assert len(cases[100:500]) == 400
    assert len(cases.patients) == 896
    assert time.perf_counter() - start < 0.1, "no case may be computed to be counted"
    part = cases[5:8]
    first, second = [one.name for one in part], [one.name for one in part]
    assert first == second == [cases[k].name for k in (5, 6, 7)]
    np.testing.assert_array_equal(part[0].score, cases[5].score)
    np.testing.assert_array_equal(part.held_out, cases.held_out[5:8])
    assert part.patients == [case.patient for case in part]


def test_held_out_reader_is_drawn_with_the_seed():
    draws = [lidc(seed=seed).held_out for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    # 896 fair draws of four: each between 150 and 298 but for one in a million.
    assert all(150 < count < 298 for count in np.bincount(draws[0], minlength=4))


def test_truth_is_the_reader_that_was_drawn():
    cases = lidc(seed=5)[:6]
    for case, nodule, held_out in zip(cases, cases.nodules, cases.held_out, strict=True):
        np.testing.assert_array_equal(case.truth, nodule.padded()[held_out])


def test_one_nodule_per_patient():
    every, some = lidc(), lidc(one_per_patient=True)
    assert len(some) == len(set(some.patients)) == 554
    assert set(some.patients) == set(every.patients)
    # The fourth reader of a nodule does not depend on which others are kept.
    np.testing.assert_array_equal(some.held_out, every.held_out[some.nodules.rows])
    names = [nodule.name for nodule in lidc_nodules(one_per_patient=True)]
    assert names == [nodule.name for nodule in some.nodules]


def test_nodule_of_a_patient_is_drawn_at_random():
    # A patient with 8 nodules: over 40 seeds each of them should turn up at least once, but
    # for 8 * (7/8) ** 40 = 4%; the seeds are fixed, so this cannot flicker.
    nodules = lidc_nodules()
    patients = np.array(nodules.patients)
    names, counts = np.unique(patients, return_counts=True)
    crowded = names[counts.argmax()]
    drawn = {
        row
        for seed in range(40)
        for row in lidc_nodules(one_per_patient=True, seed=seed).rows
        if patients[row] == crowded
    }
    assert len(drawn) == 8


def test_scores_stay_finite_as_log_odds_and_crops_leave_room():
    for case in lidc(one_per_patient=True)[::20]:
        assert np.isfinite(logit(case.score)).all()
        inside = np.argwhere(case.truth)
        room = np.minimum(inside.min(axis=0), np.array(case.truth.shape) - 1 - inside.max(axis=0))
        assert (room * case.spacing >= 10).all()


def test_groups_are_thin_and_thick_slices():
    cases = lidc(margin_mm=0.0)
    thickness = [nodule.slice_thickness for nodule in cases.nodules]
    groups = [case.group for case in cases[::40]]
    assert groups == ["thin slices" if mm < 2 else "thick slices" for mm in thickness[::40]]
    assert set(groups) == {"thin slices", "thick slices"}
