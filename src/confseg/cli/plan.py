"""``confseg plan``: how many cases a calibration needs, and what so many will give."""

from __future__ import annotations

import argparse

from ..exact import check_level
from ..planning import cases_needed
from ..quantile import coverage_law

_TOLERANCE = 0.05  # where none is asked for


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "plan",
        help="how many calibration cases are needed",
        description="Say how many calibration cases are needed so that the coverage rarely falls "
        "short, or, with --cases, between what bounds so many cases will leave it.",
    )
    parser.add_argument("--alpha", type=float, required=True, help="risk level, such as 0.1")
    parser.add_argument(
        "--tolerance", type=float, help=f"tolerated shortfall (default {_TOLERANCE})"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.9,
        help="wanted probability of no larger shortfall (default 0.9)",
    )
    parser.add_argument("--cases", type=int, metavar="N", help="say what N cases give instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the plan."""
    if options.cases is not None:
        if options.tolerance is not None:
            raise ValueError("--tolerance asks for a number of cases: it does not go with --cases")
        print(_of_cases(options.cases, options.alpha, options.confidence))
        return
    tolerance = _TOLERANCE if options.tolerance is None else options.tolerance
    needed = cases_needed(options.alpha, tolerance, options.confidence)
    print(
        f"{needed} independent calibration cases (one per patient), or more: the share of new "
        f"cases that keep a promise of {1 - options.alpha:.6g} is then at least "
        f"{1 - options.alpha - tolerance:.6g} with a probability of at least "
        f"{options.confidence:.6g}."
    )


def _of_cases(n: int, alpha: float, confidence: float) -> str:
    low, high = coverage_law(n, alpha).interval(check_level("confidence", confidence))
    return (
        f"After {n} independent calibration cases the share of new cases that keep a promise of "
        f"{1 - alpha:.6g} lies between {low:.4f} and {high:.4f} with a probability of "
        f"{confidence:.6g}, or higher where scores tie."
    )
