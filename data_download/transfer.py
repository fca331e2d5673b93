"""Download a file over HTTP: resumed where it broke off, checked, and whole or not there.

`pooch` checks and renames; what it lacks, going on where a download broke off, is added here as
one of its downloaders. What has arrived so far lies in ``<name>.part``; beside it stands how the
server marked that version of the file, so that no two versions are ever joined.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from .errors import DownloadError

ATTEMPTS = 3
"""So often in a row may a download break off without a new byte."""

TIMEOUT = (20.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

PAUSE = 2.0
"""Seconds before the next attempt."""

_CHUNK = 1 << 16  # bytes; when the connection breaks, up to so many are lost
_RESERVE = 100_000_000  # bytes of free space that are left alone

# Neither the address nor the file will get better by trying again.
_FINAL = {400, 401, 403, 404, 405, 410, 451}


def fetch(url: str, name: str, folder: Path, known_hash: str | None) -> Path:
    """Download a file, and go on with it for as long as bytes arrive.

    Parameters
    ----------
    url : str
        Where it is.
    name : str
        What to call it.
    folder : pathlib.Path
        Where to put it; it holds what has arrived of it in the meantime.
    known_hash : str or None
        Such as ``"sha256:..."``; None accepts whatever comes.

    Returns
    -------
    pathlib.Path
        The whole file.

    Raises
    ------
    DownloadError
        If it is not there, does not come, or is another file.
    """
    pooch.get_logger().setLevel("ERROR")  # what there is to say is said here
    part = Part(folder / f"{name}.part")
    idle, previous = 0, ""
    while True:
        had = part.size
        try:
            return Path(
                pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=Resuming(part))
            )
        except requests.RequestException as error:
            reason = _in_words(error)
            idle = idle + 1 if part.size <= had else 0
        except ValueError as error:  # from pooch: another checksum
            if str(error) == previous:
                raise DownloadError(
                    f"{url} is not the file it was: {error} It came twice like this, so it was "
                    "not damaged on the way: its publisher has changed it. Please report it. "
                    "To use it all the same, unpack it and name the folder with --mirror"
                ) from error
            previous = reason = str(error)
        if idle >= ATTEMPTS:
            raise DownloadError(
                f"{url} could not be downloaded. {ATTEMPTS} times in a row nothing came. What had "
                f"arrived ({part.size:,} bytes) is kept, and the next call goes on from there. "
                f"The last problem: {reason}"
            )
        print(f"{name}: {reason} Trying again", file=sys.stderr, flush=True)
        time.sleep(PAUSE)


def need_space(folder: Path, size: int, what: str) -> None:
    """Raise DownloadError unless `size` bytes fit into the file system of `folder`."""
    free = shutil.disk_usage(folder).free
    if size + _RESERVE > free:
        raise DownloadError(
            f"{what} needs {size / 1e9:.2f} GB, and only {free / 1e9:.2f} GB are free in {folder} "
            f"(of which {_RESERVE / 1e9:.1f} GB are left alone). Make room, or name another folder "
            "with --dest"
        )


@dataclass(frozen=True)
class Part:
    """What has arrived of a file, and how the server marked that version of it."""

    path: Path

    @property
    def mark(self) -> Path:
        """The file that holds the server's mark."""
        return self.path.with_name(f"{self.path.name}.version")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def request(self) -> dict[str, str]:
        """Headers that ask for the rest of the same version, or for everything."""
        # Compressed on the way, the bytes could not be counted.
        headers = {"Accept-Encoding": "identity"}
        if self.size and self.mark.exists():
            headers |= {"Range": f"bytes={self.size}-", "If-Range": self.mark.read_text()}
        return headers

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start anew, and note the version that now arrives."""
        self.path.unlink(missing_ok=True)
        mark = headers.get("ETag", "")
        # A weak tag does not promise the same bytes.
        if not mark or mark.startswith("W/"):
            mark = headers.get("Last-Modified", "")
        if mark:
            self.mark.write_text(mark)
        else:
            self.mark.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)


class Resuming:
    """A downloader for pooch that goes on where the last attempt broke off."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Bring the file at `url` to `output_file`."""
        part = self.part
        with requests.get(url, headers=part.request(), stream=True, timeout=TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                part.remove()
            _check_answer(response)
            if not _goes_on(response, part.size):
                part.begin(response.headers)
            self._receive(response, Path(output_file).parent)
        os.replace(part.path, output_file)
        part.mark.unlink(missing_ok=True)

    def _receive(self, response: requests.Response, folder: Path) -> None:
        """Append the body of an answer to the part."""
        part = self.part
        coming = int(response.headers.get("Content-Length", 0))
        total = part.size + coming
        need_space(folder, coming, part.path.stem)
        bar = tqdm(
            desc=part.path.stem,
            total=total or None,
            initial=part.size,
            unit="B",
            unit_scale=True,
            disable=None,
        )
        with bar, part.path.open("ab") as stream:
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                bar.update(len(chunk))
        if coming and part.size != total:
            raise requests.ConnectionError(f"it broke off after {part.size:,} of {total:,} bytes")


def _goes_on(response: requests.Response, size: int) -> bool:
    """Whether an answer begins where the first `size` bytes end."""
    span = response.headers.get("Content-Range", "")
    partial = response.status_code == requests.codes.partial_content
    return partial and span.startswith(f"bytes {size}-")


def _check_answer(response: requests.Response) -> None:
    """Raise unless a file is coming: DownloadError if trying again is useless."""
    if response.status_code in _FINAL:
        raise DownloadError(
            f"{response.url} answers {response.status_code} ({response.reason}): the file has "
            "moved, or is not public. Take it from a mirror with --mirror, and please report it"
        )
    response.raise_for_status()
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            f"{response.url} sends a web page instead of the file: it wants a login or a click. "
            "Download it in a browser, and name the folder with --mirror"
        )


def _in_words(error: requests.RequestException) -> str:
    """What happened, without the objects that requests puts into its messages."""
    if isinstance(error, requests.Timeout):
        return f"nothing came for {TIMEOUT[1]:g} seconds."
    if error.response is not None:
        return f"the server answers {error.response.status_code} ({error.response.reason})."
    return f"the connection broke ({error})."
