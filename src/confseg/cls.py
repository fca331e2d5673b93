"""Conformal lesion segmentation: a threshold that bounds one kind of error of the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import Promise, SplitConformal
from .critical import check_false, check_miss
from .each_case import Empty, check_empty_rule
from .exact import check_level, percent
from .fields import identity
from .sides import Inner, Outer, Side

ErrorRate = Literal["fnr", "fpr", "fdp"]


@dataclass(eq=False)
class CLS(SplitConformal):
    """Conformal lesion segmentation.

    The mask of a new case keeps one error rate at or below `eps`, with probability at least
    ``1 - alpha``: by default ``{p >= cutoff_}`` misses at most that share of the lesion. Its
    mirror image ``{p > cutoff_}`` bounds false voxels instead.

    Parameters
    ----------
    eps : float
        Tolerated error rate of a case, ``0 <= eps < 1``.
    alpha : float
        Risk level, strictly between 0 and 1.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        Cases without lesion have no false negative rate. They are left out with a warning,
        counted as cases that miss nothing, or refused with an error. For the other rates they
        are cases like any other, and always count.
    rate : {"fnr", "fpr", "fdp"}, default "fnr"
        The false negative rate is the share of the lesion that the mask misses, the false
        positive rate the share of the background that it takes, the false discovery proportion
        the share of the mask that is background (0 for an empty mask).

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    The false discovery proportion may fall as the mask grows. What is calibrated is its largest
    value over this mask and all stricter ones, which never falls; so the promise holds, and the
    coverage can exceed its exact law.

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
    rate: ErrorRate = "fnr"

    _probability = True

    def __post_init__(self) -> None:
        if self.rate not in get_args(ErrorRate):
            raise ValueError(f"rate must be one of {get_args(ErrorRate)}, found {self.rate!r}")
        self.eps = check_miss(self.eps) if self.rate == "fnr" else check_false(self.eps)
        self.alpha = check_level("alpha", self.alpha)
        check_empty_rule(self.empty)

    @property
    def _needs_lesion(self) -> bool:  # type: ignore[override]
        return self.rate == "fnr"

    @property
    def _sides(self) -> dict[str, Side]:
        if self.rate == "fnr":
            return {"outer": Outer(identity, self.eps)}
        return {"inner": Inner(identity, self.eps, self.rate)}

    @property
    def _side(self) -> str:
        return next(iter(self._sides))

    @property
    def _promises(self) -> tuple[Promise, ...]:
        return (Promise(self.alpha, (self._side,)),)

    @property
    def cutoff_(self) -> float:
        """Calibrated cut-off of the probability.

        When there were too few cases it is ``-inf``, which takes the whole image, or, where false
        voxels are bounded, ``+inf``, which takes nothing.
        """
        return self._calibrated().cutoffs[self._side]

    @property
    def t_hat_(self) -> float:
        """The paper's threshold ``1 - cutoff_``; rounded, so for reading only."""
        return 1 - self.cutoff_

    @property
    def critical_values_(self) -> NDArray[np.float64]:
        """Per calibration case, the last cut-off that keeps the promise.

        It is the largest that misses at most the share `eps`, or the smallest with at most that
        share of false voxels.
        """
        scores = self._calibrated().scores[self._side]
        return 0.0 - scores if self.rate == "fnr" else scores

    def predict(self, score: ArrayLike) -> NDArray[np.bool_]:
        """The calibrated mask of a probability map.

        Parameters
        ----------
        score : array_like of float
            Probabilities in [0, 1], any shape.

        Returns
        -------
        ndarray of bool, same shape
            ``score >= cutoff_``, or ``score > cutoff_`` where false voxels are bounded.

        Raises
        ------
        ValueError
            If not calibrated, or a value is not a probability.
        """
        return self._predict(self._side, score, None)

    def _guarantee(self) -> str:
        share = percent(self.eps)
        what = {
            "fnr": f"the mask misses at most {share} of the lesion's voxels",
            "fpr": f"the mask takes at most {share} of the voxels that are no lesion",
            "fdp": f"at most {share} of the mask's voxels are no lesion",
        }[self.rate]
        return f"{what} with a probability of at least {percent(1 - self.alpha)}."
