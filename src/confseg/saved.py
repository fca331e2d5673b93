"""A calibration in a file, together with how its cases were read and where they came from.

The file is what `to_json` writes, with two more entries, so that Python reads it as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import storage
from ._version import __version__
from .calibrated import FORMAT
from .case import naming
from .cls import CLS
from .conformal import SplitConformal
from .groups import FORMAT as GROUP_FORMAT
from .groups import Mondrian
from .manifest import Row, Rule
from .margins import Margin
from .nifti import Reading
from .sets import ConfidenceSets

_METHODS: dict[str, type[SplitConformal]] = {
    kind.__name__: kind for kind in (CLS, ConfidenceSets, Margin)
}


@dataclass(frozen=True)
class Saved:
    """A calibrated method and what belongs to it.

    Attributes
    ----------
    method : CLS, ConfidenceSets, Margin or Mondrian
        The calibrated method.
    reading : Reading
        How the files became cases.
    rules : tuple of str
        The label rules of the cases; empty where the calibration was kept by Python.
    provenance : dict of str to str
        Command, version, and source of the cases.
    """

    method: SplitConformal | Mondrian
    reading: Reading = field(default_factory=Reading)
    rules: tuple[str, ...] = ()
    provenance: dict[str, str] = field(default_factory=dict)

    def for_row(self, row: Row) -> SplitConformal:
        """The method for a case: that of its group where groups were calibrated.

        Raises
        ------
        ValueError
            If its group was not calibrated, or its label rule is another one.
        """
        if self.rules and row.rule.text not in self.rules:
            raise ValueError(
                f"case {row.case!r} has the label rule {row.rule.text!r}, calibrated was "
                f"{' and '.join(map(repr, self.rules))}"
            )
        if not isinstance(self.method, Mondrian):
            return self.method
        if row.group not in self.method.methods_:
            raise ValueError(
                f"case {row.case!r} is of group {row.group!r}, calibrated were "
                f"{list(self.method.methods_)}"
            )
        return self.method.methods_[row.group]

    def by_group(self) -> dict[str, SplitConformal]:
        """The methods by the name of the group; "" where there are no groups."""
        return self.method.methods_ if isinstance(self.method, Mondrian) else {"": self.method}

    def one_rule(self) -> Rule:
        """The label rule for cases that name none.

        Raises
        ------
        ValueError
            If the calibration cases had several.
        """
        if len(self.rules) > 1:
            raise ValueError(f"the calibration has the label rules {self.rules}: give a manifest")
        return Rule(*self.rules)


def provenance(command: str, name: str, sha256: str) -> dict[str, str]:
    """Where numbers come from: the command, the version, the source of the cases."""
    return {
        "command": command,
        "confseg_version": __version__,
        "cases": name,
        "cases_sha256": sha256,
    }


def write_saved(path: Path, saved: Saved) -> None:
    """Write a calibration, whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The JSON file; its folder must exist.
    saved : Saved
        The calibration.
    """
    data = {
        **json.loads(saved.method.to_json()),
        "reading": {**asdict(saved.reading), "rules": saved.rules},
        "provenance": saved.provenance,
    }
    data = json.loads(json.dumps(data))  # tuples as JSON gives them back
    storage.seal(data, path)


def read_saved(path: Path) -> Saved:
    """Read a calibration.

    Parameters
    ----------
    path : pathlib.Path
        The JSON file.

    Returns
    -------
    Saved
        The calibration.

    Raises
    ------
    ValueError
        If the file is damaged, or holds the calibration of another method or of a user's own
        field, which only Python can use.
    """
    label, data = storage.load(path)
    with naming(label):
        kind = _kind(data)
    by_group = data["format"] == GROUP_FORMAT
    method = Mondrian.from_json(path, kind) if by_group else kind.from_json(path)
    reading = data.get("reading", {})
    return Saved(
        method,
        Reading(reading.get("channel"), _tuple(reading.get("labels"))),
        tuple(reading.get("rules", ())),
        data.get("provenance", {}),
    )


def _kind(data: Any) -> type[SplitConformal]:
    """The class of the calibrated method, of the first group where there are several."""
    storage.check_seal(data, FORMAT, GROUP_FORMAT)
    name = data.get("method")
    if data["format"] == GROUP_FORMAT:
        name = next((stored["method"] for stored in data["groups"].values()), None)
    if "weights" in data:
        raise ValueError("the calibration is weighted for one new case; only Python can use it")
    if name not in _METHODS:
        raise ValueError(f"calibration of {name!r}, expected one of {sorted(_METHODS)}")
    return _METHODS[name]


def _tuple(values: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)
