"""Take chosen members out of an archive: none lands elsewhere, and a damaged archive is told."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from .errors import DownloadError
from .transfer import need_space

# What tarfile and zipfile raise on an archive that is cut short or altered.
_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
)


def unpack(archive: Path, pattern: str, folder: Path) -> int:
    """Unpack the members of a zip or tar archive whose names match.

    Parameters
    ----------
    archive : pathlib.Path
        The archive, compressed or not.
    pattern : str
        Regular expression for the whole name of a member.
    folder : pathlib.Path
        Where to put them. The first folder in the archive is left out: it is the archive's own.

    Returns
    -------
    int
        How many files were unpacked.

    Raises
    ------
    DownloadError
        If the archive is damaged, holds no such member, or one that would land outside of
        `folder`, or if the disk is too small.
    """
    try:
        with _opened(archive) as members:
            chosen = {
                name: entry for name, entry in members.sizes().items() if re.match(pattern, name)
            }
            if not chosen:
                raise DownloadError(f"{archive.name} holds nothing that matches {pattern}")
            need_space(folder, sum(chosen.values()), f"unpacking {archive.name}")
            for name in tqdm(chosen, f"unpacking {archive.name}", disable=None):
                target = folder / _inner(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with members.open(name) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except _UNREADABLE as error:
        raise DownloadError(f"{archive.name} is damaged: {error}") from error
    return len(chosen)


def _inner(name: str) -> PurePosixPath:
    """The path of a member below the archive's own folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DownloadError(f"the archive holds {name!r}, which would land outside of its folder")
    return PurePosixPath(*path.parts[1:]) if len(path.parts) > 1 else path


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def sizes(self) -> dict[str, int]:
        return {one.filename: one.file_size for one in self.archive.infolist() if not one.is_dir()}

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.members = {
            one.name.removeprefix("./"): one for one in archive.getmembers() if one.isfile()
        }

    def sizes(self) -> dict[str, int]:
        return {name: one.size for name, one in self.members.items()}

    def open(self, name: str) -> IO[bytes]:
        stream = self.archive.extractfile(self.members[name])
        assert stream is not None, "only files are listed"
        return stream


@contextmanager
def _opened(path: Path) -> Iterator[_Zip | _Tar]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _Zip(archive)
    else:
        with tarfile.open(path) as archive:
            yield _Tar(archive)
