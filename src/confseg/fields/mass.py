"""The cumulative predicted mass: cut-offs that follow the case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..case import Spacing, check_values
from .base import Field


@dataclass(frozen=True)
class CumulativeMass(Field):
    """One minus the share of the predicted mass at probabilities above the voxel's own."""

    name: ClassVar[str] = "cumulative_mass"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The shares; raises ValueError unless every value lies in [0, 1]."""
        check_values(score, probability=True)
        # Summed from the smallest probability on, where the sums of an outer set's faint voxels
        # still differ; equal probabilities get one and the same number.
        values, place, counts = np.unique(
            score.astype(np.float64), return_inverse=True, return_counts=True
        )
        mass = np.cumsum(values * counts)
        if mass[-1] == 0:
            return np.zeros(score.shape)
        return (mass / mass[-1])[place].reshape(score.shape)


cumulative_mass = CumulativeMass()
"""The cumulative predicted mass as a field, for cut-offs that follow the case.

The predicted mass of an image is the sum of its probabilities. A voxel of probability ``p`` gets
one minus the share of that mass which lies at probabilities above ``p``: 1 at the largest
probability, 0 where the probability is 0, and one number for equal probabilities. So
``{field >= c}`` is the smallest ``{p >= t}`` that holds more than a share ``1 - c`` of the mass,
and the threshold ``t`` follows the case: a lesion that the segmenter is sure of is cut high, a
blurred one low. An image of zeros, which predicts nothing, is 0 everywhere. Probabilities only.
"""
