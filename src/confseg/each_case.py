"""A function of one case after the other, and which of the cases count."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypeVar, get_args

import joblib
from tqdm.auto import tqdm

from .case import Case, naming

Empty = Literal["exclude", "zero", "refuse"]
T = TypeVar("T")


class OfCase(Protocol):
    """What is kept of a case: besides its numbers, its name and whether it has no lesion."""

    @property
    def name(self) -> str:
        """Name of the case."""
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        """Whether the case has no lesion where one is needed."""
        raise NotImplementedError


R = TypeVar("R", bound=OfCase)


def per_case(
    function: Callable[[Case], T],
    cases: Iterable[Case],
    n_jobs: int | None = 1,
    progress: bool = False,
) -> Iterator[T]:
    """`function` of one case after the other, on several processes if asked; errors name the case.

    Cases are drawn as they are needed, so that memory stays flat.
    """
    total = len(cases) if isinstance(cases, Sequence) else None
    shown = tqdm(cases, total=total, desc="calibrating", unit="case", disable=not progress)
    if n_jobs == 1:
        return (_on_case(function, i, case) for i, case in enumerate(shown, start=1))
    # Cases are drawn as fast as the workers go, and memory stays flat: without batches, and
    # without the files in which joblib would keep large arrays until the end.
    pool = joblib.Parallel(n_jobs=n_jobs, return_as="generator", max_nbytes=None, batch_size=1)
    return pool(
        joblib.delayed(_on_case)(function, i, case) for i, case in enumerate(shown, start=1)
    )


def without_empty(rows: list[R], rule: Empty, stacklevel: int = 3) -> list[R]:
    """The rows of the cases that count; those without lesion are treated by the rule.

    The warning points `stacklevel` calls up, by default to the caller of the caller.
    """
    if not rows:
        raise ValueError("expected at least one calibration case, found none")
    empty = sum(row.empty for row in rows)
    if not empty or rule == "zero":
        return rows
    if rule == "refuse":
        names = [row.name for row in rows if row.empty]
        raise ValueError(f"{empty} cases have an empty truth, first {names[0]!r}")
    if empty == len(rows):
        raise ValueError(f"expected cases with a lesion, found {empty} with an empty truth")
    warnings.warn(
        f"{empty} of {len(rows)} cases have an empty truth and were left out: the guarantee "
        "is for cases that bear a lesion",
        stacklevel=stacklevel,
    )
    return [row for row in rows if not row.empty]


def check_empty_rule(rule: str) -> None:
    """Raise ValueError unless `rule` says what to do with cases without lesion."""
    if rule not in get_args(Empty):
        raise ValueError(f"empty must be one of {get_args(Empty)}, found {rule!r}")


def _on_case(function: Callable[[Case], T], position: int, case: Case) -> T:
    if not isinstance(case, Case):
        raise TypeError(f"case {position}: expected a Case, found a {type(case).__name__}")
    with naming(f"case {position} ({case.name!r})"):
        return function(case)
