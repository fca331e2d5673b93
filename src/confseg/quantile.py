"""The conformal quantile and the law of the coverage it buys."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .exact import check_level, conformal_rank, fewest_cases


def conformal_quantile(values: ArrayLike, alpha: float) -> float:
    """Split-conformal quantile of nonconformity scores.

    The ``k``-th smallest value, ``k = ceil((1 - alpha)(n + 1))``, and ``+inf`` when
    ``k > n``: too few scores support no finite quantile. A new score, exchangeable with
    `values`, is at most this number with probability at least ``1 - alpha``.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Nonconformity scores of the calibration cases; larger means worse. Infinite values
        are allowed.
    alpha : float
        Risk level, strictly between 0 and 1.

    Returns
    -------
    float
        The quantile.

    Raises
    ------
    ValueError
        If `values` is empty, not one-dimensional or holds NaN, or `alpha` is out of range.

    References
    ----------
    Papadopoulos et al. (2002); Vovk, Gammerman and Shafer (2005).

    Examples
    --------
    >>> conformal_quantile([3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 9.0, 7.0, 8.0], alpha=0.1)
    9.0
    >>> conformal_quantile([1.0, 2.0], alpha=0.1)
    inf
    """
    alpha = check_level("alpha", alpha)
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"expected a non-empty list of scores, found shape {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"{np.isnan(scores).sum()} of {scores.size} scores are NaN")
    rank = conformal_rank(scores.size, alpha)
    if rank > scores.size:
        return float("inf")
    return float(np.partition(scores, rank - 1)[rank - 1])


def coverage_law(n: int, alpha: float) -> stats.rv_frozen:
    """Law of the coverage over new cases, given one calibration set.

    With independent cases and almost surely distinct scores the coverage of the conformal
    quantile follows ``Beta(k, n + 1 - k)``, ``k = ceil((1 - alpha)(n + 1))``. With ties it is
    stochastically larger.

    Parameters
    ----------
    n : int
        Number of calibration cases.
    alpha : float
        Risk level, strictly between 0 and 1.

    Returns
    -------
    scipy.stats.rv_frozen
        The beta distribution of the coverage.

    Raises
    ------
    ValueError
        If `n` is too small: the set is then trivial and always covers.

    References
    ----------
    Vovk (2012), *Conditional validity of inductive conformal predictors*.

    Examples
    --------
    >>> law = coverage_law(99, 0.1)
    >>> round(float(law.mean()), 4), round(float(law.std()), 4)
    (0.9, 0.0299)
    """
    return stats.beta(*_beta_parameters(n, alpha))


def compliance_law(n: int, alpha: float, m: int) -> stats.rv_frozen:
    """Law of the number of compliant cases among `m` new ones.

    Parameters
    ----------
    n : int
        Number of calibration cases.
    alpha : float
        Risk level, strictly between 0 and 1.
    m : int
        Number of test cases, none of them used in calibration.

    Returns
    -------
    scipy.stats.rv_frozen
        The beta-binomial distribution of the count.

    Raises
    ------
    ValueError
        If `n` is too small for `alpha`, or `m` is not positive.

    Examples
    --------
    >>> law = compliance_law(99, 0.1, m=100)
    >>> low, high = law.interval(0.9)
    >>> int(low), int(high)
    (82, 96)
    """
    if m < 1:
        raise ValueError(f"m must be at least 1, found {m}")
    return stats.betabinom(m, *_beta_parameters(n, alpha))


def _beta_parameters(n: int, alpha: float) -> tuple[int, int]:
    alpha = check_level("alpha", alpha)
    rank = conformal_rank(n, alpha)
    if rank > n:
        raise ValueError(
            f"{n} calibration cases are too few for alpha = {alpha}: the set is trivial and "
            f"always covers; at least {fewest_cases(alpha)} are needed"
        )
    return rank, n + 1 - rank
