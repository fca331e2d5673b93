"""Parsing the command line, and telling what went wrong."""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from typing import TextIO

from .._version import __version__
from . import calibrate, evaluate, plan, predict, report, score

_COMMANDS = (plan, calibrate, predict, evaluate, score, report)

_EPILOG = """\
CASES is a manifest, a CSV file with the columns case, patient, group, score, truth and rule, or two
folders, of scores and of truths, with matching names. Scores and truths are NIfTI files; a folder
of scores may also hold nnU-Net's .npz files. For predict the scores, or case and score, are enough.

The exit status is 0 if everything was done, 1 if not, 2 if the command was not understood. Every
file is written whole or not at all.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 if everything was done.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``confseg``; those of the process by default.

    Returns
    -------
    int
        The exit status.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    options.command = shlex.join(["confseg", *words])
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _tell_warning
        try:
            options.run(options)
        except (ValueError, OSError, MemoryError, BrokenExecutor) as error:
            print(f"confseg: {_told(error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("confseg: interrupted", file=sys.stderr)
            return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="confseg",
        description="Put a promise on the masks of a segmenter.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"confseg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_to(commands)
    return parser


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _tell_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"confseg: {message}", file=sys.stderr)
