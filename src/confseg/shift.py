"""Covariate shift: another mix of cases, each of them handled as before.

The new case comes from another population than the calibration cases, but what the method makes
of a case with given covariates is the same in both. A calibration case then counts with the
ratio of the two densities at its covariates, and so does the new case.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import SplitConformal
from .weighted import checked_test_weight, checked_weights, weighted_quantile

M = TypeVar("M", bound=SplitConformal)


def reweighted(method: M, weights: ArrayLike, test_weight: float) -> M:
    """A calibrated method with the cut-offs that belong to one new case under covariate shift.

    Parameters
    ----------
    method : CLS, ConfidenceSets or Margin
        Calibrated; it stays as it is.
    weights : array_like of float, shape (method.n_,)
        Weight of each calibration score, in the order of ``method.nonconformity_``: the ratio of
        the new case's population to that of the calibration cases, up to a factor. Nonnegative
        and finite, and never learned from the calibration cases themselves.
    test_weight : float
        Weight of the new case. A new case of another weight needs other cut-offs.

    Returns
    -------
    CLS, ConfidenceSets or Margin
        A copy with its cut-offs from `weighted_quantile`, one for each promise; it predicts,
        checks and states what it now assumes.

    Raises
    ------
    ValueError
        If the method is not calibrated, or a weight is unsound.

    References
    ----------
    Tibshirani, Barber, Candès and Ramdas (2019), *Conformal prediction under covariate shift*.

    Examples
    --------
    >>> from confseg import CLS, phantoms
    >>> method = CLS(eps=0.1, alpha=0.1).calibrate(phantoms.cases(50, seed=1))
    >>> for_hard_cases = reweighted(method, method.nonconformity_ > -0.5, test_weight=1.0)
    >>> for_hard_cases.cutoff_ <= method.cutoff_
    True
    """
    calibration = method._calibrated()
    masses = checked_weights(weights, method.n_)
    own = checked_test_weight(test_weight)
    result = copy.copy(method)
    result._calibration = replace(
        calibration,
        weights=masses,
        test_weight=own,
        cutoffs=method._cutoffs(
            calibration.scores, lambda scores, alpha: weighted_quantile(scores, masses, own, alpha)
        ),
    )
    return result


@dataclass(eq=False)
class DensityRatio:
    """How much likelier a case is in the target population than in the source population.

    A probabilistic classifier learns to tell cases of the two populations apart by covariates
    that need no truth. Where it gives the target the probability ``p``, the ratio of the
    densities is ``p / (1 - p)`` times the number of source cases per target case.

    Parameters
    ----------
    classifier : scikit-learn classifier, optional
        Anything with ``fit`` and ``predict_proba``; it is cloned, not changed. By default
        logistic regression on standardized covariates.

    Notes
    -----
    Fit it on cases that do not calibrate. A classifier that has seen the calibration cases
    treats them otherwise than the new case, and they are no longer exchangeable, weighted or not.

    The promise holds for the true ratio. What a classifier gets wrong is lost: with weights
    ``w`` instead of the true ``w*``, both scaled to mean 1 over the source, the coverage is at
    least ``1 - alpha`` minus half the mean of ``abs(w - w*)`` over the source.

    References
    ----------
    Tibshirani, Barber, Candès and Ramdas (2019), *Conformal prediction under covariate shift*,
    section 2.3; Lei and Candès (2021) for the error of estimated weights.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ratio = DensityRatio().fit(rng.normal(0, 1, (500, 1)), rng.normal(1, 1, (500, 1)))
    >>> low, high = ratio.weights([[-1.0], [2.0]])  # truly exp(-1.5) and exp(1.5)
    >>> bool(low < 0.4 < 2.5 < high)
    True
    """

    classifier: Any = None
    _fitted: Any = field(default=None, init=False, repr=False)
    _columns: int = field(default=0, init=False, repr=False)
    _source_per_target: float = field(default=1.0, init=False, repr=False)

    def fit(self, source: ArrayLike, target: ArrayLike) -> Self:
        """Learn to tell the two populations apart.

        Parameters
        ----------
        source : array_like of float, shape (cases, covariates)
            Covariates of cases from where the calibration cases come from, but other cases.
        target : array_like of float, shape (cases, covariates)
            The same of cases from where the new case comes from; no truth is needed.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a table is empty, not two-dimensional or not finite, or their columns differ.
        """
        tables = _table(source, "source"), _table(target, "target")
        (n_source, columns), (n_target, others) = (table.shape for table in tables)
        if columns != others:
            raise ValueError(f"the source has {columns} covariates but the target {others}")
        model = _unfitted(self.classifier)
        model.fit(np.concatenate(tables), np.repeat([0, 1], [n_source, n_target]))
        self._fitted, self._columns = model, columns
        self._source_per_target = n_source / n_target
        return self

    def weights(self, covariates: ArrayLike) -> NDArray[np.float64]:
        """The ratio at given covariates.

        Parameters
        ----------
        covariates : array_like of float, shape (cases, covariates)
            Of the calibration cases, or of new ones.

        Returns
        -------
        ndarray of float64, shape (cases,)
            Target over source density; ``inf`` where the classifier excludes the source.

        Raises
        ------
        ValueError
            If nothing has been fitted, or the table is unsound or of other columns.
        """
        if self._fitted is None:
            raise ValueError("nothing has been fitted: call fit first")
        table = _table(covariates, "covariates")
        if table.shape[1] != self._columns:
            raise ValueError(
                f"fitted on {self._columns} covariates, found a table of {table.shape[1]}"
            )
        in_source, in_target = self._fitted.predict_proba(table).astype(np.float64).T
        odds = np.full(len(table), np.inf)
        np.divide(in_target, in_source, out=odds, where=in_source > 0)
        return odds * self._source_per_target


def _unfitted(classifier: Any) -> Any:
    # Imported here, since it takes as long as the rest of the package.
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if classifier is not None and not hasattr(classifier, "predict_proba"):
        raise ValueError(f"the classifier must have predict_proba, found {classifier!r}")
    if classifier is None:
        return make_pipeline(StandardScaler(), LogisticRegression())
    return clone(classifier)


def _table(values: ArrayLike, what: str) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(
            f"{what}: expected a table of shape (cases, covariates), found shape {table.shape}"
        )
    if not np.isfinite(table).all():
        row = int(np.argmin(np.isfinite(table).all(axis=1)))
        raise ValueError(f"{what}: the covariates of case {row} are not finite: {table[row]}")
    return table
