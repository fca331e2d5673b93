"""Margins: widen the predicted mask until it holds the lesion, or erode it until it lies inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import Promise, SplitConformal, check_weights
from .distances import Metric, check_metric
from .each_case import Empty, check_empty_rule
from .exact import as_decimal, check_level, exact, percent
from .fields import Depth, Distance
from .sets import Sets
from .sides import Inner, Outer, Side

MarginSide = Literal["outer", "inner", "both"]


class Margins(NamedTuple):
    """The two distances of a contour, in mm or steps; ``+inf`` for a side not asked for."""

    inner: float
    outer: float


@dataclass(eq=False)
class Margin(SplitConformal):
    """A margin around the predicted mask, inside it, or both.

    The predicted mask of a new case, widened by `margin_`, holds at least the share `coverage`
    of the lesion, with probability at least ``1 - alpha``. Eroded instead (`side` "inner"), at
    least the share `coverage` of what is left of it is lesion. With both sides the contour has
    two distances, and both hold together.

    Parameters
    ----------
    alpha : float
        Risk level, strictly between 0 and 1.
    coverage : float, default 1.0
        Share of the lesion to hold, and share of the eroded mask that is lesion,
        ``0 < coverage <= 1``.
    metric : {"mm", "cross", "cube"}, default "mm"
        What the margin counts: mm between voxel centers, or dilations (erosions) by the cross
        (face neighbors) or the full cube. Cases without spacing count voxels instead of mm.
    threshold : float, default 0.5
        Where a score is given the predicted mask is ``score >= threshold``.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        Cases without lesion have nothing to hold. Where an outer side is asked for they are left
        out with a warning, counted as cases that need no outer margin, or refused with an
        error. For the inner side alone they are cases like any other, and always count: all of
        the predicted mask has to go.
    side : {"outer", "inner", "both"}, default "outer"
        Whether the mask is widened, eroded, or both. Neither margin is ever negative: the outer
        mask holds the predicted one, which holds the inner one.
    weights : (float, float), optional
        ``(alpha inner, alpha outer)`` for both sides, which then have different margins. Without
        them one margin, the conformal quantile of the larger of the two, serves for both.

    Raises
    ------
    ValueError
        If a parameter is out of range or the weights do not fit.

    Notes
    -----
    An empty prediction of a case with a lesion needs an infinite outer margin. It counts as
    such; a quantile that lands on it gives the whole image. It needs no inner margin: nothing
    of an empty mask is false.

    What lies beyond the border of the image is unknown. It is not counted as outside, so a mask
    that the border cuts off is not eroded from there, and one that fills the image has an
    infinite depth: no finite erosion of it is safe unless it is true.

    The share of the eroded mask that is false may grow on the way in. The inner margin keeps it
    low from there on, however much more is eroded.

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
    >>> both = Margin(alpha=0.1, side="both").calibrate(phantoms.cases(50, seed=1))
    >>> inner, outer = both.predict(new.score)
    >>> bool((inner <= new.truth).all()), bool((new.truth <= outer).all())
    (True, True)
    """

    alpha: float
    coverage: float = 1.0
    metric: Metric = "mm"
    threshold: float = 0.5
    empty: Empty = "exclude"
    side: MarginSide = "outer"
    weights: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.alpha = check_level("alpha", self.alpha)
        self.coverage = as_decimal("coverage", self.coverage)
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage must lie in (0, 1], found {self.coverage!r}")
        self.threshold = as_decimal("threshold", self.threshold)
        check_empty_rule(self.empty)
        check_metric(self.metric)
        if self.side not in get_args(MarginSide):
            raise ValueError(f"side must be one of {get_args(MarginSide)}, found {self.side!r}")
        if self.weights is not None:
            if self.side != "both":
                raise ValueError(f"weights go with side='both', found them with {self.side!r}")
            self.weights = check_weights(self.weights, self.alpha)

    @property
    def _needs_lesion(self) -> bool:  # type: ignore[override]
        return self.side != "inner"

    @property
    def _sides(self) -> dict[str, Side]:
        share = 1 - exact(self.coverage)
        both: dict[str, Side] = {
            "inner": Inner(Depth(self.threshold, self.metric), share, "fdp"),
            "outer": Outer(Distance(self.threshold, self.metric, signed=False), share),
        }
        return both if self.side == "both" else {self.side: both[self.side]}

    @property
    def _promises(self) -> tuple[Promise, ...]:
        if self.weights is not None:
            return Promise(self.weights[0], ("inner",)), Promise(self.weights[1], ("outer",))
        return (Promise(self.alpha, tuple(self._sides)),)

    @property
    def margin_(self) -> float:
        """Calibrated margin in mm or steps; ``+inf`` when no finite margin is safe.

        With weights there are two of them, see `margins_`.
        """
        margins = self.margins_
        if self.weights is not None:
            raise AttributeError("with weights there are two margins, see margins_")
        return margins.outer if self.side == "outer" else margins.inner

    @property
    def margins_(self) -> Margins:
        """Calibrated margins of the two sides; ``+inf`` for a side that was not asked for."""
        cutoffs = self._calibrated().cutoffs
        return Margins(cutoffs.get("inner", np.inf), 0.0 - cutoffs.get("outer", -np.inf))

    @property
    def critical_values_(self) -> NDArray[np.float64]:
        """Per calibration case, the smallest margin that keeps the promise.

        Shape ``(n_,)``, or ``(n_, 2)`` for both sides, the inner one first.
        """
        columns = list(self._calibrated().scores.values())
        return np.column_stack(columns) if len(columns) > 1 else columns[0]

    def predict(
        self, mask_or_score: ArrayLike, spacing: Sequence[float] | None = None
    ) -> NDArray[np.bool_] | Sets:
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
        ndarray of bool, same shape, or Sets
            Outer: every voxel within `margin_` of the predicted mask; the whole image when the
            margin is infinite, and nothing for an empty mask with a finite one. Inner: every
            voxel of the mask deeper than `margin_`; nothing when the margin is infinite. Both:
            the named pair ``(inner, outer)``.

        Raises
        ------
        ValueError
            If not calibrated, or the score or the spacing is unsound.
        """
        if self.side != "both":
            return self._predict(self.side, mask_or_score, spacing)
        return Sets(*(self._predict(name, mask_or_score, spacing) for name in Sets._fields))

    def _guarantee(self) -> str:
        what = {"inner": self._inner_promise, "outer": self._outer_promise}
        promised = " and ".join(what[name]() for name in self._sides)
        together = ", together," if self.side == "both" else ""
        return f"{promised}{together} with a probability of at least {percent(1 - self.alpha)}."

    def _outer_promise(self) -> str:
        share = "all" if self.coverage == 1 else f"at least {percent(self.coverage)}"
        margin = self.margins_.outer
        if margin == np.inf:
            region = "the whole image, since no finite margin is safe,"
        else:
            region = f"the predicted mask {self._by(margin, 'widened', 'dilated')}"
        return f"{region} holds {share} of the lesion's voxels"

    def _inner_promise(self) -> str:
        share = "every voxel" if self.coverage == 1 else f"at least {percent(self.coverage)}"
        margin = self.margins_.inner
        if margin == np.inf:
            region = "inner mask, empty since no finite erosion is safe,"
        else:
            region = f"predicted mask {self._by(margin, 'narrowed', 'eroded')}"
        return f"{share} of the {region} is lesion"

    def _by(self, margin: float, in_mm: str, in_steps: str) -> str:
        if self.metric == "mm":
            unit = "mm" if self._calibrated().spaced else "voxels"
            return f"{in_mm} by {margin:.4g} {unit}"
        times = "once" if margin == 1 else f"{margin:.0f} times"
        return f"{in_steps} {times} by the {self.metric}"
