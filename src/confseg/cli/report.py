"""``confseg report``: what an auditor would ask of a calibration, in one file."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..assess import Assessment
from ..conformal import SplitConformal
from ..nifti import read_case
from ..report import Subject, page
from ..saved import read_saved
from ..storage import write_whole
from .arguments import add_cases, add_jobs, add_output, check_file
from .evaluate import assessed


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
    add_jobs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure, compare, and write the page."""
    check_file(options.output, ".html")
    saved = read_saved(options.calibration)
    with assessed(saved, options) as (source, found):
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
        )
        text = page(subject)
        write_whole(options.output, lambda stream: stream.write(text.encode()))
    print(f"Written to {options.output}.")


def _check_same(method: SplitConformal, found: Sequence[Assessment]) -> None:
    """Refuse cases other than those of the calibration: the page would be about others."""
    calibration = method._calibrated()
    anew = _scores(found, by_patient=calibration.per == "worst")
    for i, name in enumerate(calibration.names):
        for side, scores in calibration.scores.items():
            if name not in anew:
                raise ValueError(f"{name!r} was calibrated, but is not among the cases")
            if anew[name][side] != scores[i]:
                raise ValueError(
                    f"{name!r} was calibrated with the {side} score {float(scores[i])!r}, its "
                    f"files now give {anew[name][side]!r}"
                )
    others = sorted(set(anew) - set(calibration.names))
    if others and calibration.per != "draw":
        raise ValueError(f"{others[0]!r} is among the cases, but was not calibrated")


def _scores(found: Sequence[Assessment], by_patient: bool) -> dict[str, dict[str, float]]:
    """The scores of each case, or the worst of each patient, by name."""
    scores: dict[str, dict[str, float]] = {}
    for each in found:
        if not each.left_out:
            name = each.patient if by_patient else each.case
            known = scores.setdefault(name, dict.fromkeys(each.score, -np.inf))
            scores[name] = {side: max(known[side], new) for side, new in each.score.items()}
    return scores
