"""What is drawn independently, and so counted: cases, or patients with several of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeVar, get_args

import numpy as np

Per = Literal["case", "worst", "draw"]


class Unit(NamedTuple):
    """What the promise counts, as the parts of sentences that say so."""

    name: str
    counted: str
    new: str
    scope: str
    mean_of: str
    bearer: str
    limit: str


UNITS: dict[Per, Unit] = {
    "case": Unit(
        "case",
        counted="",
        new="a new case",
        scope="",
        mean_of="",
        bearer="scans",
        limit=", or if cases of one patient are counted as independent",
    ),
    "worst": Unit(
        "patient",
        counted=", each by the worst of its cases",
        new="a new patient",
        scope="in all cases of the patient at once, ",
        mean_of=" in the worst of a patient's cases",
        bearer="patients",
        limit="",
    ),
    "draw": Unit(
        "patient",
        counted=", each by one case drawn at random",
        new="a new patient",
        scope="in one case drawn at random from the patient's, ",
        mean_of=" in one case drawn at random from a patient's",
        bearer="patients",
        limit=", or for all cases of a patient at once",
    ),
}


class OfPatient(Protocol):
    """What is kept of a case: besides its numbers, its name and its patient's."""

    @property
    def name(self) -> str:
        """Name of the case."""
        raise NotImplementedError

    @property
    def patient(self) -> str:
        """Name of the patient."""
        raise NotImplementedError


R = TypeVar("R", bound=OfPatient)


def check_unit(per: str) -> None:
    """Raise ValueError unless `per` names a unit."""
    if per not in UNITS:
        raise ValueError(f"per must be one of {get_args(Per)}, found {per!r}")


def counted(
    rows: list[R], kept: list[R], per: Per, seed: int, worst: Callable[[str, list[R]], R]
) -> tuple[list[R], int]:
    """One row per unit, and how many units were left out.

    Parameters
    ----------
    rows, kept : list
        Rows of all cases, and of those that count.
    per : {"case", "worst", "draw"}
        The unit.
    seed : int
        Seed of the draw.
    worst : callable
        ``worst(patient, rows)`` makes one row of those of a patient.

    Raises
    ------
    ValueError
        If patients count and a case names none.
    """
    if per == "case":
        return kept, len(rows) - len(kept)
    everyone, patients = len(by_patient(rows)), by_patient(kept)
    if per == "worst":
        units = [worst(patient, cases) for patient, cases in patients.items()]
    else:
        rng = np.random.default_rng(seed)
        units = [cases[rng.integers(len(cases))] for cases in patients.values()]
    return units, everyone - len(units)


def by_patient(rows: list[R]) -> dict[str, list[R]]:
    """The rows of each patient, in the order in which the patients appear.

    Raises
    ------
    ValueError
        If a case names no patient.
    """
    patients: dict[str, list[R]] = {}
    for position, row in enumerate(rows, start=1):
        if not row.patient:
            raise ValueError(
                f"case {position} ({row.name!r}): names no patient, so there are no patients "
                "to count"
            )
        patients.setdefault(row.patient, []).append(row)
    return patients
