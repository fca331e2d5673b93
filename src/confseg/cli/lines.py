"""One line of text per case, kept as soon as it is there, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .._version import __version__
from ..journal import Journal
from ..listing import first_few
from ..manifest import Row
from ..nifti import files_of
from .work import Fault, Pool, each


@contextmanager
def lines_of(
    function: Callable[[Row], str],
    rows: Sequence[Row],
    pool: Pool,
    output: Path,
    settings: object,
    holds: Callable[[str], bool] = lambda line: True,
) -> Iterator[Iterator[str]]:
    """The line that the function makes of every row, in order.

    They are kept in ``OUTPUT.journal`` until the ``with`` block has come to its end, and the next
    run makes only those that are missing.

    Parameters
    ----------
    function : callable
        Makes the line of a row.
    rows : sequence of Row
        The cases.
    pool : Pool
        The processes that do the work.
    output : pathlib.Path
        The file that the block writes.
    settings : object
        What the lines depend on besides the cases and the version; its `repr` is compared.
    holds : callable, optional
        Whether the line that an earlier run made is still so; if not, it is made again.

    Raises
    ------
    ValueError
        If a line cannot be made.
    """
    path = output.with_name(f"{output.name}.journal")
    with Journal(path, repr((__version__, settings))) as journal:
        keys = [_key(row) for row in rows]
        missing = [
            (row, key)
            for row, key in zip(rows, keys, strict=True)
            if key not in journal or not holds(journal[key])
        ]
        _tell_state(journal, len(rows) - len(missing), len(rows))
        faults = _complete(journal, missing, function, pool)
        _check_none(faults, len(rows), output)
        yield (journal[key] for key in keys)
        journal.remove()


def _key(row: Row) -> str:
    """Of a case as it is now: another one when an entry or a file has changed.

    Files of other folders may share name, size and time, such as those that an archive unpacked.
    """
    files = [
        (str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns)
        for file in files_of(row)
    ]
    entries = repr((row.case, row.patient, row.group, row.rule.text, files))
    return hashlib.sha256(entries.encode()).hexdigest()


def _tell_state(journal: Journal, done: int, total: int) -> None:
    if journal.dropped:
        print("confseg: what an earlier run with other settings left is dropped", file=sys.stderr)
    if done:
        print(f"confseg: {done} of {total} cases were done before", file=sys.stderr)


def _complete(
    journal: Journal,
    missing: Sequence[tuple[Row, str]],
    function: Callable[[Row], str],
    pool: Pool,
) -> list[Fault]:
    """Make the lines of rows, by their keys; those that cannot be made are returned."""
    results = each(function, [row for row, _ in missing], pool)
    faults = []
    for (_, key), (_, result) in zip(missing, results, strict=True):
        if isinstance(result, Fault):
            faults.append(result)
        else:
            journal[key] = result
    return faults


def _check_none(faults: Sequence[Fault], total: int, output: Path) -> None:
    """Raise ValueError if there are faults: the first ones, and what follows from them."""
    if not faults:
        return
    others = ", and the others need not be done again" * (len(faults) < total)
    told = first_few([fault.reason for fault in faults], between="\n  ")
    raise ValueError(
        f"{len(faults)} of {total} cases failed; {output.name} was not written{others}:\n  {told}"
    )
