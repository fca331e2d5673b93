"""One function over many cases, on several processes, without losing the faults of any."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import joblib
from tqdm.auto import tqdm

from ..manifest import Row
from ..nifti import files_of

T = TypeVar("T")


class Fault(NamedTuple):
    """Why a case has no result."""

    reason: str


class Pool(Protocol):
    """Processes that work on one case each; they read its files themselves.

    So memory does not grow with the number of cases.
    """

    def map(self, function: Callable[[Row], T], rows: Sequence[Row]) -> Iterator[T | Fault]:
        """The results in the order of the rows."""
        raise NotImplementedError


@dataclass(frozen=True)
class Processes:
    """Those of this machine; -1 is one for each core."""

    n_jobs: int

    def map(self, function: Callable[[Row], T], rows: Sequence[Row]) -> Iterator[T]:
        """The results in the order of the rows."""
        parallel = joblib.Parallel(n_jobs=self.n_jobs, return_as="generator", batch_size=1)
        return parallel(joblib.delayed(function)(row) for row in rows)


@contextmanager
def pool_of(options: argparse.Namespace) -> Iterator[Pool]:
    """The processes that `add_jobs` asked for; ValueError if a cluster does not answer."""
    if options.scheduler is None:
        yield Processes(options.n_jobs)
        return
    from .cluster import connected

    with connected(options.scheduler) as cluster:
        yield cluster


def each(
    function: Callable[[Row], T], rows: Sequence[Row], pool: Pool
) -> Iterator[tuple[Row, T | Fault]]:
    """Every row with its result, in order; a fault in one case does not stop the others."""
    results = pool.map(partial(_caught, function), rows)
    hidden = not sys.stderr.isatty()
    yield from zip(rows, tqdm(results, total=len(rows), unit="case", disable=hidden), strict=True)


def _caught(function: Callable[[Row], T], row: Row) -> T | Fault:
    try:
        return function(row)
    except (ValueError, OSError, MemoryError) as error:
        return Fault(_told(str(error) or type(error).__name__, row))
    # Nothing else is raised on purpose: it is a mistake of this package. It must neither cost the
    # other cases their results nor pass for a fault of the file, so it is told with its traceback.
    except Exception:
        return Fault(f"case {row.case!r}: {traceback.format_exc().rstrip()}")


def _told(reason: str, row: Row) -> str:
    """The reason with the case, and with the score map where no file is named."""
    case = "" if repr(row.case) in reason else f"case {row.case!r}: "
    named = row.score is None or any(str(file) in reason for file in files_of(row))
    return f"{case}{reason}{'' if named else f' (score: {row.score})'}"
