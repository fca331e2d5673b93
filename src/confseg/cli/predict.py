"""``confseg predict``: from a calibration and new score maps to masks."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Set
from functools import partial
from pathlib import Path

from ..assess import name_of, side_regions
from ..manifest import Row
from ..nifti import Image, read_score, write_mask
from ..saved import Saved, provenance, read_saved
from ..storage import write_whole
from .arguments import add_cases, add_jobs, add_output, check_folder, new_cases
from .lines import lines_of
from .work import pool_of

ABOUT = "predictions.json"
"""Beside the masks: what made them and what is promised of them."""

NAMES = ("mask", "inner", "outer")
"""What masks may be called, after their case."""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "predict",
        help="masks of new cases",
        description="Write the masks of new cases as NIfTI files with the affine of their scores: "
        "CASE_mask.nii.gz, or CASE_inner.nii.gz and CASE_outer.nii.gz; when all are there, "
        f"{ABOUT} says what they are. A run that was interrupted goes on where it stopped.",
    )
    parser.add_argument("calibration", metavar="CALIBRATION", type=Path, help="the .json file")
    add_cases(parser, truths=False)
    add_output(parser, "folder for the masks; it is made if need be")
    add_jobs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Predict every case; those that fail are told at the end."""
    saved = read_saved(options.calibration)
    source = new_cases(options, saved.one_rule)
    for row in source.rows:
        _check_name(row.case)
        saved.for_row(row)
        _check_apart(row, options.output)
    if not options.output.is_dir():
        check_folder(options.output.parent)
    calibration = hashlib.sha256(options.calibration.read_bytes()).hexdigest()
    about = options.output / ABOUT
    with pool_of(options) as pool:
        options.output.mkdir(exist_ok=True)
        check_folder(options.output)
        _check_own(options.output, source.rows)
        about.unlink(missing_ok=True)  # what it says of an earlier run is no longer so
        # The processes of a cluster run in folders of their own.
        predict = partial(_predict, saved, options.output.absolute())
        there = partial(_are_there, _masks_in(options.output))
        with lines_of(predict, source.rows, pool, about, calibration, there) as lines:
            masks = {name: digest for line in lines for name, digest in json.loads(line).items()}
            data = {
                **provenance(options.command, source.name, source.sha256),
                "calibration_sha256": calibration,
                "masks": len(masks),
                "statement": saved.method.statement(),
                "masks_sha256": masks,
            }
            text = json.dumps(data, indent=1) + "\n"
            write_whole(about, lambda stream: stream.write(text.encode()))
    _tell_others(options.output, masks)
    print(f"{len(masks)} masks of {len(source.rows)} cases written to {options.output}.")


def _predict(saved: Saved, folder: Path, row: Row) -> str:
    """Write the masks of one case; their names and checksums as JSON."""
    assert row.score is not None, "asked for when the cases were listed"
    for name in NAMES:  # those of another calibration, lest they stay where this one fails
        (folder / f"{row.case}_{name}.nii.gz").unlink(missing_ok=True)
    method = saved.for_row(row)
    image: Image = read_score(row.score, row.rule, saved.reading.channel)
    digests = {}
    for side, region in side_regions(method, image.values, image.spacing).items():
        mask = folder / f"{row.case}_{name_of(side, method)}.nii.gz"
        write_mask(mask, region, image)
        digests[mask.name] = hashlib.sha256(mask.read_bytes()).hexdigest()
    return json.dumps(digests)


def _are_there(names: Set[str], line: str) -> bool:
    """Masks of an interrupted run may have been moved before the next one."""
    return json.loads(line).keys() <= names


def _masks_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.endswith(".nii.gz")}


def _tell_others(folder: Path, masks: Collection[str]) -> None:
    """What lies there besides is not what the page beside the masks speaks of."""
    if others := sorted(_masks_in(folder).difference(masks)):
        print(
            f"confseg: {len(others)} other masks lie in {folder}, first {others[0]}: they are not "
            "of this run",
            file=sys.stderr,
        )


def _check_apart(row: Row, folder: Path) -> None:
    """Masks among the scores would be taken for scores by the next command."""
    if row.score is not None and row.score.parent.resolve() == folder.resolve():
        raise ValueError(f"{folder} holds the scores: choose another folder for the masks")


def _check_own(folder: Path, rows: Iterable[Row]) -> None:
    """Files with the names of masks that no run of this command made may be true masks."""
    if any((folder / f"{ABOUT}{ending}").exists() for ending in ("", ".journal")):
        return
    there = _masks_in(folder)
    names = (f"{row.case}_{name}.nii.gz" for row in rows for name in NAMES)
    if taken := next(filter(there.__contains__, names), None):
        raise ValueError(
            f"{folder / taken} would be replaced, and no {ABOUT} says that it is a mask of an "
            "earlier run: choose another folder"
        )


def _check_name(case: str) -> None:
    if case.startswith(".") or Path(case).name != case or "\\" in case:
        raise ValueError(f"case {case!r}: the name cannot be that of a file")
