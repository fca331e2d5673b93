"""Distances from every voxel to a mask, in millimetres or in steps of a structuring element."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .case import Spacing

Metric = Literal["mm", "cross", "cube"]

# Steps of the cross are the city-block distance, steps of the full cube the chessboard one.
_STEPS = {"cross": "taxicab", "cube": "chessboard"}


def check_metric(metric: str) -> None:
    """Raise ValueError unless `metric` is one of "mm", "cross" and "cube"."""
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {get_args(Metric)}, found {metric!r}")


def distance_to(
    mask: NDArray[np.bool_], spacing: Spacing | None, metric: Metric
) -> NDArray[np.float64]:
    """Distance from the center of every voxel to the nearest voxel of `mask`.

    Parameters
    ----------
    mask : ndarray of bool
        Any number of dimensions.
    spacing : tuple of float or None
        Voxel spacing in mm, one number per axis; None counts in voxels. Not used for steps.
    metric : {"mm", "cross", "cube"}
        Euclidean distance, or the number of dilations by the cross (face neighbors) or the
        full cube (all neighbors) that it takes to reach the voxel.

    Returns
    -------
    ndarray of float64, same shape
        Zero inside the mask; ``+inf`` everywhere when the mask is empty.

    Examples
    --------
    >>> distance_to(np.array([True, False, False]), (2.0,), "mm")
    array([0., 2., 4.])
    """
    if not mask.any():
        return np.full(mask.shape, np.inf)
    if metric == "mm":
        return ndimage.distance_transform_edt(~mask, sampling=spacing)
    return ndimage.distance_transform_cdt(~mask, metric=_STEPS[metric]).astype(np.float64)


def reach(distance: float, spacing: Spacing | None, metric: Metric, ndim: int) -> list[float]:
    """How many voxels along each axis a distance can span."""
    if metric != "mm" or spacing is None:
        return [distance] * ndim
    return [distance / step for step in spacing]
