"""``confseg score``: one row of numbers per case, from which every method can be studied."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import BinaryIO, get_args

from .._version import __version__
from ..distances import Metric
from ..inputs import Source
from ..journal import Journal
from ..manifest import Row
from ..nifti import Reading, files_of, read_case
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
from .work import Fault, check_none, each


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="one row of numbers per case",
        description="Write a table with one row of numbers per case: critical values, volumes, "
        "Dice. A run that was interrupted goes on where it stopped. Beside the table OUT.csv, "
        "OUT.provenance.json says where it comes from.",
    )
    usual = Columns()
    add_cases(parser)
    add_output(parser, "table to write, .csv")
    _add_several(parser, "--eps", usual.eps, "tolerated shares of missed lesion")
    _add_several(parser, "--coverages", usual.coverages, "shares of the lesion to hold")
    parser.add_argument(
        "--metrics", nargs="*", choices=get_args(Metric), default=usual.metrics, help="of margins"
    )
    parser.add_argument(
        "--fields", nargs="*", choices=FIELDS, default=usual.fields, help="of critical values"
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="of the predicted mask")
    _add_several(parser, "--margins", usual.margins, "margins whose masks are counted in voxels")
    add_reading(parser)
    add_jobs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Make the rows that are missing, then the table."""
    check_file(options.output, ".csv")
    columns = Columns(
        tuple(options.eps),
        tuple(options.coverages),
        tuple(options.metrics),
        tuple(options.fields),
        options.threshold,
        tuple(options.margins),
    )
    source, reading = ruled_cases(options), reading_of(options)
    path = options.output.with_name(f"{options.output.name}.journal")
    with Journal(path, repr((__version__, columns, reading))) as journal:
        keys = [_key(row) for row in source.rows]
        _tell_state(journal, keys)
        _complete(journal, source.rows, keys, partial(_line, columns, reading), options.n_jobs)
        _write(options, columns, source, (journal[key] for key in keys))
        journal.remove()
    print(f"{len(source.rows)} cases written to {options.output}.")


def _add_several(
    parser: argparse.ArgumentParser, name: str, usual: tuple[float, ...], what: str
) -> None:
    shown = " ".join(f"{value:g}" for value in usual) or "none"
    parser.add_argument(
        name, type=float, nargs="*", default=usual, help=f"{what} (default: {shown})"
    )


def _key(row: Row) -> str:
    """Of a case as it is now: another one when an entry or a file has changed."""
    files = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files_of(row)]
    return repr((row.case, row.patient, row.group, row.rule.text, files))


def _tell_state(journal: Journal, keys: list[str]) -> None:
    if journal.dropped:
        print("confseg: what an earlier run with other settings left is dropped", file=sys.stderr)
    if done := sum(key in journal for key in keys):
        print(f"confseg: {done} of {len(keys)} cases were done before", file=sys.stderr)


def _complete(
    journal: Journal, rows: list[Row], keys: list[str], function: partial[str], n_jobs: int
) -> None:
    """Make every row that the journal lacks; ValueError if some cannot be made."""
    missing = [(row, key) for row, key in zip(rows, keys, strict=True) if key not in journal]
    results = each(function, [row for row, _ in missing], n_jobs)
    faults = []
    for (_, key), (_, result) in zip(missing, results, strict=True):
        if isinstance(result, Fault):
            faults.append(result)
        else:
            journal[key] = result
    check_none(faults, len(rows), "; no table was written, and the others need not be done again")


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
    digest = hashlib.sha256()

    def write(stream: BinaryIO) -> None:
        for line in chain([_csv(columns.names())], lines):
            digest.update(line.encode())
            stream.write(line.encode())

    write_whole(options.output, write)
    data = {
        **provenance(options.command, source.name, source.sha256),
        "rows": len(source.rows),
        "table_sha256": digest.hexdigest(),
    }
    text = json.dumps(data, indent=1) + "\n"
    beside = options.output.with_suffix(".provenance.json")
    write_whole(beside, lambda stream: stream.write(text.encode()))
