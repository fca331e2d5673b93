"""Conformal lesion segmentation: a threshold that bounds the share of the lesion missed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import Empty, Outer, Promise, SplitConformal, check_empty_rule, percent
from .critical import check_miss
from .exact import check_level
from .fields import identity


@dataclass(eq=False)
class CLS(SplitConformal):
    """Conformal lesion segmentation.

    The mask ``{p >= cutoff_}`` of a new case misses at most a share `eps` of the lesion, with
    probability at least ``1 - alpha``.

    Parameters
    ----------
    eps : float
        Tolerated false negative rate of a case, ``0 <= eps < 1``.
    alpha : float
        Risk level, strictly between 0 and 1.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        Cases without lesion have no false negative rate. They are left out with a warning,
        counted as cases that miss nothing, or refused with an error.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Tan et al. (2025), *Conformal lesion segmentation for 3D medical images*, Theorem 1; the
    paper's threshold is ``t_hat_ = 1 - cutoff_``.

    Examples
    --------
    >>> from confseg import phantoms
    >>> method = CLS(eps=0.1, alpha=0.1).calibrate(phantoms.cases(50, seed=1))
    >>> new = next(phantoms.cases(1, seed=2))
    >>> method.predict(new.score).shape, method.complies(new)
    ((48, 48), True)
    """

    eps: float
    alpha: float
    empty: Empty = "exclude"

    _probability = True
    _needs_lesion = True

    def __post_init__(self) -> None:
        self.eps = check_miss(self.eps)
        self.alpha = check_level("alpha", self.alpha)
        check_empty_rule(self.empty)

    @property
    def _sides(self) -> dict[str, Outer]:  # type: ignore[override]
        return {"outer": Outer(identity, self.eps)}

    @property
    def _promises(self) -> tuple[Promise, ...]:
        return (Promise(self.alpha, ("outer",)),)

    @property
    def cutoff_(self) -> float:
        """Calibrated cut-off of the probability; ``-inf`` when there were too few cases."""
        return self._calibrated().cutoffs["outer"]

    @property
    def t_hat_(self) -> float:
        """The paper's threshold ``1 - cutoff_``; rounded, so for reading only."""
        return 1 - self.cutoff_

    @property
    def critical_values_(self) -> NDArray[np.float64]:
        """Per calibration case, the largest cut-off that misses at most the share `eps`."""
        return 0.0 - self._calibrated().scores["outer"]

    def predict(self, score: ArrayLike) -> NDArray[np.bool_]:
        """The calibrated mask of a probability map.

        Parameters
        ----------
        score : array_like of float
            Probabilities in [0, 1], any shape.

        Returns
        -------
        ndarray of bool, same shape
            ``score >= cutoff_``.

        Raises
        ------
        ValueError
            If not calibrated, or a value is not a probability.
        """
        return self._predict("outer", score, None)

    def _guarantee(self) -> str:
        return (
            f"the mask misses at most {percent(self.eps)} of the lesion's voxels with a "
            f"probability of at least {percent(1 - self.alpha)}."
        )
