"""Upper confidence bounds and p-values for the mean of losses between 0 and 1.

Three bounds, by name:

``"hoeffding"``
    Hoeffding's inequality: the mean plus ``sqrt(log(1 / delta) / (2 n))``.
``"bentkus"``
    The Hoeffding–Bentkus bound: the better of the Chernoff form of Hoeffding's inequality and
    of Bentkus' inequality, as in Section 3.1 of Bates et al. (2021).
``"wsr"``
    The betting bound of Waudby-Smith and Ramdas, as Proposition 5 of Bates et al. (2021) states
    it. A gambler bets against a mean that is too large; the order of the losses matters.

No assumption but independence and the range is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from .exact import check_level

Bound = Literal["hoeffding", "bentkus", "wsr"]

# Sixty-four halvings of [0, 1] reach the spacing of the floats.
_HALVINGS = 64


def p_value(
    losses: ArrayLike, level: float, bound: Bound = "bentkus", delta: float = 0.1
) -> NDArray[np.float64]:
    """P-value for the hypothesis that the mean loss is `level` or more.

    Parameters
    ----------
    losses : array_like of float, shape (..., n)
        Independent losses in [0, 1]; the last axis counts the cases.
    level : float
        Level of the mean, strictly between 0 and 1.
    bound : {"hoeffding", "bentkus", "wsr"}, default "bentkus"
        Which inequality is used.
    delta : float, default 0.1
        The error level that the bets of "wsr" are made for, fixed beforehand; the p-value is
        valid at every level, and most powerful at this one. The other two do not use it.

    Returns
    -------
    ndarray of float, shape (...)
        Valid p-values: under the hypothesis at most ``u`` with probability at most ``u``.

    Raises
    ------
    ValueError
        If a loss lies outside [0, 1], there are none, a level is out of range or the bound is
        unknown.

    References
    ----------
    Angelopoulos et al. (2021), *Learn then test*; Bates et al. (2021), Section 3.1.

    Examples
    --------
    >>> losses = np.zeros(22)
    >>> [round(float(p_value(losses, 0.1, bound)), 3) for bound in ("hoeffding", "bentkus", "wsr")]
    [0.644, 0.098, 0.124]
    """
    values, level, delta = _checked(losses, bound), check_level("level", level), _level(delta)
    return p_value_unchecked(values, level, bound, delta)


def upper_bound(losses: ArrayLike, delta: float, bound: Bound = "bentkus") -> NDArray[np.float64]:
    """Upper confidence bound of the mean loss: it holds with probability at least 1 - `delta`.

    Parameters
    ----------
    losses : array_like of float, shape (..., n)
        Independent losses in [0, 1]; the last axis counts the cases.
    delta : float
        Error level, strictly between 0 and 1.
    bound : {"hoeffding", "bentkus", "wsr"}, default "bentkus"
        Which inequality is used.

    Returns
    -------
    ndarray of float, shape (...)
        The bounds, at most 1; exact inversions of `p_value`.

    Raises
    ------
    ValueError
        If a loss lies outside [0, 1], there are none, `delta` is out of range or the bound is
        unknown.

    References
    ----------
    Bates et al. (2021), *Distribution-free, risk-controlling prediction sets*, Section 3.1 and
    Proposition 5; Waudby-Smith and Ramdas (2024).

    Examples
    --------
    >>> losses = np.repeat([0.0, 1.0], [90, 10])
    >>> [round(float(upper_bound(losses, 0.1, name)), 3) for name in ("hoeffding", "bentkus")]
    [0.207, 0.169]
    """
    values, delta = _checked(losses, bound), _level(delta)
    n, total = values.shape[-1], _sums(values)
    if bound == "hoeffding":
        return np.minimum(1.0, total / n + math.sqrt(math.log(1 / delta) / (2 * n)))
    if bound == "bentkus":
        return np.minimum(_chernoff_bound(total, n, delta), _bentkus_bound(total, n, delta))
    bets = _bets(values, delta)
    return _smallest(lambda mean: _log_capital(values, bets, mean) > math.log(1 / delta), total)


def fewest_cases(alpha: float, delta: float, bound: Bound = "bentkus") -> int:
    """Smallest number of cases at which even losses of 0 show that the mean is below `alpha`.

    Parameters
    ----------
    alpha, delta : float
        Level of the mean, and error level.
    bound : {"hoeffding", "bentkus", "wsr"}, default "bentkus"
        Which inequality is used.

    Returns
    -------
    int
        The number.

    Examples
    --------
    >>> [fewest_cases(0.1, 0.1, bound) for bound in ("hoeffding", "bentkus", "wsr")]
    [116, 22, 25]
    """
    alpha, delta = check_level("alpha", alpha), _level(delta)

    def enough(n: int) -> bool:
        return bool(p_value(np.zeros(n), alpha, bound, delta) <= delta)

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2  # 0, or too few
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def check_bound(bound: str) -> None:
    """Raise ValueError unless `bound` is the name of a bound."""
    if bound not in get_args(Bound):
        raise ValueError(f"bound must be one of {get_args(Bound)}, found {bound!r}")


def p_value_unchecked(
    losses: NDArray[np.float64], level: float, bound: Bound, delta: float
) -> NDArray[np.float64]:
    """`p_value` for losses and levels that are known to be sound."""
    n = losses.shape[-1]
    if bound == "wsr":
        best = _log_capital(losses, _bets(losses, delta), np.array(level))
        return np.exp(-np.maximum(best, 0.0))
    total = _sums(losses)
    if bound == "hoeffding":
        return np.exp(-2 * n * np.maximum(level - total / n, 0.0) ** 2)
    chernoff = np.exp(-n * _divergence(np.minimum(total / n, level), level))
    bentkus = math.e * stats.binom.cdf(_ceiling(total, n), n, level)
    return np.minimum(1.0, np.minimum(chernoff, bentkus))


def _sums(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correctly rounded sums over the last axis: they never fall where a loss grows."""
    rows = losses.reshape(-1, losses.shape[-1])
    return np.array([math.fsum(row) for row in rows.tolist()]).reshape(losses.shape[:-1])


def _ceiling(total: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The smallest whole number not below the sum that the losses mean.

    Losses are rounded quotients, each wrong by half a unit of the last place at most; a sum as
    close to a whole number as that *is* this number, so that 3.0000000000000004 stays 3.
    """
    nearest = np.rint(total)
    whole = np.abs(total - nearest) <= n * np.finfo(float).eps
    return np.where(whole, nearest, np.ceil(total))


def _divergence(a: NDArray[np.float64], b: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence between two coins, ``h1`` of the papers."""
    return special.rel_entr(a, b) + special.rel_entr(1 - a, 1 - b)


def _chernoff_bound(total: NDArray[np.float64], n: int, delta: float) -> NDArray[np.float64]:
    mean = np.minimum(total / n, 1.0)
    limit = math.log(1 / delta) / n
    return _smallest(lambda r: (r > mean) & (_divergence(mean, r) > limit), total)


def _bentkus_bound(total: NDArray[np.float64], n: int, delta: float) -> NDArray[np.float64]:
    """The level at which ``e P(Bin(n, level) <= k)`` is `delta`, by the beta distribution."""
    k = _ceiling(total, n)
    inverse = stats.beta.isf(delta / math.e, np.minimum(k, n - 1) + 1, np.maximum(n - k, 1))
    return np.where(k < n, inverse, 1.0)


def _bets(losses: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """How much is staked on each loss: decided by those before it."""
    count = np.arange(2, losses.shape[-1] + 2)
    mean = (0.5 + np.cumsum(losses, axis=-1)) / count
    variance = (0.25 + np.cumsum((losses - mean) ** 2, axis=-1)) / count
    before = np.concatenate([np.full_like(losses[..., :1], 0.25), variance[..., :-1]], axis=-1)
    return np.minimum(1.0, np.sqrt(2 * math.log(1 / delta) / (losses.shape[-1] * before)))


def _log_capital(
    losses: NDArray[np.float64], bets: NDArray[np.float64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of the largest capital that betting against `mean` ever had."""
    with np.errstate(divide="ignore"):  # everything may be lost: log 0
        gains = np.log1p(-bets * (losses - mean[..., np.newaxis]))
    return np.cumsum(gains, axis=-1).max(axis=-1)


def _smallest(
    exceeds: Callable[[NDArray[np.float64]], NDArray[np.bool_]], like: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The smallest mean in [0, 1] from which on `exceeds` is true, by halving; 1 if it never is."""
    low, high = np.zeros_like(like), np.ones_like(like)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = exceeds(middle)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high


def _level(delta: float) -> float:
    return check_level("delta", delta)


def _checked(losses: ArrayLike, bound: str) -> NDArray[np.float64]:
    check_bound(bound)
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"expected at least one loss, found an array of shape {values.shape}")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"losses must lie in [0, 1], found values from {values.min()} to {values.max()}"
        )
    return values
