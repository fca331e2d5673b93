"""Distances to the contour of the predicted mask, from voxel to voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..boxes import Box, bounding_box, grow_box, union_box, whole_box
from ..case import Spacing
from ..distances import Metric, check_metric, distance_to, reach
from ..exact import as_decimal
from .base import Field, above


class NearMask(Field):
    """Base of the fields that measure a distance to something next to the predicted mask.

    A subclass has a `threshold` and a `metric`. Its field of a part of the image is the same as
    that part of its field, as long as the part holds the mask and one voxel around it.
    """

    threshold: float
    metric: Metric

    def mask(self, score: NDArray) -> NDArray[np.bool_]:
        """The predicted mask."""
        return score if score.dtype == np.bool_ else score >= self.threshold

    @property
    def in_mm(self) -> bool:  # type: ignore[override]
        """Whether the values depend on the voxel spacing."""
        return self.metric == "mm"

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The box around truth and prediction, one voxel wider."""
        # Clamping a voxel to the box that holds truth and prediction, one voxel wider, brings
        # it closer to everything in that box and leaves it background. So the largest
        # background value is found in that box, and so is whatever distances are measured to.
        box = union_box(bounding_box(self.mask(score)), bounding_box(truth))
        return whole_box(score.shape) if box is None else one_wider(box, score.shape)

    def near(self, score: NDArray, spacing: Spacing | None, distance: float) -> Box:
        """A box that holds the mask and all voxels up to a distance from it, one voxel wider."""
        box = bounding_box(self.mask(score))
        if box is None or distance == np.inf:
            return whole_box(score.shape)
        far = reach(distance, spacing, self.metric, score.ndim)
        return one_wider(grow_box(box, far, score.shape), score.shape)

    def level_set(
        self, score: NDArray, spacing: Spacing | None, cutoff: float, strict: bool
    ) -> NDArray[np.bool_]:
        """As for every field, but computed only near the predicted mask."""
        near = self.near(score, spacing, max(0.0, -cutoff))
        region = np.zeros(score.shape, dtype=np.bool_)
        region[near] = above(self(score[near], spacing), cutoff, strict)
        return region


@dataclass(frozen=True)
class Distance(NearMask):
    """Distance to the contour of the predicted mask, positive inside if `signed`, else 0.

    Parameters
    ----------
    threshold : float
        The predicted mask is ``score >= threshold``.
    metric : {"mm", "cross", "cube"}
        How distances are counted.
    signed : bool
        Whether voxels inside the mask count their depth. Without it the field is minus the
        number of mm or dilations needed to reach a voxel.
    """

    threshold: float = 0.5
    metric: Metric = "mm"
    signed: bool = True

    name: ClassVar[str] = "distance"

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", as_decimal("threshold", self.threshold))
        check_metric(self.metric)

    @property
    def largest(self) -> float:  # type: ignore[override]
        """A bound that no value exceeds: without a sign, 0 inside the mask."""
        return np.inf if self.signed else 0.0

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The distances."""
        mask = self.mask(score)
        if not self.signed:
            return -distance_to(mask, spacing, self.metric)
        return signed_distance_of(mask, spacing, self.metric)


@dataclass(frozen=True)
class Depth(NearMask):
    """Distance to the nearest voxel outside of the predicted mask, 0 outside of it.

    A voxel survives ``d`` erosions if its depth exceeds ``d``. What lies beyond the border of
    the image is unknown, not outside: a mask that the border cuts off is deep there, and one
    that fills the image is infinitely deep.

    Parameters
    ----------
    threshold : float
        The predicted mask is ``score >= threshold``.
    metric : {"mm", "cross", "cube"}
        How distances are counted.
    """

    threshold: float = 0.5
    metric: Metric = "mm"

    name: ClassVar[str] = "depth"
    smallest: ClassVar[float] = 0.0  # type: ignore[misc]

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", as_decimal("threshold", self.threshold))
        check_metric(self.metric)

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The depths."""
        return distance_to(~self.mask(score), spacing, self.metric)

    def level_set(
        self, score: NDArray, spacing: Spacing | None, cutoff: float, strict: bool
    ) -> NDArray[np.bool_]:
        """As for every field, but computed only near the predicted mask."""
        if above(np.zeros(()), cutoff, strict):
            return np.ones(score.shape, dtype=np.bool_)
        return super().level_set(score, spacing, cutoff, strict)


def signed_distance_of(
    mask: NDArray[np.bool_], spacing: Spacing | None, metric: Metric
) -> NDArray[np.float64]:
    """Depth inside a mask, minus the distance to it outside."""
    # Where one distance is infinite (no mask, or nothing but mask) the other is 0.
    return distance_to(~mask, spacing, metric) - distance_to(mask, spacing, metric)


def one_wider(box: Box, shape: tuple[int, ...]) -> Box:
    """The box with one more voxel on every side, within the image."""
    return grow_box(box, [1] * len(shape), shape)


def signed_distance(threshold: float = 0.5, metric: Metric = "mm") -> Distance:
    """Distance to the contour of the predicted mask, positive inside and negative outside.

    A voxel inside has its distance to the nearest voxel outside, a voxel outside minus its
    distance to the nearest voxel inside, between voxel centers; so the field jumps from 1 to
    -1 voxel across the contour. Without a predicted mask it is ``-inf`` everywhere.

    Parameters
    ----------
    threshold : float, default 0.5
        The predicted mask is ``score >= threshold``.
    metric : {"mm", "cross", "cube"}, default "mm"
        Euclidean mm, or steps of the cross or the full cube.

    Returns
    -------
    Distance
        A field.

    Raises
    ------
    ValueError
        If the metric is unknown or the threshold not finite.

    References
    ----------
    Davenport (2024), Section 3.1, distance transformation.

    Examples
    --------
    >>> field = signed_distance(threshold=0.5)
    >>> field(np.array([0.1, 0.8, 0.9, 0.2]), (2.0,))
    array([-2.,  2.,  2., -2.])
    """
    return Distance(threshold, metric)
