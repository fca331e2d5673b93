"""Figures of the data sets that were found before this package was written.

Those of LIDC are computed here from the readers' masks by SciPy alone, for every nodule and
every held-out reader; the package must give the same numbers. Who is held out, and which nodule
stands for its patient, are drawn by lot, so a figure quoted from one draw is compared with many.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage, special

from confseg import CLS, ConfidenceSets, Margin, conformal_quantile
from confseg.datasets import Nodule, lidc, lidc_nodules
from confseg.evaluate import repeated_splits

ROOT = Path(__file__).parents[1]
MIRROR = Path(os.environ.get("CONFSEG_MIRROR", ROOT / ".." / "shared" / "data"))

MISSED = (0, 5, 10)  # percent, tolerated by FNR
HELD = (100, 99, 90)  # percent, that a margin holds
QUANTITIES = [*(f"FNR {e}" for e in MISSED), "inner", *(f"margin {tau}" for tau in HELD)]


class Figures(NamedTuple):
    """Nonconformity scores (nodule, held-out reader, quantity), and the truths' volumes in mm3."""

    scores: np.ndarray
    volumes: np.ndarray


def to_mask(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    return ndimage.distance_transform_edt(~mask, sampling=spacing)


def of_readers(nodule: Nodule) -> tuple[list[list[float]], list[float]]:
    """The numbers of one nodule, one row per held-out reader."""
    masks, spacing = nodule.padded(0.1), nodule.spacing  # one voxel is enough
    signed = np.array([to_mask(~mask, spacing) - to_mask(mask, spacing) for mask in masks])
    rows, volumes = [], []
    for held_out, truth in enumerate(masks):
        mean = np.delete(signed, held_out, axis=0).mean(axis=0)
        predicted = mean > -1e-9  # at zero, up to rounding, the probability is 0.5
        inside = np.sort(mean[truth])
        needed = np.sort(to_mask(predicted, spacing)[truth]) if predicted.any() else [math.inf]
        rows.append(
            [
                *(-inside[e * inside.size // 100] for e in MISSED),
                mean[~truth].max(),
                *(needed[-1 - (100 - tau) * len(needed) // 100] for tau in HELD),
            ]
        )
        volumes.append(inside.size * math.prod(spacing))
    return rows, volumes


@pytest.fixture(scope="module")
def figures() -> Figures:
    found = [of_readers(nodule) for nodule in lidc_nodules()]
    return Figures(*(np.array(part) for part in zip(*found, strict=True)))


@pytest.fixture(scope="module")
def draws() -> list[tuple[np.ndarray, np.ndarray]]:
    """One nodule of each patient and a held-out reader: as the package draws, and 200 others."""
    cases = lidc(one_per_patient=True)
    patient = np.unique(lidc_nodules().patients, return_inverse=True)[1]
    found, rng = [(cases.nodules.rows, cases.held_out)], np.random.default_rng(554)
    for _ in range(200):
        order = rng.permutation(patient.size)
        rows = order[np.unique(patient[order], return_index=True)[1]]
        found.append((rows, rng.integers(4, size=rows.size)))
    return found


def test_the_package_gives_the_same_numbers(figures, draws):
    rows, held_out = draws[0]
    picked = np.random.default_rng(1).choice(rows.size, 12, replace=False)
    cases = lidc(one_per_patient=True)
    drawn = [cases[i] for i in picked]
    methods = [CLS(e / 100, 0.5) for e in MISSED] + [ConfidenceSets(0.5, "inner")]
    methods += [Margin(0.5, coverage=tau / 100) for tau in HELD]
    for column, method in enumerate(methods):
        found = method.calibrate(drawn).nonconformity_
        if isinstance(method, CLS):
            found = -special.logit(-found)  # from probabilities back to mm
        expected = figures.scores[rows[picked], held_out[picked], column]
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=QUANTITIES[column])


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.1, 0.90, 0.91), (0.2, 0.80, 0.82)])
def test_coverage_of_half_splits(figures, draws, alpha, low, high):
    # Quoted: .903 to .910 and .799 to .819, sd .02 to .04.
    rows, held_out = draws[0]
    for column, name in enumerate(QUANTITIES):
        split = repeated_splits(figures.scores[rows, held_out, column], alpha)
        assert set(split.n_calibration) == {277}
        assert low <= round(split.compliance.mean(), 2) <= high, name
        assert 0.02 <= round(split.compliance.std(), 2) <= 0.04, name


def test_margins_between_readers(figures, draws):
    found = [
        [conformal_quantile(figures.scores[rows, held_out, 4 + j], 0.1) for j in range(3)]
        for rows, held_out in draws
    ]
    assert np.round(found[0], 1).tolist() == [3.8, 3.0, 1.7]
    rows, held_out = draws[0]
    splits = [repeated_splits(figures.scores[rows, held_out, 4 + j], 0.1) for j in range(3)]
    medians = [np.median(split.quantiles) for split in splits]
    assert np.round(medians, 1).tolist() == [4.0, 3.0, 1.8]
    # Quoted from another draw: 4.0, 2.9 and 1.5 mm.
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    assert (low <= [4.0, 2.9, 1.5]).all() and (high >= [4.0, 2.9, 1.5]).all()
    assert (high - low < 1).all(), "a range that holds everything says nothing"


def test_one_margin_for_all_fails_the_large_nodules(figures, draws):
    # By the true size, which is not known beforehand: by the predicted one it is less extreme.
    shares = []
    for rows, held_out in draws:
        needed, volume = figures.scores[rows, held_out, 4], figures.volumes[rows, held_out]
        held = needed <= conformal_quantile(needed, 0.1)
        third = np.digitize(volume, np.quantile(volume, [1 / 3, 2 / 3]))
        shares.append([held[third == size].mean() for size in range(3)])
    assert np.round(shares[0], 2).tolist() == [1.0, 0.93, 0.78]
    # Quoted from another draw: 0.99, 0.97 and 0.74.
    low, high = np.quantile(shares, [0.01, 0.99], axis=0).round(2)
    assert (low <= [0.99, 0.97, 0.74]).all() and (high >= [0.99, 0.97, 0.74]).all()
    assert (high - low < 0.1).all(), "a range that holds everything says nothing"


def mirrored(folder: str) -> Path:
    if not (MIRROR / folder).is_dir():
        pytest.skip("no mirror: name one with CONFSEG_MIRROR")
    return MIRROR / folder


def test_the_hippocampus_crops():
    folder = mirrored("msd_task04_hippocampus")
    labels = [nib.load(path) for path in sorted((folder / "labelsTr").glob("*.nii.gz"))]
    assert len(labels) == len(list((folder / "imagesTr").glob("*.nii.gz"))) == 260
    assert {image.header.get_zooms() for image in labels} == {(1.0, 1.0, 1.0)}
    shapes = np.median([image.shape for image in labels], axis=0)
    assert np.abs(shapes - [35, 50, 35]).max() <= 2
    assert {tuple(np.unique(image.dataobj)) for image in labels} == {(0, 1, 2)}


def test_the_prostate_labels():
    folder = mirrored("picai_labels") / "csPCa_lesion_delineations"
    places = {"ai": "AI/Bosma22a", "later": "human_expert/Pooch25"}
    shapes = {
        name: {path.name: nib.load(path).shape for path in (folder / place).glob("*.nii.gz")}
        for name, place in places.items()
    }
    assert len(shapes["ai"]) == 220 + 205 + 108
    assert len(shapes["later"]) == 205
    assert Counter(shapes["ai"].values()).most_common(1)[0][0] == (384, 384, 19)
    assert sum(shapes["ai"][name] != shape for name, shape in shapes["later"].items()) == 2
