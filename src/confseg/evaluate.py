"""Evaluation on per-case numbers: no volume is touched twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .case import Case
from .quantile import compliance_law, conformal_quantile


@dataclass(frozen=True)
class Splits:
    """Outcome of repeated random splits.

    Attributes
    ----------
    calibration : ndarray of bool, shape (n_splits, n)
        Which cases calibrated in each split; the others tested.
    quantiles : ndarray of float, shape (n_splits,) or (n_splits, promises)
        Conformal quantiles of the nonconformity scores.
    compliance : ndarray of float, shape (n_splits,)
        Share of test cases that keep every promise (the ECR).
    alpha : float or tuple of float
        Risk level of each promise.
    """

    calibration: NDArray[np.bool_]
    quantiles: NDArray[np.float64]
    compliance: NDArray[np.float64]
    alpha: float | tuple[float, ...]

    @property
    def n_calibration(self) -> NDArray[np.int_]:
        """Number of calibration cases in each split."""
        return self.calibration.sum(axis=1)

    @property
    def n_test(self) -> NDArray[np.int_]:
        """Number of test cases in each split."""
        return (~self.calibration).sum(axis=1)

    def law(self) -> stats.rv_frozen:
        """Exact law of the number of compliant test cases in one split.

        Returns
        -------
        scipy.stats.rv_frozen
            Beta-binomial; it holds where each case is its own patient and scores are distinct.

        Raises
        ------
        ValueError
            If the splits differ in size, or there is more than one promise.
        """
        sizes = set(zip(self.n_calibration.tolist(), self.n_test.tolist(), strict=True))
        if len(sizes) > 1 or not isinstance(self.alpha, float):
            raise ValueError("no single law: the splits differ in size or make two promises")
        (n, m) = sizes.pop()
        return compliance_law(n, self.alpha, m)


def repeated_splits(
    scores: ArrayLike,
    alpha: float | Sequence[float],
    patients: Sequence[str] | None = None,
    n_splits: int = 100,
    calibration: float = 0.5,
    seed: int = 0,
) -> Splits:
    """Calibrate and test on many random splits of one set of cases.

    Parameters
    ----------
    scores : array_like of float, shape (n,) or (n, promises)
        Nonconformity scores (larger is worse), for example ``method.nonconformity_`` of a
        method calibrated once on all cases.
    alpha : float or sequence of float
        Risk level; one per column of `scores`.
    patients : sequence of str, optional
        Patient of each case, for example ``method.patients_``; cases of one patient stay on
        one side of the split. Cases with an empty name count as patients of their own.
    n_splits : int, default 100
        Number of splits.
    calibration : float, default 0.5
        Share of the patients that calibrate.
    seed : int, default 0
        Seed of the splits.

    Returns
    -------
    Splits
        Quantiles and compliance of every split.

    Raises
    ------
    ValueError
        If the lengths differ, a side of the split would be empty, there are no scores or some
        are NaN, or a level is out of range.

    References
    ----------
    The protocol of Tan et al. (2025): 100 random splits in half.

    Examples
    --------
    >>> scores = np.random.default_rng(0).random(200)
    >>> splits = repeated_splits(scores, alpha=0.1, n_splits=1000)
    >>> round(float(splits.compliance.mean()), 2), round(float(splits.law().mean()) / 100, 2)
    (0.9, 0.9)
    """
    if n_splits < 1:
        raise ValueError(f"n_splits must be at least 1, found {n_splits}")
    table = np.asarray(scores, dtype=np.float64)
    columns = _columns(table)
    levels = list(alpha) if isinstance(alpha, Sequence) else [alpha] * columns.shape[1]
    if len(levels) != columns.shape[1]:
        raise ValueError(f"{len(levels)} levels for {columns.shape[1]} columns of scores")
    unit = _patient_numbers(patients, len(columns))
    chosen = round(calibration * (unit.max() + 1))
    if not 0 < chosen <= unit.max():
        raise ValueError(
            f"calibration = {calibration} of {unit.max() + 1} patients leaves one side empty"
        )
    rng = np.random.default_rng(seed)
    members = np.array(
        [np.isin(unit, rng.permutation(unit.max() + 1)[:chosen]) for _ in range(n_splits)]
    )
    quantiles = np.array(
        [
            [
                conformal_quantile(column[use], level)
                for column, level in zip(columns.T, levels, strict=True)
            ]
            for use in members
        ]
    )
    compliance = [
        np.mean((columns[~use] <= limit).all(axis=1))
        for use, limit in zip(members, quantiles, strict=True)
    ]
    return Splits(
        calibration=members,
        quantiles=quantiles[:, 0] if table.ndim == 1 else quantiles,
        compliance=np.array(compliance),
        alpha=float(levels[0]) if table.ndim == 1 else tuple(map(float, levels)),
    )


def law_test(counts: ArrayLike, law: stats.rv_frozen) -> float:
    """Chi-square test that counts follow a discrete law.

    Parameters
    ----------
    counts : array_like of int, shape (repetitions,)
        Independent counts, such as the number of compliant cases among `m` new ones after each
        of many calibrations.
    law : scipy.stats.rv_frozen
        The law with finite support, such as `compliance_law` gives it.

    Returns
    -------
    float
        The p-value. Neighboring counts share a cell until five of them are expected.

    Raises
    ------
    ValueError
        If a count lies outside the support of the law, or too few leave a single cell.

    Examples
    --------
    >>> law = compliance_law(19, 0.1, m=10)
    >>> counts = law.rvs(size=2000, random_state=1)
    >>> bool(law_test(counts, law) > 0.001), bool(law_test(counts - (counts > 5), law) > 0.001)
    (True, False)
    """
    low, high = (int(end) for end in law.support())
    seen = np.asarray(counts, dtype=int) - low
    if seen.min() < 0 or seen.max() > high - low:
        raise ValueError(f"counts must lie between {low} and {high}, found others")
    expected = seen.size * law.pmf(np.arange(low, high + 1))
    starts, mass = [0], 0.0
    for following, share in enumerate(expected, start=1):
        mass += share
        if mass >= 5:
            starts.append(following)
            mass = 0.0
    starts.pop()  # what is left over joins the last full cell
    if len(starts) < 2:
        raise ValueError(f"{seen.size} counts are too few to compare with the law")
    observed = np.bincount(seen, minlength=high - low + 1)
    return float(
        stats.chisquare(np.add.reduceat(observed, starts), np.add.reduceat(expected, starts)).pvalue
    )


class StepCurve:
    """What thresholding one case gives at every cut-off: FNR and size as step functions.

    Two sorted lists of values, of the lesion and of the background, answer for every cut-off
    ``c`` what the region ``{field >= c}`` misses and how large it is.

    Parameters
    ----------
    case : Case
        A case; its score is the field.

    Examples
    --------
    >>> case = Case([0.1, 0.9, 0.6, 0.8, 0.3], [False, True, True, True, False])
    >>> curve = StepCurve(case)
    >>> curve.fnr([0.5, 0.7, 0.9]), curve.size([0.5, 0.7, 0.9])
    (array([0.        , 0.33333333, 0.66666667]), array([3, 2, 1]))
    """

    def __init__(self, case: Case) -> None:
        self.lesion = np.sort(case.score[case.truth].astype(np.float64))
        self.background = np.sort(case.score[~case.truth].astype(np.float64))

    def missed(self, cutoff: ArrayLike) -> NDArray[np.int_]:
        """Lesion voxels below each cut-off."""
        return np.searchsorted(self.lesion, cutoff, side="left")

    def fnr(self, cutoff: ArrayLike) -> NDArray[np.float64]:
        """False negative rate at each cut-off; NaN for a case without lesion."""
        lesion = self.lesion.size or np.nan
        return self.missed(cutoff) / lesion

    def size(self, cutoff: ArrayLike) -> NDArray[np.int_]:
        """Voxels of the region at each cut-off."""
        false = self.background.size - np.searchsorted(self.background, cutoff, side="left")
        return self.lesion.size - self.missed(cutoff) + false

    def compactness(self, cutoff: ArrayLike) -> NDArray[np.float64]:
        """Share of the image that the region takes at each cut-off."""
        return self.size(cutoff) / (self.lesion.size + self.background.size)


def _columns(table: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = table[:, np.newaxis] if table.ndim == 1 else table
    if columns.ndim != 2 or columns.size == 0:
        raise ValueError(f"expected scores (n,) or (n, promises), found shape {table.shape}")
    if np.isnan(columns).any():
        raise ValueError(f"{np.isnan(columns).sum()} of the scores are NaN")
    return columns


def _patient_numbers(patients: Sequence[str] | None, n: int) -> NDArray[np.int_]:
    if patients is None:
        return np.arange(n)
    if len(patients) != n:
        raise ValueError(f"{len(patients)} patients named for {n} cases")
    names = [f"\0unnamed {i}" if name == "" else name for i, name in enumerate(patients)]
    return np.unique(names, return_inverse=True)[1]
