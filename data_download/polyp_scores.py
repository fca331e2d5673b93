"""PraNet's scores of 1798 polyp images, with the true masks, as NIfTI without a unit of length.

The file does not say which image came from which of the five sets: group and patient stay empty,
and the number of the case is its place in the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from confseg.manifest import Row, Rule

from . import niftis
from .registry import DataSet
from .sources import Source, files_below

NAME = "polyps-pranet.npz"


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Write one score map and one mask per image.

    Raises
    ------
    ValueError
        If the arrays are not named or shaped as expected.
    """
    path = files_below(source.path, NAME)[0] if source.path.is_dir() else source.path
    with np.load(path, allow_pickle=False) as data:
        lacking = {"sgmd", "targets"} - set(data.files)
        if lacking:
            raise ValueError(f"{path} lacks the arrays {sorted(lacking)}, found {data.files}")
        scores, masks = data["sgmd"], data["targets"]
    if scores.shape != masks.shape or scores.ndim != 3:
        raise ValueError(f"{path} holds scores of shape {scores.shape}, masks of {masks.shape}")
    rows = []
    for i in tqdm(range(len(scores)), "writing score maps", disable=None):
        name = f"polyp-{i:04d}"
        score, truth = (folder / kind / f"{name}.nii.gz" for kind in ("scores", "masks"))
        niftis.write(score, scores[i].astype(np.float32), np.eye(4), unit="unknown")
        niftis.write(truth, masks[i] > 0, np.eye(4), unit="unknown")
        rows.append(Row(name, "", "", score, truth, Rule(entry.rule)))
    return rows
