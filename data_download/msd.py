"""Medical Segmentation Decathlon: the scans with labels, as they were published.

The labels are the truth; there is no score map. Names are kept, each scan is a patient of its own.
"""

from __future__ import annotations

from pathlib import Path

from confseg.manifest import Row, Rule

from .niftis import same_grid
from .registry import DataSet
from .sources import Source, files_below


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Put scans and labels in place.

    Raises
    ------
    ValueError
        If a label has no scan, or lies on another grid than its scan.
    """
    rows = []
    for label in files_below(source.path, "labelsTr/*.nii.gz"):
        image = label.parents[1] / "imagesTr" / label.name
        if not image.is_file():
            raise ValueError(f"{label.name} has labels but no scan: expected {image}")
        if not same_grid(image, label):
            raise ValueError(f"{label} lies on another grid than its scan {image}")
        truth, scan = folder / "labels" / label.name, folder / "images" / label.name
        source.bring(label, truth)
        source.bring(image, scan)
        name = label.name.removesuffix(".nii.gz")
        place = scan.relative_to(folder).as_posix()
        rows.append(Row(name, name, "", None, truth, Rule(entry.rule), {"image": place}))
    return rows
