"""LiTS: the labels of the training scans, as they were published.

A case is a patient. There is no score map; the scan is named in the column ``image`` if it is
there.
"""

from __future__ import annotations

import re
from pathlib import Path

from confseg.manifest import Row, Rule

from .registry import DataSet
from .sources import Source, files_below

_NAME = re.compile(r"segmentation-(\d+)\.nii(\.gz)?")


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Put labels and scans in place.

    Raises
    ------
    ValueError
        If a file is named otherwise than expected.
    """
    volumes = {path.name: path for path in source.path.rglob("volume-*.nii*")}
    rows = []
    for label in files_below(source.path, "segmentation-*.nii*"):
        match = _NAME.fullmatch(label.name)
        if match is None:
            raise ValueError(f"{label} is named otherwise than expected")
        truth = folder / "labels" / label.name
        source.bring(label, truth)
        volume = volumes.get(label.name.replace("segmentation", "volume"))
        place = ""
        if volume is not None:
            source.bring(volume, folder / "images" / volume.name)
            place = f"images/{volume.name}"
        name = f"lits-{int(match[1]):03d}"
        rows.append(Row(name, name, "", None, truth, Rule(entry.rule), {"image": place}))
    return rows
