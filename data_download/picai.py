"""PI-CAI: the AI's mask as score, an expert's mask as truth.

- Cases outlined by the original experts (ISUP grade as label, significant cancer from 2 on) form
  the group ``original experts``, those outlined later (Pooch et al. 2025, label 1) the group
  ``later experts``. Where both exist, the original is taken.
- Cases that the marksheet calls free of significant cancer form the group ``no cancer``: their
  expert masks are empty.
- Centers come from the marksheet. Two studies of one patient keep the patient's number.
- In some cases the expert mask lies on another grid than the AI's (10408_1000415 and
  10459_1000467, both by later experts, with 320 and 384 pixels where the AI's have 640). They are
  left out and named: resampling a mask moves its outline, and a margin measures just that.
- Empty AI masks stay in: a lesion that the AI did not see is a case like any other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from confseg.manifest import Row, Rule

from .niftis import same_grid
from .registry import DataSet
from .sources import Source, files_below

ORIGINAL, LATER, NEGATIVE = "original experts", "later experts", "no cancer"


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Put the masks in place.

    Raises
    ------
    ValueError
        If a case is not in the marksheet, or one with cancer has no expert mask.
    """
    marks = _marksheet(source.path / "clinical_information" / "marksheet.csv")
    delineations = source.path / "csPCa_lesion_delineations"
    rows, elsewhere = [], []
    for score in files_below(delineations / "AI" / "Bosma22a", "*.nii.gz"):
        name = score.name.removesuffix(".nii.gz")
        if name not in marks:
            raise ValueError(f"{score} has no line in the marksheet")
        cancer = marks[name]["case_csPCa"] == "YES"
        found = next(_expert_masks(delineations / "human_expert", score.name), None)
        if found is None:
            raise ValueError(f"{score.name} has no expert mask")
        truth, group = found
        if not same_grid(score, truth):
            elsewhere.append(name)
            continue
        rule = Rule("label > 0") if group == LATER else Rule(entry.rule)
        paths = folder / "ai" / score.name, folder / "experts" / score.name
        for file, target in zip((score, truth), paths, strict=True):
            source.bring(file, target)
        group = group if cancer else NEGATIVE
        center = {"center": marks[name]["center"]}
        rows.append(Row(name, marks[name]["patient_id"], group, *paths, rule, center))
    if elsewhere:
        print(
            f"{entry.name}: left out, since the expert mask lies on another grid than the AI's: "
            f"{', '.join(elsewhere)}",
            flush=True,
        )
    return rows


def _marksheet(path: Path) -> dict[str, dict[str, str]]:
    """The lines of the marksheet by the name of the case."""
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    return {f"{line['patient_id']}_{line['study_id']}": line for line in lines}


def _expert_masks(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Masks of a case and who drew them, the original experts first."""
    for kind, group in (("resampled", ORIGINAL), ("Pooch25", LATER)):
        path = folder / kind / name
        if path.is_file():
            yield path, group
