"""Planning a calibration: how many cases a wanted assurance takes."""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .exact import check_level, exact, fewest_cases

_LARGEST_PLAN = 10**7  # cases; what needs more is refused instead of searched for minutes


def cases_needed(alpha: float, tolerance: float, confidence: float) -> int:
    """Number of calibration cases from which on a shortfall of the coverage is unlikely.

    The smallest `n` such that with `n` cases, and with **any larger number**, the coverage given
    the calibration set is at least ``1 - alpha - tolerance`` with probability at least
    `confidence`. Some smaller numbers may do as well: the rank of the conformal quantile is
    rounded up, so the probability zigzags on its way to one. None below ``ceil(1 / alpha) - 1``
    counts, where the set is trivial.

    Parameters
    ----------
    alpha : float
        Risk level, strictly between 0 and 1.
    tolerance : float
        By how much the coverage may fall short of ``1 - alpha``, ``0 < tolerance < 1 - alpha``.
    confidence : float
        Wanted probability, over calibration sets, strictly between 0 and 1.

    Returns
    -------
    int
        The number of cases, each of them independent of the others (one per patient).

    Raises
    ------
    ValueError
        If an argument is out of range, or more than ten million cases might be needed.

    Notes
    -----
    The law is that of `confseg.coverage_law`, a lower bound where scores tie. The search is
    finite and complete. Let ``l = floor(alpha (n + 1))``, so that the quantile is the ``l``-th
    largest number. Among the `n` that share one ``l`` the coverage rises with `n`: the ``l``-th
    largest of more numbers is no smaller. Only the first `n` of each ``l``,
    ``ceil(l / alpha) - 1``, can therefore spoil what held before. And with
    ``x = 1 - alpha - tolerance`` the coverage is below ``x`` exactly when ``Bin(n, x)`` is at
    least the rank, which is more than ``(1 - alpha) n``. By Chernoff's bound that has at most the
    probability ``exp(-n KL)``, ``KL`` the relative entropy of ``1 - alpha`` to ``x``: no `n` from
    ``log(1 / (1 - confidence)) / KL`` on can fail.

    References
    ----------
    Vovk (2012), *Conditional validity of inductive conformal predictors*.

    Examples
    --------
    >>> cases_needed(alpha=0.1, tolerance=0.05, confidence=0.9)
    60
    >>> from confseg import coverage_law
    >>> round(float(coverage_law(60, 0.1).sf(0.85)), 3)
    0.903
    """
    level, short, sure = _decimals(alpha, tolerance, confidence)
    bound = _enough(float(level), float(short), float(1 - sure))
    if bound > _LARGEST_PLAN:
        raise ValueError(
            f"tolerance = {tolerance!r} might take {bound:.1e} cases; expected one that takes "
            f"at most {_LARGEST_PLAN:.0e}"
        )
    floor, risk = float(1 - level - short), float(1 - sure)
    places = np.arange(1, math.floor(level * (bound + 1)) + 1)
    starts = _starts(level, places)
    failing = np.flatnonzero(_shortfall(starts, places, floor) > risk)
    if not failing.size:
        return fewest_cases(float(level))
    last = int(failing[-1]) + 1  # the l of the last block that starts with too few cases
    first, following = (int(n) for n in _starts(level, [last, last + 1]))
    block = range(first, following)
    return first + bisect_left(block, True, key=lambda n: bool(_shortfall(n, last, floor) <= risk))


def _decimals(
    alpha: float, tolerance: float, confidence: float
) -> tuple[Fraction, Fraction, Fraction]:
    level = exact(check_level("alpha", alpha))
    short = exact(check_level("tolerance", tolerance))
    if short >= 1 - level:
        raise ValueError(
            f"tolerance must be less than 1 - alpha = {float(1 - level)}, found {tolerance!r}"
        )
    return level, short, exact(check_level("confidence", confidence))


def _enough(alpha: float, tolerance: float, risk: float) -> int:
    """Cases from which on Chernoff's bound rules a shortfall out, but for the risk."""
    # log1p: the two terms nearly cancel when the tolerance is small.
    entropy = -(1 - alpha) * math.log1p(-tolerance / (1 - alpha)) - alpha * math.log1p(
        tolerance / alpha
    )
    return max(fewest_cases(alpha), math.ceil(-math.log(risk) / entropy) + 1)


def _starts(alpha: Fraction, places: ArrayLike) -> NDArray[np.int64]:
    """Fewest cases whose quantile has `places` places at or above it, ``ceil(l / alpha) - 1``."""
    above, below = alpha.denominator, alpha.numerator
    # Python's integers: the denominator of a long decimal times l may exceed 64 bits.
    return np.array([-(-place * above // below) - 1 for place in np.asarray(places).tolist()])


def _shortfall(n: ArrayLike, places: ArrayLike, floor: float) -> NDArray[np.float64]:
    """Probability that the coverage, ``Beta(n + 1 - l, l)``, is below the floor."""
    return special.betainc(np.add(n, 1) - places, places, floor)
