"""A field after a Gaussian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..case import Spacing
from ..exact import as_decimal
from .base import Field, FieldFunction, as_field, as_float
from .pointwise import identity

# Full width at half maximum of a Gaussian of unit standard deviation.
_FWHM = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True)
class Smooth(Field):
    """A field after a Gaussian of the given full width at half maximum (mm)."""

    fwhm_mm: float
    of: Field = identity

    name: ClassVar[str] = "smooth"
    in_mm: ClassVar[bool] = True  # type: ignore[misc]

    def __post_init__(self) -> None:
        # A frozen dataclass is filled through object.__setattr__.
        object.__setattr__(self, "fwhm_mm", as_decimal("fwhm_mm", self.fwhm_mm))
        if self.fwhm_mm <= 0:
            raise ValueError(f"fwhm_mm must be positive, found {self.fwhm_mm!r}")

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The smoothed field."""
        steps = np.ones(score.ndim) if spacing is None else np.asarray(spacing)
        return ndimage.gaussian_filter(
            as_float(self.of(score, spacing)), self.fwhm_mm / _FWHM / steps, mode="nearest"
        )


def smooth(fwhm_mm: float, of: Field | FieldFunction = identity) -> Smooth:
    """The score, or another field, smoothed by a Gaussian.

    Parameters
    ----------
    fwhm_mm : float
        Full width at half maximum in mm (in voxels for cases without spacing).
    of : field, default `identity`
        What is smoothed. Its values have to be finite: the logit of a probability of exactly 0
        or 1 is not.

    Returns
    -------
    Smooth
        A field.

    Raises
    ------
    ValueError
        If the width is not positive and finite.

    Examples
    --------
    >>> field = smooth(fwhm_mm=2.0)
    >>> field(np.array([0.0, 1.0, 0.0]), (1.0,)).round(2)
    array([0.23, 0.47, 0.23])
    """
    return Smooth(fwhm_mm, as_field(of))
