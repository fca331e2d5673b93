"""Phantoms as NIfTI files, such as a reader's own cases would be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from confseg import Case, phantoms
from confseg.manifest import Row, Rule, write_manifest
from confseg.phantoms import Lesions, Segmenter

# Turned and mirrored: voxels are (2, 1, 3) mm, and none of the axes points where it usually does.
AFFINE = np.array([[0, -1.0, 0, 40], [-2, 0, 0, 30], [0, 0, 3, -9], [0, 0, 0, 1]])
SPACING = (2.0, 1.0, 3.0)


def write_image(path: Path, values: ArrayLike, affine: NDArray = AFFINE, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(np.asarray(values), affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def small_cases(n: int, seed: int, noise: float = 1.5) -> list[Case]:
    """Phantoms of 12 x 10 x 8 voxels, in single precision as networks write them."""
    lesions = Lesions(shape=(12, 10, 8), radius=(3, 4), roughness=0.6, spacing=SPACING)
    drawn = phantoms.cases(n, lesions, Segmenter(noise=noise), seed=seed)
    return [
        Case(
            phantom.score.astype(np.float32),
            phantom.truth,
            phantom.spacing,
            name=f"{seed}-{i}",
            patient=f"{seed}p{i}",
        )
        for i, phantom in enumerate(drawn)
    ]


def write_cases(folder: Path, cases: Iterable[Case], groups: str = "A") -> Path:
    """Score maps, truths and their manifest; the groups are dealt out in turn."""
    for part in ("scores", "truths"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rows = []
    for i, case in enumerate(cases):
        score, truth = (folder / part / f"{case.name}.nii.gz" for part in ("scores", "truths"))
        write_image(score, case.score)
        write_image(truth, case.truth.astype(np.uint8))
        group = groups[i % len(groups)]
        rows.append(Row(case.name, case.patient, group, score, truth, Rule()))
    manifest = folder / "cases.csv"
    write_manifest(manifest, rows)
    return manifest
