"""The loss of one case at every cut-off: a step function, kept exactly.

Raising the cut-off makes the mask ``{score >= c}`` smaller, and a loss that counts what is
missed can only grow. It changes at a few values of the cut-off and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .case import Case
from .critical import lesion_values
from .exact import exact


@dataclass(frozen=True, eq=False)
class StepLoss:
    """A loss in [0, 1] that never falls when the cut-off rises.

    Parameters
    ----------
    points : array_like of float, shape (k,)
        Cut-offs after which the loss changes, strictly increasing and finite.
    values : array_like of float, shape (k + 1,)
        The loss up to the first point, between neighbors, and beyond the last point, times
        `whole`. The loss *at* a point is the one to its left, as that of ``{score >= c}`` is.
    whole : int, default 1
        What the values are shares of: with counts as values the loss is exact.

    Raises
    ------
    ValueError
        If the points do not increase, the loss falls somewhere or leaves [0, 1], or the numbers
        of points and values do not fit.

    Examples
    --------
    >>> loss = StepLoss(points=[0.3, 0.8], values=[0, 1, 3], whole=3)
    >>> loss([0.3, 0.5, 0.8, 0.9])
    array([0.        , 0.33333333, 0.33333333, 1.        ])
    """

    points: NDArray[np.float64]
    values: NDArray
    whole: int = 1

    def __post_init__(self) -> None:
        points, values = np.array(self.points, dtype=np.float64), np.array(self.values)
        values = values.astype(np.int64 if values.dtype.kind in "biu" else np.float64)
        if points.ndim != 1 or values.shape != (points.size + 1,):
            raise ValueError(
                f"expected one value more than points, found {values.size} for {points.size}"
            )
        if not np.isfinite(points).all() or (np.diff(points) <= 0).any():
            raise ValueError("the points of a step function must be finite and increase")
        if not (np.diff(values) >= 0).all():
            raise ValueError("the loss must not fall when the cut-off rises")
        if not (values[0] >= 0 and values[-1] <= self.whole):
            low, high = values[0] / self.whole, values[-1] / self.whole
            raise ValueError(f"the loss must lie in [0, 1], found values from {low} to {high}")
        # A frozen dataclass is filled through object.__setattr__.
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)

    def __call__(self, cutoff: ArrayLike) -> NDArray[np.float64]:
        """The loss at each cut-off."""
        return self.values[np.searchsorted(self.points, cutoff, side="left")] / self.whole

    def exactly(self, cutoff: float) -> Fraction:
        """The loss at one cut-off; values that are no counts are the decimals they print as."""
        return exact(self.values[np.searchsorted(self.points, cutoff, side="left")]) / self.whole


@dataclass(frozen=True, eq=False)
class WorstLoss:
    """The largest of several losses at every cut-off, such as those of one patient's cases."""

    losses: Sequence[StepLoss]

    @property
    def points(self) -> NDArray[np.float64]:
        """Cut-offs after which the largest loss can change, strictly increasing."""
        return np.unique(np.concatenate([loss.points for loss in self.losses]))

    def __call__(self, cutoff: ArrayLike) -> NDArray[np.float64]:
        """The largest loss at each cut-off."""
        return np.max([loss(cutoff) for loss in self.losses], axis=0)

    def exactly(self, cutoff: float) -> Fraction:
        """The largest loss at one cut-off, exactly."""
        return max(loss.exactly(cutoff) for loss in self.losses)


Steps = StepLoss | WorstLoss
LossFunction = Callable[[Case], StepLoss]


def fnr_steps(case: Case) -> StepLoss:
    """The false negative rate of ``{score >= c}`` at every cut-off.

    Parameters
    ----------
    case : Case
        A case; a truth without voxels has a loss of 0 everywhere.

    Returns
    -------
    StepLoss
        The rate, with one point for each different value among the lesion's voxels.

    Examples
    --------
    >>> case = Case([0.1, 0.9, 0.6, 0.8, 0.3], [False, True, True, True, False])
    >>> fnr_steps(case)([0.6, 0.7, 1.0])
    array([0.        , 0.33333333, 1.        ])
    """
    lesion = lesion_values(case.score, case.truth).astype(np.float64)
    points, counts = np.unique(lesion, return_counts=True)
    return StepLoss(points, np.concatenate([[0], np.cumsum(counts)]), max(lesion.size, 1))


def candidates(losses: Sequence[Steps]) -> NDArray[np.float64]:
    """All cut-offs that can be the largest of a kind: the merged points, and infinity."""
    return np.append(np.unique(np.concatenate([loss.points for loss in losses])), np.inf)


def losses_at(losses: Sequence[Steps], cutoffs: ArrayLike) -> NDArray[np.float64]:
    """Loss of every case at every cut-off, shape (cut-offs, cases)."""
    return np.stack([loss(cutoffs) for loss in losses], axis=-1)
