"""``confseg report``: what an auditor would ask of a calibration, in one file."""

from __future__ import annotations

import argparse
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..assess import Assessment, calibration_scores, name_of
from ..conformal import SplitConformal
from ..listing import first_few
from ..manifest import Row
from ..nifti import read_case
from ..report import Order, Subject, page
from ..saved import read_saved
from ..storage import write_whole
from .arguments import add_cases, add_jobs, add_output, check_file
from .evaluate import assessed, cases_of

_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}.*)?)?")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="a page about a calibration, for an auditor",
        description="Measure the calibration cases anew, compare them with the calibration, and "
        "write one HTML file that can be printed: data, promise, cut-offs, checks, worst cases. "
        "A run that was interrupted goes on where it stopped.",
    )
    parser.add_argument("calibration", metavar="CALIBRATION", type=Path, help="the .json file")
    add_cases(parser)
    add_output(parser, "page to write, .html")
    parser.add_argument(
        "--order",
        metavar="COLUMN",
        help="column of the manifest along which drift is looked for, of numbers or of dates such "
        "as 2026-01-31 (default: the order of the list)",
    )
    add_jobs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure, compare, and write the page."""
    check_file(options.output, ".html")
    saved = read_saved(options.calibration)
    source = cases_of(saved, options)
    order = _order(source.rows, options.order)
    with assessed(saved, source, options) as found:
        for group, method in saved.by_group().items():
            _check_same(method, [each for each in found if not group or each.group == group])
        rows = {row.case: row for row in source.rows}
        subject = Subject(
            saved=saved,
            file_sha256=hashlib.sha256(options.calibration.read_bytes()).hexdigest(),
            cases=source.name,
            cases_sha256=source.sha256,
            found=found,
            read=lambda name: read_case(rows[name], saved.reading),
            order=order,
        )
        text = page(subject)
        write_whole(options.output, lambda stream: stream.write(text.encode()))
    print(f"Written to {options.output}.")


def _order(rows: Sequence[Row], column: str | None) -> Order:
    """The order of the list, or by a column of the manifest."""
    if column is None:
        return Order("in the order of the list of cases", _places([row.case for row in rows]))
    columns = [{"case": r.case, "patient": r.patient, "group": r.group, **r.extra} for r in rows]
    if column not in columns[0]:
        raise ValueError(f"--order {column}: expected one of the columns {', '.join(columns[0])}")
    entries = [of_row[column] for of_row in columns]
    if lacking := [row.case for row, entry in zip(rows, entries, strict=True) if not entry]:
        raise ValueError(
            f"--order {column}: there is nothing in this column in {len(lacking)} of {len(rows)} "
            f"cases: {first_few(lacking)}"
        )
    kind = _number if _number(entries[0]) is not None else _date
    moments: list[Any] = [kind(entry) for entry in entries]
    if None in moments:
        wrong = moments.index(None)
        raise ValueError(
            f"--order {column}: expected numbers, or dates such as 2026-01-31, found "
            f"{entries[wrong]!r} in case {rows[wrong].case!r}"
        )
    sorted_rows = sorted(zip(moments, rows, strict=True), key=lambda pair: pair[0])
    return Order(f"in the order of {column!r}", _places([row.case for _, row in sorted_rows]))


def _number(entry: str) -> float | None:
    try:
        number = float(entry)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(entry: str) -> str | None:
    """A date, or a month, with a time of day or without: such texts sort as the times do."""
    return entry if _DATE.fullmatch(entry) else None


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def _check_same(method: SplitConformal, found: Sequence[Assessment]) -> None:
    """Refuse cases other than those of the calibration: the page would be about others."""
    calibration = method._calibrated()
    anew = calibration_scores(found, calibration.per)
    for i, name in enumerate(calibration.names):
        for side, scores in calibration.scores.items():
            if name not in anew:
                raise ValueError(f"{name!r} was calibrated, but is not among the cases")
            if anew[name][side] != scores[i]:
                raise ValueError(
                    f"{name!r} was calibrated with the {name_of(side, method)} score "
                    f"{float(scores[i])!r}, its files now give {anew[name][side]!r}"
                )
    others = sorted(set(anew) - set(calibration.names))
    if others and calibration.per != "draw":
        raise ValueError(f"{others[0]!r} is among the cases, but was not calibrated")
