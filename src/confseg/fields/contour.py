"""Distances to the contour between the voxels, where the interpolated score crosses a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..boxes import Box, bounding_box
from ..case import Spacing
from ..exact import as_decimal
from .distance import Metric, NearMask, one_wider

# A voxel exactly at the threshold is moved to its inner side by this share of the largest
# difference, since a contour through the voxel itself would have no length and be dropped.
_HAIR = 1e-9


@dataclass(frozen=True)
class ContourDistance(NearMask):
    """Signed Euclidean distance (mm) to the contour of the interpolated score."""

    threshold: float = 0.5

    name: ClassVar[str] = "contour_distance"
    metric: ClassVar[Metric] = "mm"  # type: ignore[misc]

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", as_decimal("threshold", self.threshold))

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The distances; raises ValueError unless the image has two or three axes."""
        if score.ndim not in (2, 3):
            raise ValueError(
                f"a contour between voxels needs 2 or 3 axes, found {score.ndim}; "
                "signed_distance takes any number"
            )
        mask = self.mask(score)
        box = bounding_box(mask)
        if box is None or mask.all():
            return np.full(score.shape, np.inf if box else -np.inf)
        distance = self._distance(score, one_wider(box, score.shape), spacing)
        return np.where(mask, distance, 0.0 - distance)

    def _distance(self, score: NDArray, box: Box, spacing: Spacing | None) -> NDArray[np.float64]:
        import igl  # slow to import

        # The contour lies between voxels of the mask and their neighbors. It is always made from
        # the same box, and counted from its corner, so that a part of the image gives the same
        # distances as the whole of it, to the last bit.
        steps = np.ones(score.ndim) if spacing is None else np.asarray(spacing)
        vertices, elements = _contour(self._heights(score[box]))
        corner = np.array([side.start for side in box])
        voxels = np.indices(score.shape).reshape(score.ndim, -1).T - corner
        squared, _, _ = igl.point_mesh_squared_distance(
            np.ascontiguousarray(voxels * steps), vertices * steps, elements
        )
        return np.sqrt(squared).reshape(score.shape)

    def _heights(self, score: NDArray) -> NDArray[np.float64]:
        """The score above the threshold: never 0, positive on the mask only."""
        mask = self.mask(score)
        heights = score - (0.5 if score.dtype == np.bool_ else np.float64(self.threshold))
        hair = _HAIR * np.abs(heights).max()
        return np.where(mask, np.maximum(heights, hair), np.minimum(heights, -hair))


def _contour(
    heights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices, and the segments (2-D) or triangles (3-D) between them, of the zero contour."""
    from skimage import measure  # slow to import

    # An image one voxel thick has no cells between voxels. Doubled, its contour is a cylinder,
    # and what is nearest to a voxel of it lies in the image.
    thick = np.pad(heights, [(0, int(length == 1)) for length in heights.shape], mode="edge")
    if thick.ndim == 3:
        vertices, triangles, _, _ = measure.marching_cubes(thick, 0.0)
        return vertices.astype(np.float64), triangles.astype(np.int64)
    lines = measure.find_contours(thick, 0.0)
    ends = np.cumsum([len(line) for line in lines])
    first = np.delete(np.arange(ends[-1]), ends - 1)
    return np.concatenate(lines), np.column_stack([first, first + 1])


def contour_distance(threshold: float = 0.5) -> ContourDistance:
    """Distance in mm to the contour between the voxels, positive inside and negative outside.

    The contour is where the interpolated score crosses the threshold: line segments in 2-D
    (marching squares), triangles in 3-D (marching cubes). Distances to them are exact. So the
    field is continuous across the contour, where `signed_distance` jumps by two voxels, and it
    ties far less. Of a bool mask the contour runs halfway between voxels. Without a predicted
    mask the field is ``-inf`` everywhere, and ``+inf`` where the mask fills the image, whose
    border is no contour.

    Parameters
    ----------
    threshold : float, default 0.5
        The predicted mask, where the field is positive, is ``score >= threshold``.

    Returns
    -------
    ContourDistance
        A field of images with two or three axes.

    Raises
    ------
    ValueError
        If the threshold is not finite.

    Examples
    --------
    >>> field = contour_distance(threshold=0.5)
    >>> field(np.array([[0.1, 0.7, 0.9, 0.4]]), (1.0, 2.0)).round(3)
    array([[-1.333,  0.667,  1.6  , -0.4  ]])
    """
    return ContourDistance(threshold)
