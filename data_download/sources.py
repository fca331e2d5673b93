"""Where the files of a data set come from: their public address, a mirror, or a reader's disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pooch

from .checksums import Stamp, all_files, digest, stamp, stamp_folder
from .errors import ByHandError, DownloadError
from .registry import DataSet, File
from .transfer import fetch, need_space
from .unpack import unpack

Bring = Callable[[Path, Path], None]
"""Puts a file of the source to its place in the data set: moved, or copied if it is a mirror's."""


@dataclass(frozen=True)
class Source:
    """What the builders read.

    Attributes
    ----------
    path : pathlib.Path
        A file, or a folder in the layout of the publisher.
    bring : callable
        Puts one of its files to another place.
    downloads : dict of str to Stamp
        What was fetched for it.
    """

    path: Path
    bring: Bring
    downloads: Mapping[str, Stamp]


def locate(entry: DataSet, mirror: str | None, work: Path, recorded: Mapping[str, Stamp]) -> Source:
    """Get the source of a data set.

    Parameters
    ----------
    entry : DataSet
        Which one.
    mirror : str or None
        A folder or an address to take it from; None for the public address.
    work : pathlib.Path
        A folder for what is downloaded and unpacked.
    recorded : mapping of str to Stamp
        What an earlier download of this data set was.

    Returns
    -------
    Source
        The files, checked as far as checksums are known.

    Raises
    ------
    ByHandError
        If it must be got by hand.
    DownloadError
        If it could not be had.
    """
    if entry.made_of:
        return Source(work, _copy, {})
    if mirror is not None and "://" not in mirror:
        return _from_folder(entry, Path(mirror).expanduser(), work, recorded)
    if not entry.files:
        raise ByHandError(by_hand(entry))
    (file,) = entry.files
    url = file.url if mirror is None else f"{mirror.rstrip('/')}/{quote(file.name)}"
    archive = fetch(url, file.name, work, _known_hash(file, recorded))
    return _from_archive(entry, archive, work)


def by_hand(entry: DataSet) -> str:
    """How to get a data set that lies behind a form."""
    return (
        f"{entry.name} is not downloaded: {entry.source} asks for an account or a form. "
        f"{entry.by_hand} Then: python -m data_download {entry.name} --mirror FOLDER, where FOLDER "
        f"holds {entry.mirror}"
    )


def _known_hash(file: File, recorded: Mapping[str, Stamp]) -> str | None:
    """The published checksum, or that of the first download."""
    if file.known_hash is None and file.name in recorded:
        return f"sha256:{recorded[file.name].sha256}"
    return file.known_hash


def _from_folder(entry: DataSet, mirror: Path, work: Path, recorded: Mapping[str, Stamp]) -> Source:
    """Take it from a folder on this disk: as it is, or as the archive that is downloaded."""
    if not mirror.is_dir():
        raise DownloadError(f"the mirror {mirror} is no folder")
    whole = mirror / entry.mirror
    if whole.exists():
        _say_whether_checked(entry, whole)
        return Source(whole, _copy, {})
    for file in entry.files:
        archive = mirror / file.name
        if archive.is_file():
            _check_archive(archive, file, recorded)
            return _from_archive(entry, archive, work)
    names = " nor ".join([entry.mirror, *(file.name for file in entry.files)])
    raise DownloadError(f"{entry.name}: the mirror {mirror} holds no {names}")


def _check_archive(archive: Path, file: File, recorded: Mapping[str, Stamp]) -> None:
    """Raise DownloadError if the archive of a mirror is not the published one."""
    known = _known_hash(file, recorded)
    if known is None:
        return
    algorithm, expected = known.split(":")
    found = pooch.file_hash(str(archive), alg=algorithm)
    if found != expected:
        raise DownloadError(f"{archive} has {algorithm} {found}, expected {expected}")


def _from_archive(entry: DataSet, archive: Path, work: Path) -> Source:
    folder = work / "unpacked"
    folder.mkdir()
    try:
        unpack(archive, entry.members, folder)
    except DownloadError:
        # What arrived damaged must not be found there by the next call.
        if archive.parent == work:
            archive.unlink()
        raise
    return Source(folder, _move, {archive.name: stamp(archive)})


def _say_whether_checked(entry: DataSet, path: Path) -> None:
    """Tell whether a mirror holds the very files that this project worked with."""
    if entry.checked is None:
        return
    stamps = stamp_folder(path) if path.is_dir() else {path.name: stamp(path)}
    if digest(stamps) == entry.checked.digest:
        print(f"{entry.name}: {len(stamps)} files, all as they were checked", flush=True)
    elif path.is_file():
        raise DownloadError(
            f"{path} has SHA-256 {digest(stamps)}, expected {entry.checked.digest}: it is damaged, "
            "or another version"
        )
    else:
        print(
            f"{entry.name}: {path} holds {len(stamps)} files, not the {entry.checked.files} that "
            f"were checked ({entry.checked.what}); each is checked when it is read, and results "
            "may differ from the book's",
            flush=True,
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    need_space(target.parent, source.stat().st_size, f"copying {source.name}")
    shutil.copyfile(source, target)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Files below a folder whose path from there matches a glob pattern, hidden ones left out.

    Raises
    ------
    DownloadError
        If there is none.
    """
    found = [path for path in all_files(folder) if path.relative_to(folder).match(pattern)]
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise DownloadError(f"{folder} holds no {pattern}")
    return found
