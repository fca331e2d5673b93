"""The panels: what is to be found, in which data, and for how long the networks learn it.

The six lesions are those of the paper on conformal lesion segmentation, as crops of ULS23: 256 x
256 x 128 voxels of a CT scan around one lesion. Three quarters of the patients train, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from confseg.manifest import Rule, read_manifest
from data_download.registry import DATA_SETS

from .views import Middle, Whole
from .volumes import Scan, Volume, read

LUNG, SOFT_TISSUE = (-1000.0, 400.0), (-160.0, 240.0)  # Hounsfield units


@dataclass(frozen=True)
class Panel:
    """One row of the table below.

    Attributes
    ----------
    data : str
        A data set of `data_download`.
    view : Whole or Middle
        What a network sees of a scan.
    epochs : int
        Passes over the training cases.
    share : Fraction
        Of the patients, those that may train; all others are held out.
    cases : int or None
        Only the first so many train.
    group : str
        Only these cases of the data set; empty for all.
    rule : str
        Which labels are to be found; empty for those that the manifest names.
    window : tuple of float or None
        Of a CT, see `volumes.read`; None for MR.
    """

    data: str
    view: Whole | Middle
    epochs: int
    share: Fraction = Fraction(3, 4)
    cases: int | None = None
    group: str = ""
    rule: str = ""
    window: tuple[float, float] | None = None

    def scans(self, folder: Path) -> list[Scan]:
        """The cases of the panel, in the order of their names.

        Parameters
        ----------
        folder : pathlib.Path
            Where the data sets are.

        Raises
        ------
        FileNotFoundError
            If the data set, some of its files or its scans are not there.
        ValueError
            If its manifest is damaged or holds no such cases.
        """
        manifest = folder / self.data / "cases.csv"
        if not manifest.is_file():
            raise FileNotFoundError(
                f"there is no {manifest}; make it with: "
                f"python -m data_download {self.data} --dest {folder}"
            )
        rows = [row for row in read_manifest(manifest, needed=["truth"]) if self._takes(row.group)]
        if not rows:
            raise ValueError(f"{manifest} has no cases of the group {self.group!r}")
        images = [manifest.parent / row.extra["image"] for row in rows]
        without = sum(not path.is_file() for path in images)
        if without:
            raise FileNotFoundError(
                f"{without} of {len(rows)} cases of {self.group or self.data} in {manifest} come "
                f"without their scan. {DATA_SETS[self.data].by_hand}"
            )
        rule = Rule(self.rule) if self.rule else None
        scans = [
            Scan(row.case, row.patient, image, row.truth, rule or row.rule)
            for row, image in zip(rows, images, strict=True)
        ]
        return sorted(scans, key=lambda scan: scan.name)

    def split(self, scans: list[Scan]) -> tuple[list[Scan], list[Scan]]:
        """Those that train and those that are held out; nobody's scans are in both.

        The same in every run: drawn once, by a seed of its own.
        """
        patients = list(dict.fromkeys(scan.patient for scan in scans))
        order = np.random.default_rng(2025).permutation(len(patients))
        chosen = {patients[i]: at for at, i in enumerate(order[: int(self.share * len(order))])}
        training = [scan for scan in scans if scan.patient in chosen]
        training.sort(key=lambda scan: chosen[scan.patient])
        return training[: self.cases], [scan for scan in scans if scan.patient not in chosen]

    def read(self, scan: Scan) -> Volume:
        """A scan on its own grid."""
        return read(scan, self.window)

    def _takes(self, group: str) -> bool:
        return not self.group or group == self.group


class Shown(Sequence[Volume]):
    """What networks see of scans, each read when it is asked for: memory holds one at a time."""

    def __init__(self, panel: Panel, scans: Sequence[Scan]) -> None:
        self.panel, self.scans = panel, scans

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index):
        return self.panel.view.cut(self.panel.read(self.scans[index]))


def _lesion(group: str, side: float, epochs: int, window: tuple[float, float]) -> Panel:
    return Panel("uls23", Middle(side), epochs, group=group, window=window)


# A cube of 192 mm around a random voxel of the tumor holds 96% of the tumors of KiTS whole, one of
# 64 mm 99.8% of the nodules of LIDC; the other sides are guesses. With as many training cases as
# in the paper, the epochs make about 7500 steps.
PANELS = {
    "well": Panel("msd-hippocampus", Whole(), 8, share=Fraction(100, 260), cases=100),
    "weak": Panel(
        "msd-hippocampus", Whole(), 30, share=Fraction(100, 260), cases=10, rule="label == 1"
    ),
    "kits": _lesion("kits21", 192, 60, SOFT_TISSUE),
    "lits": _lesion("LiTS", 192, 24, SOFT_TISSUE),
    "lymph-nodes": _lesion("NIH_LN_ABD", 96, 36, SOFT_TISSUE),
    "lidc": _lesion("LIDC-IDRI", 64, 9, LUNG),
    "colon": _lesion("MDSC_Task10_Colon", 160, 150, SOFT_TISSUE),
    "pancreas": _lesion("MDSC_Task07_Pancreas", 128, 70, SOFT_TISSUE),
}
