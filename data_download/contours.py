"""Outlines on a pixel grid: closed chains of pixels, and what lies inside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def closed_chain(points: NDArray[np.int64]) -> NDArray[np.int64]:
    """The outline as a closed chain of touching pixels.

    Parameters
    ----------
    points : ndarray of int, shape (n, 2)
        Pixels (x, y) in the order in which they were drawn.

    Returns
    -------
    ndarray of int, shape (m, 2)
        The same, with the first pixel repeated at the end and each pixel a neighbor (side or
        corner) of the one before. Gaps are bridged by a straight line.

    Examples
    --------
    >>> closed_chain(np.array([[0, 0], [2, 0], [1, 1]])).tolist()
    [[0, 0], [1, 0], [2, 0], [1, 1], [0, 0]]
    """
    ends = np.roll(points, -1, axis=0)
    steps = np.abs(ends - points).max(axis=1)
    if steps.max(initial=0) <= 1:
        return np.vstack([points, points[:1]])
    lines = [
        start + np.rint(np.outer(np.arange(count) / max(count, 1), end - start)).astype(np.int64)
        for start, end, count in zip(points, ends, steps, strict=True)
    ]
    return np.vstack([*lines, points[:1]])


def fill(
    chain: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """What a closed chain of pixels encloses, without the chain's own pixels.

    The chain is the polygon through the centers of its pixels. A pixel that is not on it lies
    inside when a ray to its left crosses the polygon an odd number of times; since no edge
    spans more than one row, all of that is counting with integers. A pocket that the line
    closes off by touching itself, but does not run around, is outside.

    Parameters
    ----------
    chain : ndarray of int, shape (n, 2)
        Pixels (x, y), as `closed_chain` gives them.

    Returns
    -------
    inside : ndarray of bool, shape (rows, columns)
        The pixels inside.
    outline : ndarray of bool, same shape
        The pixels of the chain.
    corner : ndarray of int, shape (2,)
        Row and column of the first pixel of both.

    Examples
    --------
    >>> ring = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1], [0, 0]])
    >>> fill(ring)[0].astype(int).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """
    corner = chain.min(axis=0)
    x, y = (chain - corner).T
    outline = np.zeros((y.max() + 1, x.max() + 1), dtype=np.bool_)
    outline[y, x] = True
    down = np.diff(y)
    # An edge between two rows counts for the upper one, where it meets that row's center line.
    columns = np.concatenate([x[:-1][down > 0], x[1:][down < 0]])
    rows = np.concatenate([y[:-1][down > 0], y[1:][down < 0]])
    crossings = np.zeros(outline.shape, dtype=np.int64)
    np.add.at(crossings, (rows, columns), 1)
    inside = crossings.cumsum(axis=1) % 2 == 1
    return inside & ~outline, outline, corner[::-1]
