"""Ranks and tolerated counts, exact for the decimal the user typed.

``0.3`` in a program is the binary number 0.299999999999999988...; the user means 3/10.
Every rank and every tolerated count in this package is computed from the decimal, with
integers only, so that no promise hangs on a rounding error.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import SupportsInt


@lru_cache(typed=True)
def exact(value: float | Fraction) -> Fraction:
    """The decimal that `value` prints as, as a fraction.

    Parameters
    ----------
    value : float or fractions.Fraction
        Any finite number, such as ``0.3`` or ``numpy.float32(0.3)``.

    Returns
    -------
    fractions.Fraction
        The shortest decimal that denotes `value`.

    Examples
    --------
    >>> exact(0.3)
    Fraction(3, 10)
    """
    return Fraction(str(value))


def conformal_rank(n: int, alpha: float) -> int:
    """Rank of the conformal quantile among `n` calibration numbers, ``ceil((1 - alpha)(n + 1))``.

    Parameters
    ----------
    n : int
        Number of calibration cases.
    alpha : float
        Risk level.

    Returns
    -------
    int
        The rank, counted from 1. Larger than `n` when `n` is too small for `alpha`.

    Examples
    --------
    >>> conformal_rank(9, 0.1), conformal_rank(8, 0.1)
    (9, 9)
    """
    return math.ceil((1 - exact(alpha)) * (n + 1))


def fewest_cases(alpha: float) -> int:
    """Smallest calibration set whose quantile is not trivial, ``ceil(1 / alpha) - 1``.

    Parameters
    ----------
    alpha : float
        Risk level.

    Returns
    -------
    int
        The smallest `n` with ``conformal_rank(n, alpha) <= n``.

    Examples
    --------
    >>> fewest_cases(0.1), fewest_cases(0.15)
    (9, 6)
    """
    return math.ceil(1 / exact(alpha)) - 1


def tolerated(fraction: float | Fraction, voxels: SupportsInt) -> int:
    """How many of `voxels` a tolerance allows to be wrong, ``floor(fraction * voxels)``.

    Parameters
    ----------
    fraction : float or fractions.Fraction
        Tolerated share, as a decimal.
    voxels : int
        Size of the set the share refers to.

    Returns
    -------
    int
        The tolerated count.

    Examples
    --------
    >>> tolerated(0.3, 10), int(0.29 * 100), tolerated(0.29, 100)
    (3, 28, 29)
    """
    return math.floor(exact(fraction) * int(voxels))


def check_level(name: str, value: float) -> float:
    """Return `value` if it is a number strictly between 0 and 1, else raise.

    Parameters
    ----------
    name : str
        What the number is, for the message.
    value : float
        The number.

    Returns
    -------
    float
        The same decimal as a Python float.

    Raises
    ------
    ValueError
        If `value` is not strictly between 0 and 1.
    """
    number = as_decimal(name, value)
    if not 0 < number < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, found {value!r}")
    return number


def as_decimal(name: str, value: float) -> float:
    """The Python float with the same decimal as `value`.

    Parameters
    ----------
    name : str
        What the number is, for the message.
    value : float
        The number; ``numpy.float32(0.1)`` becomes ``0.1``.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ValueError
        If `value` is not a finite number.
    """
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError(f"{name} must be a number, found {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, found {value!r}")
    return number


def percent(value: float) -> str:
    """A share in percent as people write it, such as "10%" or "2.5%"."""
    return f"{100 * value:.10g}%"
