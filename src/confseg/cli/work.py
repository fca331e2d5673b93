"""One function over many cases, on several processes, without losing the faults of any."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import joblib
from tqdm.auto import tqdm

from ..listing import first_few
from ..manifest import Row

T = TypeVar("T")


class Fault(NamedTuple):
    """Why a case has no result."""

    reason: str


def each(
    function: Callable[[Row], T], rows: Sequence[Row], n_jobs: int
) -> Iterator[tuple[Row, T | Fault]]:
    """Every row with its result, in order; a fault in one case does not stop the others.

    Files are read by the processes that work on them, so that memory does not grow with the
    number of cases.
    """
    pool = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)
    results = pool(joblib.delayed(_caught)(function, row) for row in rows)
    hidden = not sys.stderr.isatty()
    yield from zip(rows, tqdm(results, total=len(rows), unit="case", disable=hidden), strict=True)


def all_of(function: Callable[[Row], T], rows: Sequence[Row], n_jobs: int) -> list[T]:
    """The results of all rows.

    Raises
    ------
    ValueError
        If there is a fault in any; the message lists the first ones and counts the others.
    """
    results, faults = [], []
    for _, result in each(function, rows, n_jobs):
        if isinstance(result, Fault):
            faults.append(result)
        else:
            results.append(result)
    check_none(faults, len(rows))
    return results


def check_none(faults: Sequence[Fault], total: int, and_then: str = "") -> None:
    """Raise ValueError if there are faults, and say what follows from that."""
    if not faults:
        return
    told = first_few([fault.reason for fault in faults], between="\n  ")
    raise ValueError(f"{len(faults)} of {total} cases failed{and_then}:\n  {told}")


def _caught(function: Callable[[Row], T], row: Row) -> T | Fault:
    try:
        return function(row)
    except (ValueError, OSError) as error:
        named = repr(row.case) in str(error)
        return Fault(str(error) if named else f"case {row.case!r}: {error}")
