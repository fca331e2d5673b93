"""Boxes of voxels: where a mask lies, what surrounds it, and what is left of the image.

Most of a scan is neither lesion nor close to one. A box confines the work to the part that
matters. Boxes are tuples of slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """Smallest box that holds every True voxel of `mask`.

    Parameters
    ----------
    mask : ndarray of bool
        Any number of dimensions.

    Returns
    -------
    tuple of slice or None
        The box, or None when the mask is empty.

    Examples
    --------
    >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]], dtype=bool))
    (slice(1, 2, None), slice(1, 3, None))
    """
    sides: dict[int, slice] = {}
    # Narrow axis by axis, each projection looking only at what the earlier ones left. The axis
    # with the longest strides comes first, since that reads memory in order.
    for axis in sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis])):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if hits.size == 0:
            return None
        sides[axis] = slice(int(hits[0]), int(hits[-1]) + 1)
        mask = mask[(slice(None),) * axis + (sides[axis],)]
    return tuple(sides[axis] for axis in range(mask.ndim))


def union_box(a: Box | None, b: Box | None) -> Box | None:
    """Smallest box that holds two boxes; None stands for an empty one."""
    if a is None or b is None:
        return b if a is None else a
    return tuple(
        slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(a, b, strict=True)
    )


def grow_box(box: Box, by: Sequence[float], shape: Sequence[int]) -> Box:
    """`box` widened by ``ceil(by)`` voxels per axis on both sides, within the image."""
    return tuple(
        slice(max(0, side.start - math.ceil(more)), min(length, side.stop + math.ceil(more)))
        for side, more, length in zip(box, by, shape, strict=True)
    )


def whole_box(shape: Sequence[int]) -> Box:
    """The box that is the whole image."""
    return tuple(slice(0, length) for length in shape)


def outside_box(box: Box, shape: Sequence[int]) -> Iterator[Box]:
    """The rest of the image around `box`, as at most ``2 * ndim`` disjoint boxes."""
    for axis, (side, length) in enumerate(zip(box, shape, strict=True)):
        for part in (slice(0, side.start), slice(side.stop, length)):
            if part.start < part.stop:
                yield box[:axis] + (part,) + whole_box(shape)[axis + 1 :]
