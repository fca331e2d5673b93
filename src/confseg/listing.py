"""Lists in messages: the first few entries, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

_TOLD = 5


def first_few(entries: Sequence[str], between: str = ", ") -> str:
    """The first five entries and the number of the others.

    Parameters
    ----------
    entries : sequence of str
        Names, or whole lines.
    between : str
        What separates them.

    Returns
    -------
    str
        One text.

    Examples
    --------
    >>> first_few(["a", "b"]), first_few(list("abcdefg"))
    ('a, b', 'a, b, c, d, e, and 2 more')
    """
    more = [f"and {len(entries) - _TOLD} more"] * (len(entries) > _TOLD)
    return between.join([*entries[:_TOLD], *more])
