"""``confseg score``: one row of numbers per case, from which every method can be studied."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import BinaryIO, get_args

from ..distances import Metric
from ..inputs import Source
from ..manifest import Row
from ..nifti import Reading, read_case
from ..parquet import check_installed, write_parquet
from ..rows import FIELDS, Columns, row_of_numbers
from ..saved import provenance
from ..storage import write_whole
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

PARQUET = ".parquet"


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="one row of numbers per case",
        description="Write a table with one row of numbers per case: critical values, volumes, "
        "Dice. A run that was interrupted goes on where it stopped. Beside the table "
        "TABLE.provenance.json says where it comes from.",
    )
    usual = Columns()
    add_cases(parser)
    add_output(parser, "table to write, .csv or .parquet")
    _add_several(parser, "--eps", usual.eps, "tolerated shares of missed lesion")
    _add_several(parser, "--coverages", usual.coverages, "shares of the lesion to hold")
    parser.add_argument(
        "--metrics",
        nargs="*",
        choices=get_args(Metric),
        default=usual.metrics,
        help=f"what margins count (default: {' '.join(usual.metrics)})",
    )
    parser.add_argument(
        "--fields",
        nargs="*",
        choices=FIELDS,
        default=usual.fields,
        help=f"fields whose critical values are wanted (default: {' '.join(usual.fields)})",
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="of the predicted mask (default 0.5)"
    )
    _add_several(parser, "--margins", usual.margins, "margins whose masks are counted in voxels")
    add_reading(parser)
    add_jobs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Make the rows that are missing, then the table."""
    check_file(options.output, ".csv", PARQUET)
    if options.output.suffix == PARQUET:
        check_installed()
    columns = Columns(
        tuple(options.eps),
        tuple(options.coverages),
        tuple(options.metrics),
        tuple(options.fields),
        options.threshold,
        tuple(options.margins),
    )
    source, reading = ruled_cases(options), reading_of(options)
    line, settings = partial(_line, columns, reading), (columns, reading)
    with (
        pool_of(options) as pool,
        lines_of(line, source.rows, pool, options.output, settings) as lines,
    ):
        _write(options, columns, source, lines)
    print(f"{len(source.rows)} cases written to {options.output}.")


def _add_several(
    parser: argparse.ArgumentParser, name: str, usual: tuple[float, ...], what: str
) -> None:
    shown = " ".join(f"{value:g}" for value in usual) or "none"
    parser.add_argument(
        name, type=float, nargs="*", default=usual, help=f"{what} (default: {shown})"
    )


def _line(columns: Columns, reading: Reading, row: Row) -> str:
    """The row of one case as a line of CSV, floats to their last bit."""
    return _csv(row_of_numbers(read_case(row, reading), columns))


def _csv(entries: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(entries)
    return text.getvalue()


def _write(
    options: argparse.Namespace, columns: Columns, source: Source, lines: Iterable[str]
) -> None:
    """The table, then where it comes from."""

    def write(stream: BinaryIO) -> None:
        if options.output.suffix == PARQUET:
            write_parquet(stream, columns.types(), lines)
        else:
            stream.writelines(line.encode() for line in chain([_csv(columns.names())], lines))

    write_whole(options.output, write)
    with options.output.open("rb") as table:
        digest = hashlib.file_digest(table, "sha256").hexdigest()
    data = {
        **provenance(options.command, source.name, source.sha256),
        "rows": len(source.rows),
        "table_sha256": digest,
    }
    text = json.dumps(data, indent=1) + "\n"
    beside = options.output.with_suffix(".provenance.json")
    write_whole(beside, lambda stream: stream.write(text.encode()))
