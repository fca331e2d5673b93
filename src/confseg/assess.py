"""What a calibrated method does on one case with known truth, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .case import Case, Spacing
from .cls import CLS
from .conformal import SplitConformal
from .units import Per, by_patient


@dataclass(frozen=True)
class Assessment:
    """The numbers of one case.

    Attributes
    ----------
    name, patient, group : str
        Its names.
    left_out : bool
        Whether calibration would leave it out, for want of a lesion.
    image, lesion : int
        Voxels of the image and of the lesion.
    region, wrong : dict of str to int
        Voxels of the region of each side, and those of them that are wrong: lesion voxels that
        the outer region misses, other voxels that the inner one takes.
    score : dict of str to float
        Nonconformity score of each side.
    complies : dict of str to bool
        Whether the region of each side keeps what is promised of it.
    spacing : sequence of float or None
        Edge lengths of a voxel in mm, if known.
    """

    name: str
    patient: str
    group: str
    left_out: bool
    image: int
    lesion: int
    region: dict[str, int]
    wrong: dict[str, int]
    score: dict[str, float]
    complies: dict[str, bool]
    spacing: Sequence[float] | None

    @property
    def kept(self) -> bool:
        """Whether every promise is kept."""
        return all(self.complies.values())


A = TypeVar("A", bound=Assessment)


def assess(method: SplitConformal, case: Case) -> Assessment:
    """The numbers of one case.

    Parameters
    ----------
    method : CLS, ConfidenceSets or Margin
        The calibrated method.
    case : Case
        The case, its truth included.

    Returns
    -------
    Assessment
        The numbers; the images are not kept.

    Raises
    ------
    ValueError
        If the case is unsound, or is without lesion where the method refuses such cases.
    """
    numbers = method._case_numbers(case)
    rule = getattr(method, "empty", "zero")
    if numbers.empty and rule == "refuse":
        raise ValueError(f"case {case.name!r} has no lesion, which this calibration refuses")
    regions = side_regions(method, case.score, case.spacing)
    wrong = {
        name: case.truth & ~region if name == "outer" else region & ~case.truth
        for name, region in regions.items()
    }
    return Assessment(
        name=case.name,
        patient=case.patient,
        group=case.group,
        left_out=numbers.empty and rule == "exclude",
        image=case.score.size,
        lesion=int(np.count_nonzero(case.truth)),
        region={name: int(np.count_nonzero(region)) for name, region in regions.items()},
        wrong={name: int(np.count_nonzero(part)) for name, part in wrong.items()},
        score=numbers.scores,
        complies={
            name: side.complies(regions[name], case.truth) for name, side in method._sides.items()
        },
        spacing=case.spacing,
    )


def side_regions(
    method: SplitConformal, score: NDArray, spacing: Spacing | None
) -> dict[str, NDArray[np.bool_]]:
    """The region of each side that a calibrated method speaks of, "inner" or "outer"."""
    return {name: method._predict(name, score, spacing) for name in method._sides}


def name_of(side: str, method: SplitConformal) -> str:
    """What files, tables and pages call the region of a side; CLS has one, which is the mask."""
    return "mask" if isinstance(method, CLS) else side


def units(assessments: Sequence[A], per: Per, seed: int = 0) -> list[tuple[A, ...]]:
    """The cases that are counted together, as the promise counts them.

    Parameters
    ----------
    assessments : sequence of Assessment
        The cases; those that calibration would leave out are left out.
    per : {"case", "worst", "draw"}
        What the method was calibrated on: every case, all cases of a patient at once, or one case
        drawn from each patient.
    seed : int, default 0
        Seed of the draw.

    Returns
    -------
    list of tuples of Assessment
        One tuple per case or patient; what is promised has to hold in all cases of a tuple.

    Raises
    ------
    ValueError
        If patients count and a case names none.
    """
    counted = [each for each in assessments if not each.left_out]
    if per == "case":
        return [(each,) for each in counted]
    patients = by_patient(counted).values()
    if per == "worst":
        return [tuple(cases) for cases in patients]
    rng = np.random.default_rng(seed)
    return [(cases[rng.integers(len(cases))],) for cases in patients]


def calibration_scores(assessments: Sequence[A], per: Per) -> dict[str, dict[str, float]]:
    """The scores of each side, by the name under which calibration keeps them.

    Parameters
    ----------
    assessments : sequence of Assessment
        The cases; those that calibration would leave out are left out.
    per : {"case", "worst", "draw"}
        What the method was calibrated on.

    Returns
    -------
    dict of str to dict of str to float
        By the name of the case, or of the patient, then with the worst of the patient's scores.
    """
    scores: dict[str, dict[str, float]] = {}
    for each in assessments:
        if not each.left_out:
            name = each.patient if per == "worst" else each.name
            known = scores.setdefault(name, dict.fromkeys(each.score, -np.inf))
            scores[name] = {side: max(known[side], new) for side, new in each.score.items()}
    return scores


def repeated_patients(patients: Sequence[str]) -> int:
    """How many patients have more than one case; cases without a patient have one of their own."""
    return sum(count > 1 for name, count in Counter(patients).items() if name)
