"""``confseg calibrate``: from cases with known truth to a calibration in a file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args

from ..assess import repeated_patients
from ..case import Case
from ..cls import CLS, ErrorRate
from ..conformal import CaseNumbers, SplitConformal
from ..distances import Metric
from ..each_case import Empty
from ..fields import Field, cumulative_mass, identity, logit, signed_distance
from ..groups import Grouped, Mondrian
from ..inputs import Source
from ..manifest import Row
from ..margins import Margin, MarginSide
from ..nifti import Reading, read_case
from ..saved import Saved, provenance, write_saved
from ..sets import ConfidenceSets, Control
from ..units import Per
from .arguments import (
    add_cases,
    add_jobs,
    add_output,
    add_reading,
    check_file,
    reading_of,
    ruled_cases,
)
from .lines import lines_of
from .work import pool_of

FIELDS: dict[str, Callable[[float], Field]] = {
    "identity": lambda threshold: identity,
    "logit": lambda threshold: logit,
    "distance": signed_distance,
    "mass": lambda threshold: cumulative_mass,
}


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command, with one of its own for each method."""
    parser = commands.add_parser(
        "calibrate",
        help="choose the cut-offs from cases with known truth",
        description="Choose the cut-offs from cases with known truth, on which the segmenter was "
        "never trained, and keep them in a file. A run that was interrupted goes on where it "
        "stopped.",
    )
    methods = parser.add_subparsers(metavar="METHOD", required=True)
    cls = methods.add_parser("cls", help="a mask with a bounded error rate")
    cls.add_argument("--eps", type=float, required=True, help="tolerated error rate of a case")
    cls.add_argument(
        "--rate",
        choices=get_args(ErrorRate),
        default="fnr",
        help="which rate: missed lesion (fnr), false voxels in the background (fpr) or in the mask "
        "(fdp) (default: fnr)",
    )
    _add_empty(cls)
    cls.set_defaults(method=_cls)
    sets = methods.add_parser("sets", help="an inner and an outer mask")
    sets.add_argument(
        "--control",
        choices=get_args(Control),
        default="joint",
        help="what is promised: both sets together, with one quantile for both (joint) or an "
        "alpha for each (weighted), or one of them alone (default: joint)",
    )
    for side in ("inner", "outer"):
        sets.add_argument(
            f"--{side}",
            choices=FIELDS,
            default="logit",
            help="field of this side (default: logit)",
        )
    sets.add_argument(
        "--false",
        type=float,
        default=0.0,
        help="tolerated share of the inner set that is no lesion (default 0)",
    )
    sets.add_argument(
        "--miss", type=float, default=0.0, help="tolerated share of missed lesion (default 0)"
    )
    _add_weights(sets)
    _add_threshold(sets, "of the mask that distances are measured to")
    sets.set_defaults(method=_sets)
    margin = methods.add_parser("margin", help="the predicted mask with a margin")
    margin.add_argument("--coverage", type=float, default=1.0, help="share to hold (default 1)")
    margin.add_argument(
        "--metric",
        choices=get_args(Metric),
        default="mm",
        help="what the margin counts: mm, or dilations by a cross or a cube (default: mm)",
    )
    margin.add_argument(
        "--side",
        choices=get_args(MarginSide),
        default="outer",
        help="the mask made larger, smaller, or both (default: outer)",
    )
    _add_weights(margin)
    _add_threshold(margin, "of the predicted mask")
    _add_empty(margin)
    margin.set_defaults(method=_margin)
    for method in (cls, sets, margin):
        _add_common(method)


def run(options: argparse.Namespace) -> None:
    """Calibrate, write the file, and print what is promised."""
    check_file(options.output, ".json")
    if options.by_group and options.per != "case":
        raise ValueError("--by-group counts cases: it does not go with --per")
    method = options.method(options)
    source, reading = ruled_cases(options), reading_of(options)
    numbers = Mondrian(method)._row if options.by_group else method._case_numbers
    line = partial(_line, numbers, reading)
    settings = (method, reading, options.by_group)
    with (
        pool_of(options) as pool,
        lines_of(line, source.rows, pool, options.output, settings) as lines,
    ):
        calibrated = _calibrated(method, lines, options)
        _tell_repeated_patients(source, options.per)
        rules = tuple(sorted({row.rule.text for row in source.rows}))
        origin = provenance(options.command, source.name, source.sha256)
        write_saved(options.output, Saved(calibrated, reading, rules, origin))
    print(calibrated.statement())
    print(f"Written to {options.output}.")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)
    add_cases(parser)
    add_output(parser, "calibration to write, .json")
    parser.add_argument("--alpha", type=float, required=True, help="risk level, such as 0.1")
    parser.add_argument(
        "--per",
        choices=get_args(Per),
        default="case",
        help="what is drawn independently: every case, or patients, each by its worst case or by "
        "one drawn at random (default: case)",
    )
    parser.add_argument("--by-group", action="store_true", help="cut-offs for each group")
    add_reading(parser)
    add_jobs(parser)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=float, nargs=2, metavar=("INNER", "OUTER"), help="alpha of each side"
    )


def _add_threshold(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--threshold", type=float, default=0.5, help=f"threshold {what} (default 0.5)"
    )


def _add_empty(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--empty",
        choices=get_args(Empty),
        default="exclude",
        help="cases without lesion: leave them out, count them as kept, or refuse them "
        "(default: exclude)",
    )


def _cls(options: argparse.Namespace) -> CLS:
    return CLS(options.eps, options.alpha, options.empty, options.rate)


def _sets(options: argparse.Namespace) -> ConfidenceSets:
    inner, outer = (FIELDS[name](options.threshold) for name in (options.inner, options.outer))
    return ConfidenceSets(
        options.alpha,
        options.control,
        inner,
        outer,
        _weights(options),
        options.false,
        options.miss,
    )


def _margin(options: argparse.Namespace) -> Margin:
    return Margin(
        options.alpha,
        options.coverage,
        options.metric,
        options.threshold,
        options.empty,
        options.side,
        _weights(options),
    )


def _weights(options: argparse.Namespace) -> tuple[float, float] | None:
    return None if options.weights is None else tuple(options.weights)


def _line(numbers: Callable[[Case], object], reading: Reading, row: Row) -> str:
    """The numbers of one case as JSON, floats to their last bit."""
    return json.dumps(numbers(read_case(row, reading)))


def _calibrated(
    method: SplitConformal, lines: Iterator[str], options: argparse.Namespace
) -> SplitConformal | Mondrian:
    """The method after calibration on the numbers of all cases."""
    entries = map(json.loads, lines)
    if options.by_group:
        grouped = [Grouped(CaseNumbers(*numbers), group) for numbers, group in entries]
        return Mondrian(method)._calibrate_rows(grouped)
    return method._calibrate_rows([CaseNumbers(*numbers) for numbers in entries], options.per)


def _tell_repeated_patients(source: Source, per: Per) -> None:
    if per == "case" and (several := repeated_patients([row.patient for row in source.rows])):
        print(
            f"confseg: {several} patients have more than one case, but every case was counted as "
            "independent; --per worst or --per draw counts patients",
            file=sys.stderr,
        )
