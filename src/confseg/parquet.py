"""Tables of many cases in Parquet, which holds a number as it is and in a tenth of the space."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import BinaryIO

_KINDS: dict[type, str] = {str: "string", int: "int64", float: "float64"}

_ROWS_AT_ONCE = 20_000
"""Of which the file is made: memory does not grow with the number of rows."""


def check_installed() -> None:
    """Raise ValueError unless Parquet can be written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "Parquet needs the package pyarrow, which is not installed: "
            "pip install 'confseg[parquet]'"
        ) from error


def write_parquet(stream: BinaryIO, columns: Mapping[str, type], lines: Iterable[str]) -> None:
    """Write lines of CSV as a Parquet file.

    Parameters
    ----------
    stream : binary file
        Where to.
    columns : mapping of str to type
        Names and types, `str`, `int` or `float`. An empty entry that is no text is missing.
    lines : iterable of str
        The rows, without the names.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(name, getattr(pa, _KINDS[kind])()) for name, kind in columns.items()])
    rows = csv.reader(lines)
    with ParquetWriter(stream, schema, compression="zstd") as table:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            arrays = [
                [_value(text, kind) for text in column]
                for column, kind in zip(zip(*some, strict=True), columns.values(), strict=True)
            ]
            table.write_batch(pa.record_batch(arrays, schema))


def _value(text: str, kind: Callable[[str], str | int | float]) -> str | int | float | None:
    return kind(text) if text or kind is str else None
