"""A manifest: one row of a CSV file per case, with the paths of its score map and its true mask.

Columns: ``case``, ``patient``, ``group``, ``score``, ``truth``, ``rule``; others are kept as they
are. Paths count from the folder of the manifest, unless they are absolute. The rule says which
labels of the truth are the lesion, such as ``label > 0`` or ``label >= 2``.
"""

from __future__ import annotations

import csv
import io
import operator
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .storage import write_whole

COLUMNS = ("case", "patient", "group", "score", "truth", "rule")
"""The columns that every manifest has, in this order."""

PATHS = ("score", "truth")
"""The columns that name a file; empty where there is none."""

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_RULE = re.compile(r"label\s*(>=|>|==)\s*(\d+)")
_TOLD = 5  # problems that a message lists before it only counts them


@dataclass(frozen=True)
class Rule:
    """Which labels are the lesion.

    Parameters
    ----------
    text : str
        ``label > n``, ``label >= n`` or ``label == n``, with a whole number n.

    Raises
    ------
    ValueError
        If the text says something else, or also takes the background, label 0.

    Examples
    --------
    >>> Rule("label >= 2").mask([0, 1, 2, 3])
    array([False, False,  True,  True])
    """

    text: str = "label > 0"

    def __post_init__(self) -> None:
        if not _RULE.fullmatch(self.text):
            raise ValueError(
                f"the label rule must read like 'label > 0', 'label >= 2' or 'label == 1', "
                f"found {self.text!r}"
            )
        if self.mask(0).any():
            raise ValueError(f"the label rule {self.text!r} takes the background (0) for lesion")

    def mask(self, labels: ArrayLike) -> NDArray[np.bool_]:
        """The lesion: where the rule holds.

        Parameters
        ----------
        labels : array_like
            Label image.

        Returns
        -------
        ndarray of bool, same shape
            True in the lesion.
        """
        match = _RULE.fullmatch(self.text)
        assert match is not None, "checked when the rule was made"
        return np.asarray(_OPERATORS[match[1]](np.asarray(labels), int(match[2])))


@dataclass(frozen=True)
class Row:
    """One case of a manifest.

    Attributes
    ----------
    case : str
        Its name, which no other case of the manifest has.
    patient, group : str
        Whose it is and which group it belongs to; empty if unknown.
    score, truth : pathlib.Path or None
        The score map and the label image; None where there is none.
    rule : Rule
        Which labels of the truth are the lesion.
    extra : dict of str to str
        The other columns.
    """

    case: str
    patient: str = ""
    group: str = ""
    score: Path | None = None
    truth: Path | None = None
    rule: Rule = field(default_factory=Rule)
    extra: Mapping[str, str] = field(default_factory=dict)


def read_manifest(path: str | Path, needed: Sequence[str] = (), truths: bool = True) -> list[Row]:
    """Read a manifest and check it.

    Parameters
    ----------
    path : str or pathlib.Path
        The CSV file.
    needed : sequence of {"score", "truth"}, optional
        Files that every case must have.
    truths : bool, default True
        Whether truths count. Without them the columns ``case`` and ``score`` are enough, and what
        the manifest says of truths is passed over.

    Returns
    -------
    list of Row
        The cases in the order of the file, their paths complete.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or files that it names are missing.
    ValueError
        If it is no such table: not text, without one of the columns or without cases, with a
        name twice, a row of another length, an unknown rule, a case that lacks a needed file,
        whose score is its truth, or whose files and rule are those of another case.
        The message names the first lines at fault and counts the others.
    """
    path = Path(path)
    header, records = _read_table(path)
    _check_header(path, header, COLUMNS if truths else ("case", "score"))
    problems: list[str] = []
    rows: list[Row] = []
    for line, record in records:
        try:
            row = _row(header, record, path.parent, needed)
            rows.append(row if truths else replace(row, truth=None))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    repeated = Counter(row.case for row in rows)
    problems += [f"case {name!r} comes {n} times" for name, n in repeated.items() if n > 1]
    problems += _shared_files(rows)
    if problems:
        raise ValueError(_listed(path, problems))
    if not rows:
        raise ValueError(f"{path} holds no cases, only the names of the columns")
    missing = [
        f"case {row.case!r}: no {column} file {file}"
        for row in rows
        for column in PATHS
        if (file := getattr(row, column)) is not None and not file.is_file()
    ]
    if missing:
        raise FileNotFoundError(_listed(path, missing))
    return rows


def write_manifest(path: str | Path, rows: Iterable[Row]) -> None:
    """Write a manifest, whole or not at all.

    Parameters
    ----------
    path : str or pathlib.Path
        The CSV file; its folder must exist.
    rows : iterable of Row
        The cases. Paths below the folder of the manifest are written as seen from there.

    Raises
    ------
    ValueError
        If there are no cases, two have the same name, or they have different extra columns.
    """
    path, rows = Path(path), list(rows)
    if not rows:
        raise ValueError(f"no cases to write to {path}")
    repeated = [name for name, n in Counter(row.case for row in rows).items() if n > 1]
    if repeated:
        raise ValueError(_listed(path, [f"case {name!r} comes twice" for name in repeated]))
    extra = list(rows[0].extra)
    for row in rows:
        if list(row.extra) != extra:
            raise ValueError(
                f"case {row.case!r} has the extra columns {list(row.extra)}, the first has {extra}"
            )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, *extra])
    table.writerows(_record(row, path.parent) for row in rows)
    write_whole(path, lambda stream: stream.write(text.getvalue().encode()))


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each record with the line on which it ends; blank lines are passed over."""
    try:
        # A spreadsheet may put a mark before the first byte.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(table, [])]
            return header, [(table.line_num, record) for record in table if any(record)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}") from error


def _check_header(path: Path, header: list[str], expected: Sequence[str]) -> None:
    missing = [name for name in expected if name not in header]
    if missing:
        hint = (
            ". Is it separated by semicolons? Commas are expected" if ";" in "".join(header) else ""
        )
        raise ValueError(f"{path} lacks the columns {missing}, found {header}{hint}")
    repeated = [name for name, n in Counter(header).items() if n > 1]
    if repeated:
        raise ValueError(f"{path} has columns that come twice: {repeated}")


def _row(header: list[str], record: list[str], folder: Path, needed: Sequence[str]) -> Row:
    """One record as a row; ValueError if it is none."""
    if len(record) != len(header):
        raise ValueError(f"{len(record)} fields, expected {len(header)}")
    named = dict(zip(header, (value.strip() for value in record), strict=True))
    values = {**dict.fromkeys(COLUMNS, ""), **named}
    if not values["case"]:
        raise ValueError("the case has no name")
    lacking = [column for column in needed if not values[column]]
    if lacking:
        raise ValueError(f"case {values['case']!r} has no {' and no '.join(lacking)}")
    files = {column: folder / values[column] if values[column] else None for column in PATHS}
    return Row(
        case=values["case"],
        patient=values["patient"],
        group=values["group"],
        score=files["score"],
        truth=files["truth"],
        rule=Rule(values["rule"]) if values["rule"] else Rule(),
        extra={name: value for name, value in named.items() if name not in COLUMNS},
    )


def _shared_files(rows: list[Row]) -> list[str]:
    """Cases that are their own truth, and cases that are another one under a new name."""
    problems: list[str] = []
    first: dict[tuple[str, str, Rule], str] = {}
    for row in rows:
        if row.score is None or row.truth is None:
            continue
        # One file has many paths: through other folders, through links.
        score, truth = os.path.realpath(row.score), os.path.realpath(row.truth)
        if score == truth:
            problems.append(f"case {row.case!r}: one file is both score and truth, {row.score}")
        same = first.setdefault((score, truth, row.rule), row.case)
        if same != row.case:
            problems.append(f"case {row.case!r} has the files and the rule of case {same!r}")
    return problems


def _record(row: Row, folder: Path) -> list[str]:
    files = [_seen_from(folder, getattr(row, column)) for column in PATHS]
    return [row.case, row.patient, row.group, *files, row.rule.text, *row.extra.values()]


def _seen_from(folder: Path, path: Path | None) -> str:
    if path is None:
        return ""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _listed(path: Path, problems: list[str]) -> str:
    told = "\n  ".join(problems[:_TOLD])
    more = f"\n  and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    return f"{path}:\n  {told}{more}"
