"""The conformal quantile of calibration scores that do not all count the same."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .exact import check_level, exact

# Sums of floats this close to the target, relatively, are compared as fractions. Rounding moves
# a sum by less, up to a million cases.
_CLOSE = 1e-9


def weighted_quantile(
    scores: ArrayLike, weights: ArrayLike, test_weight: float, alpha: float
) -> float:
    """Conformal quantile of weighted nonconformity scores.

    The smallest score ``s`` such that the weights of the scores up to ``s`` make up at least the
    share ``1 - alpha`` of all weights, that of the new case included; ``+inf`` when all
    calibration cases together do not. With equal weights it is `conformal_quantile`.

    Parameters
    ----------
    scores : array_like of float, shape (n,)
        Nonconformity scores of the calibration cases; larger means worse. Infinite values are
        allowed.
    weights : array_like of float, shape (n,)
        For each case, how much likelier it is where the new case comes from than where the
        calibration cases come from; nonnegative, finite, known up to a common factor.
    test_weight : float
        The same for the new case. With 0 only the calibration cases count. With ``inf``, for a
        case that the calibration population cannot bring forth, the quantile is ``+inf``.
    alpha : float
        Risk level, strictly between 0 and 1.

    Returns
    -------
    float
        The quantile. Scores of weight 0 never decide it. Ties count together.

    Raises
    ------
    ValueError
        If there are no scores, some are NaN, the weights do not fit, are negative or not finite,
        `test_weight` is negative or NaN, all weights are 0, or `alpha` is out of range.

    Notes
    -----
    Sums are compared exactly, for the decimals that the weights print as.

    References
    ----------
    Tibshirani, Barber, Candès and Ramdas (2019), *Conformal prediction under covariate shift*.

    Examples
    --------
    >>> weighted_quantile([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 5], test_weight=2, alpha=0.5)
    4.0
    >>> weighted_quantile([1.0, 2.0, 3.0, 4.0], [5, 1, 1, 1], test_weight=2, alpha=0.5)
    1.0
    >>> weighted_quantile([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 5], test_weight=9, alpha=0.5)
    inf
    """
    alpha = check_level("alpha", alpha)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected a non-empty list of scores, found shape {values.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {values.size} scores are NaN")
    masses = checked_weights(weights, values.size)
    own = checked_test_weight(test_weight)
    if not (masses.any() or own):
        raise ValueError("all weights are 0, that of the new case too: they say nothing")
    if own == math.inf:
        return math.inf
    order = np.argsort(values, kind="stable")
    position = _first_enough(masses[order], own, alpha)
    return float(values[order[position]]) if position < values.size else math.inf


def effective_cases(weights: ArrayLike) -> float:
    """How many equally weighted cases are worth as much, ``(sum w)**2 / sum w**2``.

    Parameters
    ----------
    weights : array_like of float, shape (n,)
        Weights of the calibration cases, nonnegative and not all 0.

    Returns
    -------
    float
        Between 1 (one case has all the weight) and `n` (all weigh the same). A rule of thumb,
        no guarantee: much below ``1 / alpha`` the quantile hangs on very few cases.

    Raises
    ------
    ValueError
        If the weights are not a list, negative, not finite, or all 0.

    References
    ----------
    The effective sample size of importance sampling (Kish, 1965).

    Examples
    --------
    >>> effective_cases([1, 1, 1, 1]), effective_cases([1, 0, 0, 0])
    (4.0, 1.0)
    """
    masses = checked_weights(weights, np.size(weights))
    if not masses.any():
        raise ValueError("expected a positive weight, found none")
    shares = masses / masses.max()  # no square overflows
    return float(shares.sum() ** 2 / (shares**2).sum())


def checked_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    """`weights` as an array of `n` nonnegative finite numbers, else ValueError."""
    masses = np.asarray(weights, dtype=np.float64)
    if masses.shape != (n,):
        raise ValueError(f"expected {n} weights, one per score, found shape {masses.shape}")
    if not np.isfinite(masses).all():
        raise ValueError(f"{(~np.isfinite(masses)).sum()} of {n} weights are NaN or infinite")
    if (masses < 0).any():
        raise ValueError(f"weights must not be negative, found {masses.min()}")
    return masses


def checked_test_weight(test_weight: float) -> float:
    """`test_weight` as a nonnegative number, ``inf`` allowed, else ValueError."""
    own = float(str(test_weight))  # numpy.float32(0.1) is 0.1
    if not own >= 0:
        raise ValueError(f"the weight of the new case must not be negative or NaN, found {own}")
    return own


def _first_enough(masses: NDArray[np.float64], own: float, alpha: float) -> int:
    """First position up to which the masses make up the share ``1 - alpha``, or their number."""
    largest = max(masses.max(), own)
    sums = np.cumsum(masses / largest)
    target = float(1 - exact(alpha)) * (sums[-1] + own / largest)
    first, last = np.searchsorted(sums, [target * (1 - _CLOSE), target * (1 + _CLOSE)])
    return int(first) if first == last else _first_enough_exactly(masses, own, alpha)


def _first_enough_exactly(masses: NDArray[np.float64], own: float, alpha: float) -> int:
    fractions = [exact(mass) for mass in masses.tolist()]
    missing = (1 - exact(alpha)) * (sum(fractions) + exact(own))
    for position, fraction in enumerate(fractions):
        missing -= fraction
        if missing <= 0:
            return position
    return len(fractions)
