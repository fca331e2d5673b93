"""The critical value of one case: an order statistic of a field over truth or background.

A *field* is any image made from the score without a look at the truth; larger means more
lesion. Thresholding a field gives nested regions, and each promise about such a region is
kept exactly up to one cut-off, the critical value. All three methods of this package are
this module with different fields.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .boxes import bounding_box, outside_box
from .case import as_mask, check_image
from .exact import as_decimal, tolerated


def outer_cutoff(field: ArrayLike, truth: ArrayLike, miss: float = 0.0) -> float:
    """Largest cut-off at which ``{field >= c}`` misses at most a share of the lesion.

    With ``m = floor(miss * L)`` for a lesion of ``L`` voxels it is the ``(m + 1)``-th smallest
    value of the field over the lesion: the region misses at most ``m`` voxels if and only if
    ``c <= outer_cutoff(...)``.

    Parameters
    ----------
    field : array_like of float
        The field; infinite values are allowed.
    truth : array_like of bool, same shape
        The true mask.
    miss : float, default 0.0
        Tolerated share of missed lesion voxels, ``0 <= miss < 1``; exact for the decimal.

    Returns
    -------
    float
        The cut-off; ``+inf`` for an empty truth, since there is nothing to miss.

    Raises
    ------
    ValueError
        If the shapes differ, the truth is not binary, the field holds NaN or `miss` is out of
        range.

    References
    ----------
    Tan et al. (2025), Algorithm 1, with an exact order statistic instead of the bisection.

    Examples
    --------
    >>> p = np.array([0.1, 0.9, 0.6, 0.8, 0.3])
    >>> y = np.array([0, 1, 1, 1, 0], dtype=bool)
    >>> outer_cutoff(p, y), outer_cutoff(p, y, miss=0.4)
    (0.6, 0.8)
    """
    values, mask = _checked(field, truth)
    return outer_cutoff_unchecked(values, mask, check_miss(miss))


def inner_cutoff(field: ArrayLike, truth: ArrayLike) -> float:
    """Smallest cut-off at which ``{field > c}`` lies inside the lesion.

    It is the largest value of the field over the background: the region holds no background
    voxel if and only if ``c >= inner_cutoff(...)``.

    Parameters
    ----------
    field : array_like of float
        The field; infinite values are allowed.
    truth : array_like of bool, same shape
        The true mask.

    Returns
    -------
    float
        The cut-off; ``-inf`` for a truth that fills the image.

    Raises
    ------
    ValueError
        If the shapes differ, the truth is not binary or the field holds NaN.

    References
    ----------
    Davenport (2024), Section 2.1, with the two sides put right.

    Examples
    --------
    >>> p = np.array([0.1, 0.9, 0.6, 0.8, 0.3])
    >>> y = np.array([0, 1, 1, 1, 0], dtype=bool)
    >>> inner_cutoff(p, y)
    0.3
    """
    return inner_cutoff_unchecked(*_checked(field, truth))


def outer_cutoff_unchecked(
    field: NDArray, truth: NDArray[np.bool_], miss: float | Fraction
) -> float:
    """`outer_cutoff` for arrays that are known to be sound."""
    lesion = lesion_values(field, truth)
    if lesion.size == 0:
        return float("inf")
    allowed = tolerated(miss, lesion.size)
    return float(np.partition(lesion, allowed)[allowed])


def inner_cutoff_unchecked(field: NDArray, truth: NDArray[np.bool_]) -> float:
    """`inner_cutoff` for arrays that are known to be sound."""
    box = bounding_box(truth)
    if box is None:
        return float(field.max())
    # Outside the lesion's box everything is background: plain maxima, no mask needed.
    maxima = [field[part].max() for part in outside_box(box, field.shape)]
    background = field[box][~truth[box]]
    if background.size:
        maxima.append(background.max())
    return float(max(maxima, default=-np.inf))


def lesion_values(field: NDArray, truth: NDArray[np.bool_]) -> NDArray:
    """The field over the lesion, as a one-dimensional copy (read only inside its box)."""
    box = bounding_box(truth)
    return field[:0].ravel() if box is None else field[box][truth[box]]


def check_miss(miss: float) -> float:
    """`miss` as a float if it lies in [0, 1), else ValueError."""
    number = as_decimal("the tolerated miss fraction", miss)
    if not 0 <= number < 1:
        raise ValueError(f"the tolerated miss fraction must lie in [0, 1), found {miss!r}")
    return number


def _checked(field: ArrayLike, truth: ArrayLike) -> tuple[NDArray, NDArray[np.bool_]]:
    values, mask = np.asarray(field), as_mask(truth, "truth")
    check_image(values, "field")
    if values.shape != mask.shape:
        raise ValueError(f"the field has shape {values.shape} but the truth {mask.shape}")
    if np.isnan(values.min()):
        raise ValueError(f"the field holds {np.isnan(values).sum()} NaN")
    return values, mask
