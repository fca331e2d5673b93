"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from ..inputs import Source, from_folders, from_manifest
from ..manifest import Rule
from ..nifti import Reading, files_of


def add_cases(parser: argparse.ArgumentParser, truths: bool = True) -> None:
    """CASES, a manifest or folders."""
    what = "manifest, or folder of scores" + (" (then TRUTHS too)" if truths else "")
    parser.add_argument("cases", metavar="CASES", type=Path, help=what)
    if truths:
        parser.add_argument(
            "truths", metavar="TRUTHS", type=Path, nargs="?", help="folder of true masks"
        )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """The processes that do the work."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--n-jobs", type=int, default=1, help="processes (default 1; -1: all)")
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="those of a Dask cluster, such as tcp://HOST:8786"
    )


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Where to write."""
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=what)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How files become cases."""
    parser.add_argument("--rule", type=_rule, help="label rule of folders (default: 'label > 0')")
    parser.add_argument("--labels", type=int, nargs="+", help="labels that a truth may hold")
    parser.add_argument("--channel", type=int, help="channel of the lesion, counted from 0")


def reading_of(options: argparse.Namespace) -> Reading:
    """What `add_reading` asked for."""
    return Reading(options.channel, None if options.labels is None else tuple(options.labels))


def ruled_cases(options: argparse.Namespace) -> Source:
    """The cases with their truths, under the label rule of the command or the manifest."""
    if options.rule is not None and not options.cases.is_dir():
        raise ValueError("--rule is for folders: a manifest has a rule for each case")
    return labeled_cases(options, lambda: options.rule or Rule())


def labeled_cases(options: argparse.Namespace, rule: Callable[[], Rule]) -> Source:
    """The cases with their truths.

    Parameters
    ----------
    options : argparse.Namespace
        With `cases`, `truths` and `output`.
    rule : callable
        Gives the label rule of folders.

    Returns
    -------
    Source
        The cases.

    Raises
    ------
    FileNotFoundError, ValueError
        As `confseg.inputs`; also if the output would replace what the command reads.
    """
    if options.cases.is_dir():
        if options.truths is None:
            raise ValueError(f"{options.cases} is a folder: expected a folder of truths after it")
        source = from_folders(options.cases, options.truths, rule())
    elif options.truths is not None:
        raise ValueError(f"{options.cases} is no folder, so no folder of truths goes with it")
    else:
        source = from_manifest(options.cases, truths=True)
    own = (options.cases, getattr(options, "calibration", options.cases))
    _check_no_input(options.output, chain(own, chain.from_iterable(map(files_of, source.rows))))
    return source


def new_cases(options: argparse.Namespace, rule: Callable[[], Rule]) -> Source:
    """The cases without truths; `rule` gives the label rule of a folder."""
    if options.cases.is_dir():
        return from_folders(options.cases, None, rule())
    return from_manifest(options.cases, truths=False)


def check_file(path: Path, *endings: str) -> None:
    """Raise ValueError or OSError unless a file of this name can be written."""
    if path.suffix not in endings:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(endings)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a file")
    check_folder(path.parent)


def _check_no_input(output: Path, inputs: Iterable[Path]) -> None:
    """Raise ValueError if the output is a file that is read, under whichever of its names."""
    if output.exists() and (same := next(filter(output.samefile, inputs), None)):
        raise ValueError(f"{output} would replace {same}, which is read: choose another name")


def check_folder(folder: Path) -> None:
    """Raise ValueError or OSError unless files can be written to a folder."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} to write to")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to: {error.strerror}") from error


def _rule(text: str) -> Rule:
    try:
        return Rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
