"""NIH CT Lymph Nodes: the masks of the abdominal scans; every node has its own number in them."""

from __future__ import annotations

from pathlib import Path

from confseg.manifest import Row, Rule

from .niftis import grid
from .registry import DataSet
from .sources import Source, files_below


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Put the masks in place; each scan is a patient of its own, and there is no score map."""
    rows = []
    for label in files_below(source.path, "ABD_LYMPH_*_mask.nii.gz"):
        grid(label)  # a damaged header is told here
        name = label.name.removesuffix("_mask.nii.gz")
        truth = folder / "labels" / label.name
        source.bring(label, truth)
        rows.append(Row(name, name, "", None, truth, Rule(entry.rule)))
    return rows
