"""A conformal test martingale: a bet against exchangeability, case by case.

While cases keep coming from where the calibration cases came from, their conformal p-values are
independent and uniform. A gambler who bets that they are small then plays a fair game; if the
capital grows a hundredfold all the same, something has changed.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .exact import check_level

Betting = Literal["mixture", "power"]


@dataclass(frozen=True, eq=False)
class DriftReport:
    """Outcome of `drift`.

    Attributes
    ----------
    p_values : ndarray of float64, shape (m,)
        Conformal p-value of each new score; independent and uniform under exchangeability.
    log_capital : ndarray of float64, shape (m,)
        Natural logarithm of the capital after each new score; it starts at 0.
    delta : float
        False-alarm probability; the alarm is raised when the capital reaches ``1 / delta``.
    alarm : int or None
        Index of the new score that raised it, counted from 0; None while there is none.
    """

    p_values: NDArray[np.float64]
    log_capital: NDArray[np.float64]
    delta: float
    alarm: int | None


def drift(
    scores: ArrayLike,
    reference: ArrayLike = (),
    betting: Betting = "mixture",
    kappa: float = 0.5,
    delta: float = 0.01,
    seed: int = 0,
) -> DriftReport:
    """Watch scores that arrive one after the other, and raise an alarm when they get worse.

    If all scores, `reference` and new ones, are exchangeable, the probability that an alarm is
    ever raised, however long the watch lasts, is at most `delta`.

    Parameters
    ----------
    scores : array_like of float, shape (m,)
        New scores in the order of arrival; larger means worse. Nonconformity scores, or any
        other number of a case, such as a covariate that needs no truth.
    reference : array_like of float, shape (n,), optional
        Scores to start from, such as ``method.nonconformity_``; nothing is bet on them.
    betting : {"mixture", "power"}, default "mixture"
        "power" multiplies the capital by ``kappa * p**(kappa - 1)`` at a p-value ``p``;
        "mixture" spreads the capital evenly over all `kappa` between 0 and 1. Both bet on small
        p-values, so on scores that grow; change the sign of the scores to watch the other side.
    kappa : float, default 0.5
        Exponent of "power", strictly between 0 and 1; the smaller, the bolder.
    delta : float, default 0.01
        False-alarm probability, strictly between 0 and 1.
    seed : int, default 0
        Seed of the draws that break ties, and that smooth the p-values.

    Returns
    -------
    DriftReport
        p-values, capital and alarm.

    Raises
    ------
    ValueError
        If there are no new scores, some are NaN, or a parameter is out of range.

    Notes
    -----
    The p-value of a score compares it with all earlier ones, those of the reference and of the
    stream; comparing with the reference alone would give p-values that are not independent, and
    a capital that is no martingale. After a change the new scores slowly become the standard:
    an alarm that has not come soon may never come.

    References
    ----------
    Vovk, Nouretdinov and Gammerman (2003), *Testing exchangeability on-line*; Ville (1939).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> before, after = rng.normal(size=200), rng.normal(loc=1.0, size=100)
    >>> drift(before[100:], reference=before[:100]).alarm is None
    True
    >>> drift(after, reference=before).alarm is None
    False
    """
    if betting not in get_args(Betting):
        raise ValueError(f"betting must be one of {get_args(Betting)}, found {betting!r}")
    delta, kappa = check_level("delta", delta), check_level("kappa", kappa)
    p = conformal_p_values(scores, reference, seed)
    if p.size == 0:
        raise ValueError("expected at least one new score, found none")
    capital = log_mixture(p) if betting == "mixture" else log_power(p, kappa)
    above = np.flatnonzero(capital >= -math.log(delta))
    return DriftReport(p, capital, delta, int(above[0]) if above.size else None)


def conformal_p_values(
    scores: ArrayLike, reference: ArrayLike = (), seed: int = 0
) -> NDArray[np.float64]:
    """Smoothed conformal p-values of scores, each compared with itself and all earlier ones.

    With ``t`` scores so far, the p-value of the newest is the number of larger ones, plus a
    uniform share of those as large (itself included), divided by ``t``. If the scores are
    exchangeable, the p-values are independent and uniform on (0, 1], exactly.

    Parameters
    ----------
    scores : array_like of float, shape (m,)
        New scores in the order of arrival; infinite values are allowed.
    reference : array_like of float, shape (n,), optional
        Earlier scores.
    seed : int, default 0
        Seed of the uniform draws.

    Returns
    -------
    ndarray of float64, shape (m,)
        The p-values.

    Raises
    ------
    ValueError
        If a list is not one-dimensional or holds NaN.

    References
    ----------
    Vovk, Nouretdinov and Gammerman (2003), *Testing exchangeability on-line*.

    Examples
    --------
    >>> conformal_p_values([5.0], reference=[1.0, 2.0, 3.0, 4.0])[0] <= 1 / 5
    np.True_
    """
    earlier, values = sorted(_listed(reference, "reference").tolist()), _listed(scores, "scores")
    # In (0, 1]: a p-value of 0 would make the capital infinite.
    shares = 1 - np.random.default_rng(seed).random(values.size)
    p = np.empty(values.size)
    for i, value in enumerate(values.tolist()):
        insort(earlier, value)
        up_to, below = bisect_right(earlier, value), bisect_left(earlier, value)
        p[i] = (len(earlier) - up_to + shares[i] * (up_to - below)) / len(earlier)
    return p


def log_power(p_values: ArrayLike, kappa: float) -> NDArray[np.float64]:
    """Log capital of the power martingale, the sums of ``log(kappa) + (kappa - 1) log(p)``.

    Parameters
    ----------
    p_values : array_like of float, shape (m,)
        p-values in (0, 1].
    kappa : float
        Exponent, strictly between 0 and 1.

    Returns
    -------
    ndarray of float64, shape (m,)
        Natural logarithm of the capital after each p-value.
    """
    return np.cumsum(math.log(kappa) + (kappa - 1) * np.log(p_values))


def log_mixture(p_values: ArrayLike) -> NDArray[np.float64]:
    """Log capital of the simple mixture: the mean of the power martingales over `kappa`.

    Parameters
    ----------
    p_values : array_like of float, shape (m,)
        p-values in (0, 1].

    Returns
    -------
    ndarray of float64, shape (m,)
        Natural logarithm of the capital after each p-value.

    Notes
    -----
    After ``m`` p-values with ``x = -sum(log(p))`` the capital is the integral over `kappa` from
    0 to 1 of ``kappa**m * exp((1 - kappa) x)``. That is ``exp(x) * x**(-m - 1)`` times the
    incomplete gamma function of ``m + 1`` at ``x``. Where ``x`` is small that function
    underflows, and its power series takes over: the sum over ``k`` of
    ``x**k / ((m + 1) (m + 2) ... (m + 1 + k))``.
    """
    x = np.cumsum(-np.log(np.atleast_1d(np.asarray(p_values, dtype=np.float64))))
    order = np.arange(1.0, x.size + 1) + 1  # m + 1
    small = x <= order
    result = np.empty(x.size)
    result[small] = _log_series(x[small], order[small])
    x, order = x[~small], order[~small]
    scale = x - order * np.log(x) + special.gammaln(order)
    result[~small] = scale + np.log(special.gammainc(order, x))
    return result


def _log_series(x: NDArray[np.float64], order: NDArray[np.float64]) -> NDArray[np.float64]:
    """Terms fall from the first on, since ``x <= order``, and ever faster."""
    term, total, k = 1 / order, 1 / order, 0
    while (term > np.finfo(np.float64).eps * total).any():
        k += 1
        term = term * x / (order + k)
        total = total + term
    return np.log(total)


def _listed(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{what}: expected a list of numbers, found shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{what}: {np.isnan(array).sum()} of {array.size} are NaN")
    return array
