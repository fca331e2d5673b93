"""The critical value of one case: an order statistic of a field over truth or background.

A *field* is any image made from the score without a look at the truth; larger means more
lesion. Thresholding a field gives nested regions, and each promise about such a region is
kept exactly up to one cut-off, the critical value. All three methods of this package are
this module with different fields.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .boxes import bounding_box, outside_box
from .case import as_mask, check_image
from .exact import as_decimal, exact, tolerated

Rate = Literal["fpr", "fdp"]


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


def inner_cutoff(
    field: ArrayLike, truth: ArrayLike, false: float = 0.0, rate: Rate = "fpr"
) -> float:
    """Smallest cut-off at which ``{field > c}`` lies inside the lesion, but for a share.

    Without a tolerance it is the largest value of the field over the background: the region
    holds no background voxel if and only if ``c >= inner_cutoff(...)``. With one, the share
    refers to the background (`rate` "fpr") or to the region itself ("fdp").

    "fpr": with ``m = floor(false * B)`` for a background of ``B`` voxels it is the
    ``(m + 1)``-th largest value over the background; the region holds at most ``m`` background
    voxels if and only if ``c >= inner_cutoff(...)``.

    "fdp": the false discovery proportion, the share of the region that is background (0 for an
    empty region), may fall as the region grows. It is the smallest cut-off from which on, for
    all stricter ones as well, that proportion is at most `false`.

    Parameters
    ----------
    field : array_like of float
        The field; infinite values are allowed.
    truth : array_like of bool, same shape
        The true mask.
    false : float, default 0.0
        Tolerated share of false voxels, ``0 <= false < 1``; exact for the decimal.
    rate : {"fpr", "fdp"}, default "fpr"
        What the share refers to.

    Returns
    -------
    float
        The cut-off; ``-inf`` for a truth that fills the image. For an empty truth and "fdp" it
        is the largest value: only an empty region keeps the promise.

    Raises
    ------
    ValueError
        If the shapes differ, the truth is not binary, the field holds NaN, or `false` or `rate`
        is out of range.

    References
    ----------
    Davenport (2024), Section 2.1, with the two sides put right.

    Examples
    --------
    >>> p = np.array([0.1, 0.9, 0.6, 0.8, 0.3])
    >>> y = np.array([0, 1, 1, 1, 0], dtype=bool)
    >>> inner_cutoff(p, y), inner_cutoff(p, y, false=0.5), inner_cutoff(p, y, 0.3, "fdp")
    (0.3, 0.1, 0.1)
    """
    values, mask = _checked(field, truth)
    return inner_cutoff_unchecked(values, mask, check_false(false), check_rate(rate))


def outer_cutoff_unchecked(
    field: NDArray, truth: NDArray[np.bool_], miss: float | Fraction
) -> float:
    """`outer_cutoff` for arrays that are known to be sound."""
    lesion = lesion_values(field, truth)
    if lesion.size == 0:
        return float("inf")
    allowed = tolerated(miss, lesion.size)
    return float(np.partition(lesion, allowed)[allowed])


def inner_cutoff_unchecked(
    field: NDArray,
    truth: NDArray[np.bool_],
    false: float | Fraction = 0.0,
    rate: Rate = "fpr",
) -> float:
    """`inner_cutoff` for arrays that are known to be sound."""
    if not false:
        return _background_maximum(field, truth)
    return (_fpr_cutoff if rate == "fpr" else _fdp_cutoff)(field, truth, false)


def _background_maximum(field: NDArray, truth: NDArray[np.bool_]) -> float:
    box = bounding_box(truth)
    if box is None:
        return float(field.max())
    # Outside the lesion's box everything is background: plain maxima, no mask needed.
    maxima = [field[part].max() for part in outside_box(box, field.shape)]
    background = field[box][~truth[box]]
    if background.size:
        maxima.append(background.max())
    return float(max(maxima, default=-np.inf))


def _fpr_cutoff(field: NDArray, truth: NDArray[np.bool_], false: float | Fraction) -> float:
    background = field[~truth]
    if background.size == 0:
        return -np.inf
    rank = background.size - 1 - tolerated(false, background.size)
    return float(np.partition(background, rank)[rank])


def _fdp_cutoff(field: NDArray, truth: NDArray[np.bool_], false: float | Fraction) -> float:
    share = exact(false)
    # A region of more voxels than this is too false even if it holds the whole lesion.
    most = math.floor(int(np.count_nonzero(truth)) / (1 - share))
    bound = -np.inf
    if most < field.size:
        rank = field.size - 1 - most
        bound = np.partition(field, rank, axis=None)[rank]
    top = field > bound
    levels, level_of = np.unique(field[top], return_inverse=True)
    # From the strictest region to the widest: its voxels, and those of them that are false.
    voxels = np.bincount(level_of)[::-1].cumsum()
    wrong = np.bincount(level_of, weights=~truth[top])[::-1].cumsum()
    broken = np.flatnonzero(_exceeds(wrong, share, voxels))
    return float(levels[::-1][broken[0]] if broken.size else bound)


def _exceeds(part: NDArray, share: Fraction, whole: NDArray) -> NDArray[np.bool_]:
    """``part > share * whole`` for arrays of counts, without rounding."""
    largest = share.denominator * int(whole.max(initial=0))
    integers = np.int64 if largest < 2**63 else object  # of any size, and slower
    return part.astype(integers) * share.denominator > whole.astype(integers) * share.numerator


def lesion_values(field: NDArray, truth: NDArray[np.bool_]) -> NDArray:
    """The field over the lesion, as a one-dimensional copy (read only inside its box)."""
    box = bounding_box(truth)
    return field[:0].ravel() if box is None else field[box][truth[box]]


def check_miss(miss: float) -> float:
    """`miss` as a float if it lies in [0, 1), else ValueError."""
    return _check_share("the tolerated miss fraction", miss)


def check_false(false: float) -> float:
    """`false` as a float if it lies in [0, 1), else ValueError."""
    return _check_share("the tolerated share of false voxels", false)


def check_rate(rate: Rate) -> Rate:
    """`rate` if it is one that inner regions know, else ValueError."""
    if rate not in get_args(Rate):
        raise ValueError(f"rate must be one of {get_args(Rate)}, found {rate!r}")
    return rate


def _check_share(name: str, value: float) -> float:
    number = as_decimal(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must lie in [0, 1), found {value!r}")
    return number


def _checked(field: ArrayLike, truth: ArrayLike) -> tuple[NDArray, NDArray[np.bool_]]:
    values, mask = np.asarray(field), as_mask(truth, "truth")
    check_image(values, "field")
    if values.shape != mask.shape:
        raise ValueError(f"the field has shape {values.shape} but the truth {mask.shape}")
    if np.isnan(values.min()):
        raise ValueError(f"the field holds {np.isnan(values).sum()} NaN")
    return values, mask
