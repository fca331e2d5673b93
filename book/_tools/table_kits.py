"""Make book/tables/kits.csv: one row of numbers per kidney tumor that three annotators outlined.

    python book/_tools/table_kits.py DATA/kits/cases.csv book/tables/kits.csv

The manifest comes from ``python -m data_download kits``. Distances are measured inside the crop
of a tumor, which holds all three masks and a border. They are those of the whole scan: a margin
is a distance between voxels of two masks, and no voxel of a mask is outside the crop.
"""

import argparse
import csv
import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import confseg
from confseg.case import Spacing
from confseg.critical import outer_cutoff
from confseg.distances import Metric, distance_to
from confseg.fields import signed_distance
from confseg.manifest import Row, read_manifest
from confseg.metrics import dice
from confseg.nifti import read_labels

READERS = (1, 2, 3)
MISSED = {"1": 0.0, "0.99": 0.01, "0.9": 0.1}
"""Share of the tumor that may be missed, by the coverage in the name of the column."""

Masks = dict[int, NDArray[np.bool_]]


def masks_of(row: Row) -> tuple[Masks, Spacing]:
    """The masks of the three readers and the spacing in mm."""
    if row.score is None or row.truth is None:
        raise ValueError(f"{row.case}: the masks of two readers expected")
    paths = {
        int(row.extra["score_reader"]): row.score,
        int(row.extra["truth_reader"]): row.truth,
    }
    (third,) = set(READERS) - set(paths)
    paths[third] = row.score.parents[1] / row.extra["third"]
    images = {reader: read_labels(paths[reader]) for reader in READERS}
    spacing, *others = {image.spacing for image in images.values()}
    if others or spacing is None:
        found = [spacing, *others]
        raise ValueError(f"{row.case}: one spacing in mm expected: {found}")
    masks = {reader: image.values > 0 for reader, image in images.items()}
    return masks, spacing


def numbers(masks: Masks, spacing: Spacing) -> dict[str, float]:
    """The numbers of one tumor, by column.

    ``ml_1`` is the volume of reader 1, ``dice_12`` the overlap of two readers, ``mm_0.99_1to2``
    the margin around reader 1 that holds 99% of what reader 2 drew, ``cross_...`` the same in
    dilations by the cross. In place of a reader ``any`` is what either of the two others drew,
    ``mean`` the mask where the mean of their signed distances is not negative.
    """
    found = {f"spacing_{i}": step for i, step in enumerate(spacing)}
    voxel = float(np.prod(spacing)) / 1000
    found |= {
        f"ml_{r}": float(np.count_nonzero(masks[r]) * voxel) for r in READERS
    }
    for a, b in itertools.combinations(READERS, 2):
        found[f"dice_{a}{b}"] = dice(masks[a], masks[b])
    inside = signed_distance()
    depth = {r: inside(masks[r].astype(float), spacing) for r in READERS}
    for truth in READERS:
        a, b = (r for r in READERS if r != truth)
        for reader in (a, b):
            found |= _margins(
                masks[reader], masks[truth], spacing, "mm", f"{reader}to{truth}"
            )
            found |= _margins(
                masks[reader],
                masks[truth],
                spacing,
                "cross",
                f"{reader}to{truth}",
            )
        mean = depth[a] + depth[b] >= 0
        found |= _margins(
            masks[a] | masks[b], masks[truth], spacing, "mm", f"anyto{truth}"
        )
        found |= _margins(mean, masks[truth], spacing, "mm", f"meanto{truth}")
        found[f"ml_mean{truth}"] = float(np.count_nonzero(mean) * voxel)
    return found


def _margins(
    mask: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Spacing,
    metric: Metric,
    who: str,
) -> dict[str, float]:
    field = -distance_to(mask, spacing, metric)
    return {
        f"{metric}_{name}_{who}": 0.0 - outer_cutoff(field, truth, miss)
        for name, miss in MISSED.items()
    }


def records(rows: list[Row]) -> Iterator[dict[str, str | float]]:
    """What the table holds of each tumor; KiTS has no groups."""
    for row in rows:
        what = {"case": row.case, "patient": row.patient, "group": row.group}
        yield {**what, **numbers(*masks_of(row))}


def write(manifest: Path, table: Path) -> None:
    """Write the table, and beside it where it comes from."""
    found = list(records(read_manifest(manifest, needed=["score", "truth"])))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    told = {
        "data": "KiTS23 (the cases of KiTS21): tumors outlined by three annotators",
        "source": "https://github.com/neheller/kits23",
        "license": "CC BY-NC-SA 4.0",
        "citation": "Heller et al. (2023), The KiTS21 challenge, arXiv:2307.01984",
        "command": "python book/_tools/table_kits.py kits/cases.csv book/tables/kits.csv",
        "confseg_version": confseg.__version__,
        "cases_sha256": _sha256(manifest),
        "rows": len(found),
        "table_sha256": _sha256(table),
    }
    text = json.dumps(told, indent=1) + "\n"
    table.with_suffix(".provenance.json").write_text(text, encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "manifest", type=Path, help="cases.csv of the kidney tumors"
    )
    parser.add_argument("table", type=Path, help="the .csv to write")
    given = parser.parse_args()
    write(given.manifest, given.table)
