"""What was downloaded and what was built of it, with checksums, in one file per data set.

The file ``<name>.checksums.json`` lies beside the folder of the data set and outlives it: where
no checksum was published, a second download is compared with the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from confseg.storage import write_whole

from .errors import DownloadError


@dataclass(frozen=True)
class Stamp:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """Stamps of the downloads by file name, and of the built files by their place in the set."""

    downloads: Mapping[str, Stamp] = field(default_factory=dict)
    files: Mapping[str, Stamp] = field(default_factory=dict)


def record_path(destination: Path, name: str) -> Path:
    """Where the record of a data set lies."""
    return destination / f"{name}.checksums.json"


def read_record(path: Path) -> Record:
    """The record in a file; an empty one if there is none.

    Raises
    ------
    DownloadError
        If the file holds something else.
    """
    try:
        data = json.loads(path.read_bytes())
        return Record(*(_stamps(data[part]) for part in ("downloads", "files")))
    except FileNotFoundError:
        return Record()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(
            f"{path} is damaged ({error!r}); remove it, and the data set is made again"
        ) from error


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    text = json.dumps(asdict(record), indent=1, sort_keys=True)
    write_whole(path, lambda stream: stream.write(f"{text}\n".encode()))


def stamp(path: Path) -> Stamp:
    """Size and SHA-256 of a file."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Stamp(path.stat().st_size, sha256)


def stamp_folder(folder: Path) -> dict[str, Stamp]:
    """Stamps of every file below a folder, by the path from there."""
    return {path.relative_to(folder).as_posix(): stamp(path) for path in all_files(folder)}


def all_files(folder: Path) -> list[Path]:
    """Every file below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digest(stamps: Mapping[str, Stamp]) -> str:
    """One SHA-256 for many files and their names; for a single file its own."""
    if len(stamps) == 1:
        return next(iter(stamps.values())).sha256
    lines = (f"{stamps[name].sha256}  {name}\n" for name in sorted(stamps))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def problems(folder: Path, stamps: Mapping[str, Stamp], thorough: bool) -> list[str]:
    """What is not as it was recorded; without `thorough` only sizes are looked at."""
    return [problem for name in stamps for problem in _look(folder, name, stamps[name], thorough)]


def _look(folder: Path, name: str, expected: Stamp, thorough: bool) -> Iterable[str]:
    path = folder / name
    if not path.is_file():
        yield f"{name} is missing"
    elif (size := path.stat().st_size) != expected.size:
        yield f"{name} has {size:,} bytes, expected {expected.size:,}"
    elif thorough and (found := stamp(path).sha256) != expected.sha256:
        yield f"{name} has SHA-256 {found}, expected {expected.sha256}"


def _stamps(table: Mapping[str, Mapping[str, object]]) -> dict[str, Stamp]:
    return {name: Stamp(**fields) for name, fields in table.items()}  # type: ignore[arg-type]
