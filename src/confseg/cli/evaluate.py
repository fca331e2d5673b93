"""``confseg evaluate``: how many cases keep the promise, none of which calibrated."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ..assess import Assessment, assess, calibration_scores, name_of, units
from ..conformal import Promise, SplitConformal
from ..exact import fewest_cases, percent
from ..inputs import Source
from ..manifest import Row
from ..nifti import read_case
from ..quantile import compliance_law
from ..saved import Saved, read_saved
from ..storage import write_whole
from .arguments import add_cases, add_jobs, add_output, check_file, labeled_cases
from .lines import lines_of
from .work import pool_of


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="compare the promise with cases whose truth is known",
        description="Count how many cases with known truth keep the promise, compare the count "
        "with its exact law, and write a table with one row per case. A run that was interrupted "
        "goes on where it stopped.",
    )
    parser.add_argument("calibration", metavar="CALIBRATION", type=Path, help="the .json file")
    add_cases(parser)
    add_output(parser, "table to write, .csv")
    add_jobs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Evaluate, write the table, and print the counts with their law."""
    check_file(options.output, ".csv")
    saved = read_saved(options.calibration)
    with assessed(saved, cases_of(saved, options), options) as found:
        _check_new(saved, found)
        write_table(options.output, found, saved)
    for group, method in saved.by_group().items():
        members = [each for each in found if not group or each.group == group]
        if members:
            print("\n".join(_lines(group, method, members)))
    print(f"Written to {options.output}.")


def cases_of(saved: Saved, options: argparse.Namespace) -> Source:
    """The cases of a command with known truth; ValueError if one fits no calibration."""
    source = labeled_cases(options, saved.one_rule)
    for row in source.rows:
        saved.for_row(row)
    return source


@contextmanager
def assessed(
    saved: Saved, source: Source, options: argparse.Namespace
) -> Iterator[list[Assessment]]:
    """The numbers of each case.

    They are kept beside the output until the ``with`` block, which writes it, has ended.
    """
    settings = hashlib.sha256(options.calibration.read_bytes()).hexdigest()
    with (
        pool_of(options) as pool,
        lines_of(partial(_row_line, saved), source.rows, pool, options.output, settings) as lines,
    ):
        yield [Assessment(**json.loads(line)) for line in lines]


def _row_line(saved: Saved, row: Row) -> str:
    """The numbers of one case as JSON, floats to their last bit."""
    return json.dumps(asdict(assess(saved.for_row(row), read_case(row, saved.reading))))


def write_table(path: Path, found: Sequence[Assessment], saved: Saved) -> None:
    """One row per case, in the order of the cases."""
    method, *_ = saved.by_group().values()  # those of all groups are of one kind
    sides = list(method._sides)
    wrong = {"outer": "missed", "inner": "false"}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    head = ["case", "patient", "group", "left_out", "voxels", "lesion_voxels", "complies"]
    for side in sides:
        name = name_of(side, method)
        head += [f"{name}_{what}" for what in ("score", "voxels", wrong[side], "complies")]
    table.writerow(head)
    for each in found:
        table.writerow([*_common(each), *_of_sides(each, sides)])
    write_whole(path, lambda stream: stream.write(text.getvalue().encode()))


def _common(each: Assessment) -> list[object]:
    names = [each.name, each.patient, each.group]
    return [*names, int(each.left_out), each.image, each.lesion, int(each.kept)]


def _of_sides(each: Assessment, sides: Iterable[str]) -> list[object]:
    entries: list[object] = []
    for side in sides:
        entries += [each.score[side], each.region[side], each.wrong[side], int(each.complies[side])]
    return entries


def _lines(group: str, method: SplitConformal, found: Sequence[Assessment]) -> list[str]:
    """What is said of a method, or of the method of one group."""
    per = method._calibrated().per
    counted = units(found, per)
    lines = [f"Group {group!r}:"] * bool(group)
    if left_out := sum(each.left_out for each in found):
        lines.append(f"{left_out} of {len(found)} cases have no lesion and do not count.")
    if not counted:
        return [*lines, "No case is left to count."]
    noun = "cases" if per == "case" else "patients"
    return lines + [_line(method, promise, counted, noun) for promise in method._promises]


def _line(
    method: SplitConformal,
    promise: Promise,
    counted: Sequence[tuple[Assessment, ...]],
    noun: str,
) -> str:
    """The count of one promise and what its law says of it."""
    kept = sum(all(each.complies[s] for each in unit for s in promise.sides) for unit in counted)
    m = len(counted)
    what = " and ".join(name_of(side, method) for side in promise.sides)
    opening = (
        f"{what}: {kept} of {m} {noun} keep the promise "
        f"({100 * kept / m:.1f}%), promised is at least {percent(1 - promise.alpha)}."
    )
    if method.n_ < fewest_cases(promise.alpha):
        return f"{opening} The set is trivial and always keeps it."
    law = compliance_law(method.n_, promise.alpha, m)
    low, high = (int(end) for end in law.interval(0.9))
    place = "below" if kept < low else "above" if kept > high else "within"
    return (
        f"{opening} By its law, after {method.n_} calibration {noun}, the count lies between "
        f"{low} and {high} in nine evaluations out of ten, or higher {method._above()}: "
        f"this one is {place} (so few or fewer: probability {law.cdf(kept):.3g})."
    )


def _check_new(saved: Saved, found: Sequence[Assessment]) -> None:
    """Refuse cases that calibrated, and tell patients that did."""
    for group, method in saved.by_group().items():
        stored = method._calibrated()
        members = [each for each in found if not group or each.group == group]
        scores = calibration_scores(members, stored.per)
        for i, name in enumerate(stored.names):
            if scores.get(name) == {side: known[i] for side, known in stored.scores.items()}:
                what = "patient" if stored.per == "worst" else "case"
                raise ValueError(
                    f"{what} {name!r} was part of the calibration, by its name and its score: "
                    "evaluate on others"
                )
    _tell_known_patients(saved, found)


def _tell_known_patients(saved: Saved, found: Sequence[Assessment]) -> None:
    known = {name for method in saved.by_group().values() for name in method.patients_ if name}
    if shared := sorted(known & {each.patient for each in found}):
        print(
            f"confseg: {len(shared)} patients were also part of the calibration, first "
            f"{shared[0]!r}: the law does not hold for them",
            file=sys.stderr,
        )
