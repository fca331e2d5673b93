"""A journal: what a long run has finished, kept line by line, so that another can go on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Self

from .storage import naming_file


class Journal:
    """Results by key, each on the disk as soon as it is there.

    Every line is appended in one piece. A line that was cut off, by a crash or a full disk, is
    passed over, and its result is made again.

    Parameters
    ----------
    path : pathlib.Path
        The file; made if it is not there, read if it is.
    settings : str
        What the results depend on besides their keys. Results under other settings are dropped.

    Attributes
    ----------
    dropped : bool
        Whether there were results under other settings.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self.path = path
        self.dropped = False
        self._places: dict[str, int] = {}
        self._open()
        self._load(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        try:
            with naming_file(self.path):  # what a full disk did not take is tried again
                self._file.close()
        finally:
            # An empty one says that an interrupted run was here before its first result.
            if not self._places and fault is not KeyboardInterrupt:
                self.remove()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> str:
        self._file.seek(self._places[key])
        return json.loads(self._file.readline())[1]

    def __setitem__(self, key: str, result: str) -> None:
        self._places[key] = self._append([key, result])

    def remove(self) -> None:
        """Delete the file, once its results are elsewhere."""
        self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        # Reads from anywhere, writes at the end, also where two runs write at once.
        self._file = self.path.open("a+b")

    def _load(self, settings: str) -> None:
        self._file.seek(0)
        if _parsed(self._file.readline()) != ["settings", settings]:
            self.dropped = self._file.seek(0, os.SEEK_END) > 0
            if self.dropped:  # another file: a run under the other settings may still read its own
                self._file.close()
                self.remove()
                self._open()
            self._append(["settings", settings])
            return
        place, line = self._file.tell(), b"\n"
        while following := self._file.readline():
            line = following
            if entry := _parsed(line):
                self._places[entry[0]] = place
            place += len(line)
        if not line.endswith(b"\n"):
            self._file.write(b"\n")

    def _append(self, entry: list[str]) -> int:
        line = json.dumps(entry).encode() + b"\n"
        with naming_file(self.path):
            self._file.write(line)
            self._file.flush()
        return self._file.tell() - len(line)


def _parsed(line: bytes) -> list[str] | None:
    """The two texts of a line; None for a damaged one."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, list) and len(entry) == 2 else None
