"""LIDC-IDRI nodules as NIfTI: three readers as score map, the fourth as truth.

The cases are those of `confseg.datasets.lidc`, which says how they are made, with 32-bit scores.
Axes keep the order of the arrays: z, y, x.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from confseg import datasets
from confseg.manifest import Row, Rule

from . import niftis
from .registry import DataSet
from .sources import Source


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Write one score map and one mask per nodule."""
    rows = []
    for case in tqdm(datasets.lidc(), "writing nodules", disable=None):
        name = case.name.replace("/", "_")
        score, truth = (folder / kind / f"{name}.nii.gz" for kind in ("scores", "masks"))
        assert case.spacing is not None, "every scan has its spacing"
        affine = niftis.crop_affine(case.spacing, (0, 0, 0))
        niftis.write(score, case.score.astype(np.float32), affine)
        niftis.write(truth, case.truth, affine)
        rows.append(Row(name, case.patient, case.group, score, truth, Rule(entry.rule)))
    return rows
