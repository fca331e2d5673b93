"""Provide a data set: fetch it, build its cases, and put the result in place in one step.

A data set ``NAME`` becomes the folder ``NAME`` of the destination, with ``cases.csv`` in it. The
folder appears whole, by being renamed. What is downloaded lies in ``.NAME.work`` until then, so
that a download that broke off goes on with the next call. One process works on a data set at a
time; others wait, and then find it there.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from confseg.manifest import read_manifest, write_manifest

from .checksums import (
    Record,
    problems,
    read_record,
    record_path,
    stamp_folder,
    write_record,
)
from .errors import ByHandError, DownloadError
from .registry import DataSet
from .sources import Source, by_hand, locate

MANIFEST = "cases.csv"
_TOLD = 5  # problems that are listed before they are only counted


@dataclass(frozen=True)
class Request:
    """How to get the data sets.

    Attributes
    ----------
    destination : pathlib.Path
        The folder that holds them.
    mirror : str or None
        A folder or an address instead of the public one.
    accept : callable
        Called with an entry whose terms must be accepted; returns whether they are.
    """

    destination: Path
    mirror: str | None
    accept: Callable[[DataSet], bool]


def provide(entry: DataSet, request: Request) -> None:
    """Make sure that a data set is there.

    Raises
    ------
    DownloadError
        If it could not be had.
    OSError
        If it could not be written.
    """
    request.destination.mkdir(parents=True, exist_ok=True)
    with _alone(request.destination, entry.name):
        folder = request.destination / entry.name
        wrong = look(entry, request.destination, thorough=False)
        if folder.exists() and not wrong:
            print(f"{entry.name}: already there, {folder / MANIFEST}", flush=True)
            return
        if folder.exists():
            print(f"{entry.name}: {in_short(wrong)}; it is made again", flush=True)
        if entry.needs == "account" and request.mirror is None:
            raise ByHandError(by_hand(entry))
        if entry.needs != "nothing" and not request.accept(entry):
            raise DownloadError(
                f"{entry.name}: its terms were not accepted ({entry.license}; {entry.source}). "
                "Read them, and say --yes"
            )
        _make(entry, request)


def look(entry: DataSet, destination: Path, thorough: bool) -> list[str]:
    """What is wrong with a data set in the destination; empty if it is whole.

    Parameters
    ----------
    entry : DataSet
        Which one.
    destination : pathlib.Path
        The folder that holds it.
    thorough : bool
        Compare checksums, not only sizes.

    Returns
    -------
    list of str
        One sentence per problem.
    """
    folder = destination / entry.name
    if not folder.exists():
        return [f"there is no {folder}"]
    record = read_record(record_path(destination, entry.name))
    if MANIFEST not in record.files:
        return [f"no record of what {folder} should hold"]
    return problems(folder, record.files, thorough)


def in_short(wrong: list[str]) -> str:
    """The first problems, and how many more there are."""
    more = f", and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
    return "; ".join(wrong[:_TOLD]) + more


def _make(entry: DataSet, request: Request) -> None:
    destination = request.destination
    record_file = record_path(destination, entry.name)
    record = read_record(record_file)
    manifest = destination / entry.name / MANIFEST
    with _workspace(destination / f".{entry.name}.work") as work:
        source = locate(entry, request.mirror, work, record.downloads)
        built = work / "built"
        built.mkdir()
        _build(entry, source, built)
        files = stamp_folder(built)
        _put_in_place(built, manifest.parent)
        write_record(record_file, Record({**record.downloads, **source.downloads}, files))
        # Only now: until here a next call goes on with what was downloaded.
        shutil.rmtree(work)
    print(f"{entry.name}: {len(read_manifest(manifest))} cases in {manifest}", flush=True)


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A folder of which a failure leaves only what was downloaded."""
    folder.mkdir(exist_ok=True)
    _tidy(folder)  # after a process that was killed
    try:
        yield folder
    finally:
        if folder.exists():
            _tidy(folder)
            if not any(folder.iterdir()):
                folder.rmdir()


def _tidy(folder: Path) -> None:
    for name in ("built", "old", "unpacked"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _build(entry: DataSet, source: Source, folder: Path) -> None:
    builder = importlib.import_module(f"{__package__}.{entry.builder}")
    try:
        rows = builder.build(entry, source, folder)
        write_manifest(folder / MANIFEST, rows)
    except (ValueError, EOFError) as error:
        raise DownloadError(f"{entry.name}: {error}") from error


def _put_in_place(built: Path, folder: Path) -> None:
    """Let the built folder take the place of the old one."""
    old = built.with_name("old")
    if folder.exists():
        folder.rename(old)
    built.rename(folder)


@contextmanager
def _alone(destination: Path, name: str) -> Iterator[None]:
    """Let one process at a time work on a data set; the lock ends with the process."""
    lock = FileLock(destination / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{name}: another process is at work on it; waiting", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
