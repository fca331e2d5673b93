"""Distances to the boxes in or around the components of the predicted mask."""

from __future__ import annotations

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
    # All widths are tried along every axis but the longest, where runs are counted at once.
    order = tuple(np.argsort(mask.shape, kind="stable"))
    best = _Best()
    _widen(mask.transpose(order), (), best)
    box = dict(zip(order, best.box, strict=True))
    return tuple(box[axis] for axis in range(mask.ndim))


class _Best:
    """The largest box so far."""

    volume = 0
    box: Box = ()


def _widen(fits: NDArray[np.bool_], widths: tuple[int, ...], best: _Best) -> None:
    """Try the boxes of given widths along the first axes, which fit where `fits` says so."""
    axis = len(widths)
    if axis == fits.ndim - 1:
        _keep_longest_run(fits, widths, best)
        return
    narrow, length = fits, fits.shape[axis]
    # What no box can exceed that is at least one voxel wide here: the longest runs elsewhere.
    for width in range(1, length + 1):
        if width > 1:
            narrow = _shifted(narrow, axis, 0, -1) & _shifted(fits, axis, width - 1, None)
        others = [_longest_run(narrow, other) for other in range(axis + 1, fits.ndim)]
        if np.prod([*widths, length, *others]) <= best.volume:
            return
        _widen(narrow, (*widths, width), best)


def _keep_longest_run(fits: NDArray[np.bool_], widths: tuple[int, ...], best: _Best) -> None:
    runs = _runs(fits, fits.ndim - 1)
    volume = int(np.prod(widths, dtype=int)) * int(runs.max())
    if volume > best.volume:
        *starts, last = (int(i) for i in np.unravel_index(runs.argmax(), runs.shape))
        best.volume = volume
        best.box = (
            *(slice(start, start + width) for start, width in zip(starts, widths, strict=True)),
            slice(last + 1 - int(runs.max()), last + 1),
        )


def _longest_run(mask: NDArray[np.bool_], axis: int) -> int:
    return int(_runs(mask, axis).max())


def _runs(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int_]:
    """How many True in a row end at each voxel, along an axis."""
    shape = [1] * mask.ndim
    shape[axis] = mask.shape[axis]
    counts = np.arange(1, mask.shape[axis] + 1).reshape(shape)
    return counts - np.maximum.accumulate(np.where(mask, 0, counts), axis=axis)


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
        box (most voxels) that the component holds, for inner sets; finding it is exact and takes
        seconds for a component of a hundred voxels along every axis of a volume.

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
