"""Margins: widen the predicted mask until it holds the lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import Empty, Outer, Promise, SplitConformal, check_empty_rule, percent
from .distances import Metric, check_metric
from .exact import as_decimal, check_level, exact
from .fields import Distance


@dataclass(eq=False)
class Margin(SplitConformal):
    """A margin around the predicted mask.

    The predicted mask of a new case, widened by `margin_`, holds at least the share `coverage`
    of the lesion, with probability at least ``1 - alpha``.

    Parameters
    ----------
    alpha : float
        Risk level, strictly between 0 and 1.
    coverage : float, default 1.0
        Share of the lesion to hold, ``0 < coverage <= 1``.
    metric : {"mm", "cross", "cube"}, default "mm"
        What the margin counts: mm between voxel centers, or dilations by the cross (face
        neighbors) or the full cube. Cases without spacing count voxels instead of mm.
    threshold : float, default 0.5
        Where a score is given the predicted mask is ``score >= threshold``.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        Cases without lesion need no margin. They are left out with a warning, counted as cases
        that need none, or refused with an error.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    An empty prediction of a case with a lesion needs an infinite margin. It counts as such; a
    quantile that lands on it gives the whole image.

    References
    ----------
    Mossina and Friedrich (2025), *Conformal prediction for image segmentation using
    morphological prediction sets*. The number of dilations is an order statistic of one
    distance transform.

    Examples
    --------
    >>> from confseg import phantoms
    >>> method = Margin(alpha=0.1, metric="cross").calibrate(phantoms.cases(50, seed=1))
    >>> new = next(phantoms.cases(1, seed=2))
    >>> bool((method.predict(new.score) >= (new.score >= 0.5)).all())
    True
    """

    alpha: float
    coverage: float = 1.0
    metric: Metric = "mm"
    threshold: float = 0.5
    empty: Empty = "exclude"

    _needs_lesion = True

    def __post_init__(self) -> None:
        self.alpha = check_level("alpha", self.alpha)
        self.coverage = as_decimal("coverage", self.coverage)
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage must lie in (0, 1], found {self.coverage!r}")
        self.threshold = as_decimal("threshold", self.threshold)
        check_empty_rule(self.empty)
        check_metric(self.metric)

    @property
    def _sides(self) -> dict[str, Outer]:  # type: ignore[override]
        widened = Distance(self.threshold, self.metric, signed=False)
        return {"outer": Outer(widened, 1 - exact(self.coverage))}

    @property
    def _promises(self) -> tuple[Promise, ...]:
        return (Promise(self.alpha, ("outer",)),)

    @property
    def margin_(self) -> float:
        """Calibrated margin in mm or steps; ``+inf`` when no finite margin is safe."""
        return 0.0 - self._calibrated().cutoffs["outer"]

    @property
    def critical_values_(self) -> NDArray[np.float64]:
        """Per calibration case, the smallest margin that holds the share `coverage`."""
        return self._calibrated().scores["outer"]

    def predict(
        self, mask_or_score: ArrayLike, spacing: Sequence[float] | None = None
    ) -> NDArray[np.bool_]:
        """The predicted mask with its margin.

        Parameters
        ----------
        mask_or_score : array_like of bool or float
            The predicted mask, or a score image that is thresholded first.
        spacing : sequence of float, optional
            Voxel spacing in mm; needed where the calibration cases had one and the metric
            is "mm".

        Returns
        -------
        ndarray of bool, same shape
            Every voxel within `margin_` of the predicted mask; the whole image when the margin
            is infinite, and nothing for an empty mask with a finite one.

        Raises
        ------
        ValueError
            If not calibrated, or the score or the spacing is unsound.
        """
        return self._predict("outer", mask_or_score, spacing)

    def _guarantee(self) -> str:
        share = "all" if self.coverage == 1 else f"at least {percent(self.coverage)}"
        return (
            f"{self._widened()} holds {share} of the lesion's voxels with a probability of at "
            f"least {percent(1 - self.alpha)}."
        )

    def _widened(self) -> str:
        if self.margin_ == np.inf:
            return "the whole image, since no finite margin is safe,"
        if self.metric == "mm":
            unit = "mm" if self._calibrated().spaced else "voxels"
            return f"the predicted mask widened by {self.margin_:.4g} {unit}"
        times = "once" if self.margin_ == 1 else f"{self.margin_:.0f} times"
        return f"the predicted mask dilated {times} by the {self.metric}"
