"""JSON with a checksum, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, BinaryIO

Path = str | os.PathLike[str]

FORMAT_VERSION = 1


def seal(data: dict[str, Any], path: Path | None = None) -> str:
    """The JSON text of `data` with its checksum, also written to `path` if one is given."""
    text = json.dumps({**data, "sha256": digest(data)}, indent=1, allow_nan=False)
    if path is not None:
        write_whole(FilePath(path), lambda stream: stream.write(text.encode()))
    return text


def load(source: Path) -> tuple[str, Any]:
    """What a message calls the source, a file or a text, and what JSON it holds."""
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    label = "the JSON text" if is_text else str(source)
    try:
        return label, json.loads(str(source) if is_text else FilePath(source).read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{label} is damaged: {error}") from error


def check_seal(data: Any, *formats: str) -> None:
    """Raise ValueError unless `data` is of one of the formats, and as it was when sealed."""
    if not isinstance(data, dict) or data.get("format") not in formats:
        raise ValueError(f"not a {formats[0]}")
    if (version := data.get("format_version", FORMAT_VERSION)) != FORMAT_VERSION:
        raise ValueError(f"format version {version!r}, expected {FORMAT_VERSION}")
    if data.get("sha256") != digest(data):
        raise ValueError("damaged: the contents do not match their checksum")


def digest(data: dict[str, Any]) -> str:
    """SHA-256 of everything but the checksum itself, whatever the layout of the text."""
    content = {key: value for key, value in data.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_whole(path: FilePath, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is either there and whole, or not there at all.

    It is written under a name nobody else uses, forced to the disk, and then renamed. Of two
    processes that do so at once the last wins, and readers see one whole file or the other.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    write : callable
        Called with an open binary file.

    Raises
    ------
    OSError
        If it cannot be written; the message names the file.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with naming_file(path, unfinished):
            with unfinished.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def naming_file(path: FilePath, unfinished: FilePath | None = None) -> Iterator[None]:
    """Let an OSError name `path`: a full disk does not say for which file.

    Parameters
    ----------
    path : pathlib.Path
        The file that is being written.
    unfinished : pathlib.Path, optional
        Its name until it is whole, which has no meaning to anybody.
    """
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, str(unfinished)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
