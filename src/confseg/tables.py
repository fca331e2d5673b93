"""Small tables of a few numbers, for the pages and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, repr=False)
class Table:
    """A small table; the last expression of a notebook cell shows it.

    Parameters
    ----------
    head : sequence of str
        Names of the columns.
    rows : sequence of sequences
        One text or number per column, shown as ``str`` shows it. The first column is set to the
        left, the others to the right.

    Raises
    ------
    ValueError
        If a row has not one entry per column.

    Examples
    --------
    >>> Table(["margin", "mm"], [["whole lesion", "3.9"], ["90% of it", "1.7"]])
    margin         mm
    whole lesion  3.9
    90% of it     1.7
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"expected {len(self.head)} entries, found {list(row)}")

    def __repr__(self) -> str:
        lines = [[str(entry) for entry in line] for line in (self.head, *self.rows)]
        first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
        return "\n".join(
            "  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(_cell("th", text, i, ' scope="col"') for i, text in enumerate(self.head))
        body = "".join(
            f"<tr>{''.join(_cell('td', str(entry), i) for i, entry in enumerate(row))}</tr>"
            for row in self.rows
        )
        return f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(tag: str, text: str, column: int, attributes: str = "") -> str:
    align = "right" if column else "left"
    return f'<{tag}{attributes} style="text-align: {align}">{escape(text)}</{tag}>'
