"""Measures of a region against the truth; each takes bool arrays of one shape."""

from __future__ import annotations

from typing import NamedTuple, SupportsInt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .case import as_mask
from .exact import as_decimal


class Coverage(NamedTuple):
    """Whether the inner set, the outer set and both together keep their promise."""

    inner: bool
    outer: bool
    joint: bool


def fnr(prediction: ArrayLike, truth: ArrayLike) -> float:
    """False negative rate of one case: share of the lesion's voxels that are missed.

    Parameters
    ----------
    prediction, truth : array_like of bool, one shape
        The predicted and the true mask.

    Returns
    -------
    float
        Missed voxels / lesion voxels; NaN for an empty truth, where the rate is 0/0.

    Raises
    ------
    ValueError
        If the shapes differ or a mask is not binary.

    Examples
    --------
    >>> fnr([1, 1, 0, 0], [0, 1, 1, 1])
    0.6666666666666666
    """
    region, lesion = _pair(prediction, truth)
    # Missed / all, never 1 - found / all: 1 - 7/10 > 0.3 in floating point, but 3/10 == 0.3.
    return _ratio(np.count_nonzero(lesion & ~region), np.count_nonzero(lesion))


def compliance_rate(rates: ArrayLike, eps: float) -> float:
    """Empirical compliance rate (ECR): share of cases whose false negative rate is at most eps.

    Parameters
    ----------
    rates : array_like of float, shape (m,)
        False negative rates, each the rounded quotient of two counts as `fnr` returns it.
    eps : float
        Tolerated false negative rate. The comparison is exact for an `eps` of at most eight
        decimals and lesions of fewer than ten million voxels.

    Returns
    -------
    float
        The share.

    Raises
    ------
    ValueError
        If there are no rates, or some are NaN (a case without lesion has none).

    References
    ----------
    Tan et al. (2025), evaluation metrics.

    Examples
    --------
    >>> compliance_rate([0.0, 0.3, 0.4, 0.1], eps=0.3)
    0.75
    """
    values = np.asarray(rates, dtype=np.float64)
    if values.size == 0:
        raise ValueError("expected at least one rate, found none")
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {values.size} rates are NaN (no lesion)")
    return float(np.mean(values <= as_decimal("eps", eps)))


def compactness(prediction: ArrayLike) -> float:
    """Prediction compactness (PC): predicted voxels / voxels of the image.

    Parameters
    ----------
    prediction : array_like of bool
        The predicted mask.

    Returns
    -------
    float
        The share of the image that is predicted.

    References
    ----------
    Tan et al. (2025), evaluation metrics.

    Examples
    --------
    >>> compactness([True, False, False, False])
    0.25
    """
    mask = as_mask(prediction, "prediction")
    return _ratio(np.count_nonzero(mask), mask.size)


def stretch(region: ArrayLike, prediction: ArrayLike) -> float:
    """How much larger a region is than the predicted mask it was made from.

    Parameters
    ----------
    region, prediction : array_like of bool, one shape
        The region (an outer set, a mask with its margin) and the predicted mask.

    Returns
    -------
    float
        Voxels of the region / voxels of the mask; ``inf`` for an empty mask with a region,
        NaN if both are empty.

    Raises
    ------
    ValueError
        If the shapes differ or a mask is not binary.

    References
    ----------
    Mossina and Friedrich (2025).

    Examples
    --------
    >>> stretch([1, 1, 1, 0], [0, 1, 1, 0])
    1.5
    """
    outer, mask = _pair(region, prediction)
    return _ratio(np.count_nonzero(outer), np.count_nonzero(mask))


def coverage(sets: tuple[ArrayLike, ArrayLike], truth: ArrayLike) -> Coverage:
    """Whether an inner and an outer set enclose the truth.

    Parameters
    ----------
    sets : (array_like of bool, array_like of bool)
        The inner and the outer set, as `ConfidenceSets.predict` returns them.
    truth : array_like of bool, same shape
        The true mask.

    Returns
    -------
    Coverage
        ``inner``: inner ⊆ truth; ``outer``: truth ⊆ outer; ``joint``: both.

    Raises
    ------
    ValueError
        If the shapes differ or a mask is not binary.

    Examples
    --------
    >>> coverage(([0, 1, 0], [1, 1, 0]), [0, 1, 1])
    Coverage(inner=True, outer=False, joint=False)
    """
    inner, lesion = _pair(sets[0], truth)
    outer, _ = _pair(sets[1], truth)
    inside, holds = not (inner & ~lesion).any(), not (lesion & ~outer).any()
    return Coverage(inside, holds, inside and holds)


def dice(a: ArrayLike, b: ArrayLike) -> float:
    """Dice overlap of two masks, for orientation: it promises nothing.

    Parameters
    ----------
    a, b : array_like of bool, one shape
        The masks.

    Returns
    -------
    float
        ``2 |a ∩ b| / (|a| + |b|)``; NaN if both are empty.

    Raises
    ------
    ValueError
        If the shapes differ or a mask is not binary.

    Examples
    --------
    >>> dice([1, 1, 0], [0, 1, 1])
    0.5
    """
    first, second = _pair(a, b)
    return _ratio(
        2 * np.count_nonzero(first & second), np.count_nonzero(first) + np.count_nonzero(second)
    )


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = as_mask(a), as_mask(b)
    if first.shape != second.shape:
        raise ValueError(f"the masks have shapes {first.shape} and {second.shape}")
    return first, second


def _ratio(part: SupportsInt, whole: SupportsInt) -> float:
    if int(whole) == 0:
        return float("nan") if int(part) == 0 else float("inf")
    return int(part) / int(whole)
