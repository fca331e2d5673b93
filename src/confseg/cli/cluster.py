"""The processes of a Dask cluster.

joblib's own Dask backend hands over no result before the last case is done, and takes a task that
was lost for one that is done; so the cluster is asked directly.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .._version import __version__
from ..manifest import Row
from .work import Fault

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

AHEAD = 1000
"""Cases handed to the scheduler before the first of them is back: memory stays flat."""

TO_CONNECT = 10
"""Seconds within which the scheduler has to answer."""

TO_FIND_WORKERS = 60
"""Seconds that the scheduler may be without any worker."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a scheduler. All of them see the files under the same paths.

    A case whose worker dies goes to another worker. One that takes down several of them, more
    than the scheduler's setting ``allowed-failures``, is a fault.
    """

    client: Client
    address: str

    def map(self, function: Callable[[Row], T], rows: Sequence[Row]) -> Iterator[T | Fault]:
        """The results in the order of the rows."""
        run = f"confseg-{secrets.token_hex(8)}"
        under_way: deque[tuple[Row, Future]] = deque()
        # A task of its own: a worker gets the function, with the calibration in it, once.
        sent = self.client.submit(_itself, function, key=f"{run}-function", pure=False)
        for i, row in enumerate(rows):
            # Keys of one group: the scheduler then holds cases back, instead of dealing all of
            # them out, and a worker that dies takes the blame for few.
            future = self.client.submit(_call, sent, _anywhere(row), key=(run, i), pure=False)
            under_way.append((row, future))
            if len(under_way) == AHEAD:
                yield self._result(*under_way.popleft())
        while under_way:
            yield self._result(*under_way.popleft())

    def _result(self, row: Row, future: Future) -> T | Fault:
        from distributed import KilledWorker

        try:
            while True:
                try:
                    return future.result(timeout=TO_CONNECT)
                except TimeoutError:  # the case takes long, or there is nobody to work on it
                    _wait_for_workers(self.client, self.address)
        except KilledWorker:
            return Fault(
                f"case {row.case!r}: the workers that had it died one after the other; did they "
                "run out of memory?"
            )
        except (CancelledError, OSError) as error:
            raise ValueError(f"the scheduler at {self.address} was lost") from error


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster of a scheduler.

    Raises
    ------
    ValueError
        If Dask is not installed, the address is none, the scheduler does not answer, there are no
        workers, or they have another version of this package.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            "--scheduler needs Dask, which is not installed: pip install 'confseg[cluster]'"
        ) from error
    _check_form(address)
    # What goes wrong is told in a sentence; Dask would add its own pages to it.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=TO_CONNECT, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:  # TypeError: TLS without certificates
        raise ValueError(
            f"no scheduler answers at {address} within {TO_CONNECT} seconds: {error}"
        ) from error
    with client:
        _wait_for_workers(client, address)
        _check_versions(client)
        yield Cluster(client, address)


def _check_form(address: str) -> None:
    """Raise ValueError unless a client can be made: one half made complains at the very end."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(address)
        get_backend(scheme)
        parse_host_port(place)
    except ValueError as error:
        raise ValueError(
            f"--scheduler {address}: expected an address such as tcp://HOST:8786 ({error})"
        ) from error


def _wait_for_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=TO_FIND_WORKERS)
    except TimeoutError as error:
        raise ValueError(
            f"the scheduler at {address} has had no worker for {TO_FIND_WORKERS} seconds"
        ) from error


def _check_versions(client: Client) -> None:
    """Other versions of the package might give other numbers."""
    try:
        versions = client.run(_version)
    except ModuleNotFoundError as error:
        raise ValueError(f"a worker of the cluster cannot import confseg: {error}") from error
    for worker, version in versions.items():
        if version != __version__:
            raise ValueError(f"the worker {worker} has confseg {version}, here is {__version__}")


def _version() -> str:
    return __version__


def _itself(function: Callable[[Row], T]) -> Callable[[Row], T]:
    return function


def _call(function: Callable[[Row], T], row: Row) -> T:
    return function(row)


def _anywhere(row: Row) -> Row:
    """The row with paths that do not count from the folder in which the command runs."""
    return replace(row, score=_absolute(row.score), truth=_absolute(row.truth))


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()
