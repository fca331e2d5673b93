"""The two sides of a promise: a region that misses little, or one that holds little else."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .boxes import Box, whole_box
from .case import Spacing
from .critical import Rate, inner_cutoff_unchecked, outer_cutoff_unchecked
from .exact import tolerated
from .fields import Field


@dataclass(frozen=True)
class Outer:
    """The region ``{field >= cutoff}`` misses at most a share `miss` of the lesion."""

    field: Field
    miss: float | Fraction = 0.0

    @property
    def monotone(self) -> bool:
        """Whether the promise, once kept, is kept by all regions that are more cautious."""
        return True

    def nonconformity(self, field: NDArray, truth: NDArray[np.bool_]) -> float:
        """Minus the largest cut-off that keeps the promise: larger means worse."""
        # A case with nothing to miss asks for no smaller region than the smallest there is.
        return 0.0 - min(outer_cutoff_unchecked(field, truth, self.miss), self.field.largest)

    def cutoff(self, quantile: float) -> float:
        """The cut-off that belongs to a quantile of the nonconformity scores."""
        return 0.0 - quantile  # not -quantile: that would turn 0 into -0

    def region(self, score: NDArray, spacing: Spacing | None, cutoff: float) -> NDArray[np.bool_]:
        """The set at a cut-off; `score` and the set have one shape."""
        return self.field.level_set(score, spacing, cutoff, strict=False)

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The part of the image that decides nonconformity and compliance."""
        return self.field.support(score, truth)

    def complies(self, region: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
        """Whether the region keeps the promise, on integer counts."""
        lesion, missed = int(np.count_nonzero(truth)), int(np.count_nonzero(truth & ~region))
        return missed <= tolerated(self.miss, lesion)


@dataclass(frozen=True)
class Inner:
    """The region ``{field > cutoff}`` lies inside the lesion, but for a share `false`.

    The share is one of the background (`rate` "fpr") or of the region itself ("fdp").
    """

    field: Field
    false: float | Fraction = 0.0
    rate: Rate = "fpr"

    @property
    def monotone(self) -> bool:
        """Whether the promise, once kept, is kept by all regions that are more cautious."""
        return self.rate == "fpr" or not self.false

    def nonconformity(self, field: NDArray, truth: NDArray[np.bool_]) -> float:
        """The smallest cut-off that keeps the promise: larger means worse."""
        # A case that would keep it anywhere asks for no larger region than the largest there is.
        critical = inner_cutoff_unchecked(field, truth, self.false, self.rate)
        return max(critical, self.field.smallest)

    def cutoff(self, quantile: float) -> float:
        """The cut-off that belongs to a quantile of the nonconformity scores."""
        return quantile

    def region(self, score: NDArray, spacing: Spacing | None, cutoff: float) -> NDArray[np.bool_]:
        """The set at a cut-off; `score` and the set have one shape."""
        return self.field.level_set(score, spacing, cutoff, strict=True)

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The part of the image that decides nonconformity and compliance."""
        # A share counts voxels wherever they lie, those of the background or of the region. No
        # region of a field that is bounded below leaves the support.
        confined = self.rate == "fdp" and self.field.smallest > -np.inf
        if self.false and not confined:
            return whole_box(score.shape)
        return self.field.support(score, truth)

    def complies(self, region: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
        """Whether the region keeps the promise, on integer counts."""
        wrong = int(np.count_nonzero(region & ~truth))
        whole = np.count_nonzero(region if self.rate == "fdp" else ~truth)
        return wrong <= tolerated(self.false, whole)


Side = Outer | Inner
