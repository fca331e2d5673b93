"""Distances to the boxes in or around the components of the predicted mask."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..boxes import Box, bounding_box
from ..case import Spacing
from ..exact import as_decimal
from .distance import Metric, NearMask, signed_distance_of

Kind = Literal["outer", "inner"]


@dataclass(frozen=True)
class Boxes(NearMask):
    """Signed chessboard distance to boxes in or around the components of the predicted mask."""

    threshold: float = 0.5
    kind: Kind = "outer"

    name: ClassVar[str] = "boxes"
    metric: ClassVar[Metric] = "cube"  # type: ignore[misc]

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", as_decimal("threshold", self.threshold))
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {get_args(Kind)}, found {self.kind!r}")

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The distances in steps of the full cube."""
        return signed_distance_of(self.boxes(score), spacing, self.metric)

    def boxes(self, score: NDArray) -> NDArray[np.bool_]:
        """The union of the boxes, as a mask."""
        union = np.zeros(score.shape, dtype=np.bool_)
        for box, component in components(self.mask(score)):
            part = union[box]
            part[... if self.kind == "outer" else largest_box(component)] = True
        return union


def components(mask: NDArray[np.bool_]) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """The smallest box around each component (by face neighbors), and the component in it."""
    around = bounding_box(mask)
    if around is None:
        return
    labels, _ = ndimage.label(mask[around])
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        shifted = tuple(
            slice(outer.start + side.start, outer.start + side.stop)
            for outer, side in zip(around, box, strict=True)
        )
        yield shifted, labels[box] == number


def largest_box(mask: NDArray[np.bool_]) -> Box:
    """A box of most voxels among those that hold nothing but True.

    Parameters
    ----------
    mask : ndarray of bool
        At least one True; any number of dimensions.

    Returns
    -------
    tuple of slice
        The box; the first one found if several are as large.

    Examples
    --------
    >>> largest_box(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool))
    (slice(0, 2, None), slice(0, 2, None))
    """
    # All widths are tried along every axis but the longest two, where one sweep is enough.
    order = tuple(np.argsort(mask.shape, kind="stable"))
    fits = mask.transpose(order)
    best = _Best()
    _widen(fits[np.newaxis] if mask.ndim == 1 else fits, (), best)
    box = dict(zip(order, best.box[-mask.ndim :], strict=True))
    return tuple(box[axis] for axis in range(mask.ndim))


class _Best:
    """The largest box so far."""

    volume = 0
    box: Box = ()


def _widen(fits: NDArray[np.bool_], widths: tuple[int, ...], best: _Best) -> None:
    """Try the boxes of given widths along the first axes, which fit where `fits` says so."""
    axis = len(widths)
    if axis == fits.ndim - 2:
        _keep_largest_rectangle(fits, widths, best)
        return
    narrow, length = fits, fits.shape[axis]
    for width in range(1, length + 1):
        if width > 1:
            narrow = _shifted(narrow, axis, 0, -1) & _shifted(fits, axis, width - 1, None)
        # No box at least this wide has a larger cross-section.
        section = np.count_nonzero(narrow, axis=tuple(range(axis + 1, fits.ndim))).max()
        if math.prod(widths) * length * int(section) <= best.volume:
            return
        _widen(narrow, (*widths, width), best)


def _keep_largest_rectangle(fits: NDArray[np.bool_], widths: tuple[int, ...], best: _Best) -> None:
    """Sweep row by row over all starts at once that can hold a larger box than the best."""
    *starts, rows, columns = fits.shape
    thickness = math.prod(widths)
    sizes = np.count_nonzero(fits, axis=(-2, -1))
    promising = np.argwhere(thickness * sizes > best.volume)
    planes = fits[tuple(promising.T)] if starts else fits[np.newaxis]
    # For every voxel the tallest rectangle that ends in its row, and how far that can be widened.
    height = np.zeros((len(planes), columns), dtype=np.intp)
    left, right = height.copy(), height + columns
    place = np.arange(columns)
    for row in range(rows):
        inside = planes[:, row]
        first = np.maximum.accumulate(np.where(inside, 0, place + 1), axis=1)
        end = np.minimum.accumulate(np.where(inside, columns, place)[:, ::-1], axis=1)[:, ::-1]
        height = np.where(inside, height + 1, 0)
        left = np.where(inside, np.maximum(left, first), 0)
        right = np.where(inside, np.minimum(right, end), columns)
        volume = thickness * height * (right - left)
        if volume.max(initial=0) > best.volume:
            i, column = np.unravel_index(volume.argmax(), volume.shape)
            best.volume = int(volume[i, column])
            best.box = (
                *(slice(s, s + w) for s, w in zip(promising[i].tolist(), widths, strict=True)),
                slice(row + 1 - int(height[i, column]), row + 1),
                slice(int(left[i, column]), int(right[i, column])),
            )


def _shifted(mask: NDArray, axis: int, start: int, stop: int | None) -> NDArray:
    return mask[(slice(None),) * axis + (slice(start, stop),)]


def boxes(threshold: float = 0.5, kind: Kind = "outer") -> Boxes:
    """Chessboard distance to boxes, positive inside and negative outside.

    The predicted mask falls into components, voxels that share a face belonging together. Each
    gives one box, with edges along the axes. A level set of the field is then a union of boxes
    that have all been widened, or shrunk, by the same number of voxels. Without a predicted mask
    the field is ``-inf`` everywhere.

    Parameters
    ----------
    threshold : float, default 0.5
        The predicted mask is ``score >= threshold``.
    kind : {"outer", "inner"}, default "outer"
        "outer": the smallest box that holds the component, for outer sets. "inner": the largest
        box (most voxels) that the component holds, for inner sets; finding it is exact; a
        component of half a million voxels takes less than a second or two.

    Returns
    -------
    Boxes
        A field.

    Raises
    ------
    ValueError
        If the kind is unknown or the threshold not finite.

    Examples
    --------
    >>> p = np.array([[0.1, 0.1, 0.1, 0.1], [0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]])
    >>> boxes()(p)
    array([[-1., -1., -1., -2.],
           [ 1.,  1., -1., -2.],
           [ 2.,  1., -1., -2.]])
    """
    return Boxes(threshold, kind)
