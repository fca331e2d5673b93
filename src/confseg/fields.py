"""Fields: images made from a score without a look at the truth; larger means more lesion.

A field is a callable ``field(score, spacing) -> array``. Those of this module know besides
where they have to be computed (`Field.support`, `Field.level_set`) and how to write themselves
to JSON. A function of your own serves as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from .boxes import Box, bounding_box, grow_box, union_box, whole_box
from .case import Spacing, check_image, check_values
from .distances import Metric, check_metric, distance_to, reach
from .exact import as_decimal

FieldFunction = Callable[[NDArray, Spacing | None], NDArray]

# Full width at half maximum of a Gaussian of unit standard deviation.
_FWHM = 2 * np.sqrt(2 * np.log(2))


class Field:
    """Base of the fields; `field(score, spacing)` gives the image.

    Attributes
    ----------
    in_mm : bool
        Whether the values depend on the voxel spacing.
    largest : float
        A bound that no value exceeds.
    """

    in_mm: bool = False
    largest: float = np.inf
    name: ClassVar[str]

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The field of one score image; same shape."""
        raise NotImplementedError

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The part of the image that decides both critical values; here all of it."""
        return whole_box(score.shape)

    def level_set(
        self, score: NDArray, spacing: Spacing | None, cutoff: float, strict: bool
    ) -> NDArray[np.bool_]:
        """``{field > cutoff}`` if `strict`, else ``{field >= cutoff}``."""
        return above(_sound(self, score, spacing), cutoff, strict)

    def to_dict(self) -> dict[str, Any]:
        """The field in JSON types."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Identity(Field):
    """The score itself."""

    name: ClassVar[str] = "identity"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The score."""
        return score


@dataclass(frozen=True)
class Logit(Field):
    """Log-odds of a probability: symmetric in lesion and background."""

    name: ClassVar[str] = "logit"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The log-odds; raises ValueError unless every value lies in [0, 1]."""
        check_values(score, probability=True)
        return special.logit(_as_float(score))


@dataclass(frozen=True)
class Smooth(Field):
    """The score after a Gaussian of the given full width at half maximum (mm)."""

    fwhm_mm: float

    name: ClassVar[str] = "smooth"
    in_mm: ClassVar[bool] = True  # type: ignore[misc]

    def __post_init__(self) -> None:
        # A frozen dataclass is filled through object.__setattr__.
        object.__setattr__(self, "fwhm_mm", as_decimal("fwhm_mm", self.fwhm_mm))
        if self.fwhm_mm <= 0:
            raise ValueError(f"fwhm_mm must be positive, found {self.fwhm_mm!r}")

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The smoothed score."""
        steps = np.ones(score.ndim) if spacing is None else np.asarray(spacing)
        return ndimage.gaussian_filter(
            _as_float(score), self.fwhm_mm / _FWHM / steps, mode="nearest"
        )


@dataclass(frozen=True)
class Distance(Field):
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
    def in_mm(self) -> bool:  # type: ignore[override]
        """Whether the values depend on the voxel spacing."""
        return self.metric == "mm"

    @property
    def largest(self) -> float:  # type: ignore[override]
        """A bound that no value exceeds: without a sign, 0 inside the mask."""
        return np.inf if self.signed else 0.0

    def mask(self, score: NDArray) -> NDArray[np.bool_]:
        """The predicted mask."""
        return score if score.dtype == np.bool_ else score >= self.threshold

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The distances."""
        return self._of_mask(self.mask(score), spacing)

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The box around truth and prediction, one voxel wider."""
        # Clamping a voxel to the box that holds truth and prediction, one voxel wider, brings
        # it closer to the prediction and leaves it background. So the largest background value
        # is found in that box, and so is the nearest voxel of either kind.
        box = union_box(bounding_box(self.mask(score)), bounding_box(truth))
        return whole_box(score.shape) if box is None else self._grown(box, score.shape)

    def level_set(
        self, score: NDArray, spacing: Spacing | None, cutoff: float, strict: bool
    ) -> NDArray[np.bool_]:
        """As for every field, but computed only near the predicted mask."""
        mask = self.mask(score)
        box = bounding_box(mask)
        if box is None or cutoff == -np.inf:
            return super().level_set(score, spacing, cutoff, strict)
        # No voxel farther from the mask than -cutoff belongs to the set.
        far = reach(max(0.0, -cutoff), spacing, self.metric, mask.ndim)
        near = self._grown(grow_box(box, far, mask.shape), mask.shape)
        region = np.zeros(mask.shape, dtype=np.bool_)
        region[near] = above(self._of_mask(mask[near], spacing), cutoff, strict)
        return region

    def _of_mask(self, mask: NDArray[np.bool_], spacing: Spacing | None) -> NDArray[np.float64]:
        outside = distance_to(mask, spacing, self.metric)
        if not self.signed:
            return -outside
        # Where one distance is infinite (no mask, or nothing but mask) the other is 0.
        return distance_to(~mask, spacing, self.metric) - outside

    @staticmethod
    def _grown(box: Box, shape: tuple[int, ...]) -> Box:
        return grow_box(box, [1] * len(shape), shape)


@dataclass(frozen=True)
class Custom(Field):
    """A user's own function as a field."""

    function: FieldFunction

    name: ClassVar[str] = "custom"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """What the function gives, if it has the shape of the score."""
        field = np.asarray(self.function(score, spacing))
        if field.shape != score.shape:
            raise ValueError(
                f"the field {self.label} has shape {field.shape}, the score {score.shape}"
            )
        check_image(field, f"field {self.label}")
        return field

    @property
    def label(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", repr(self.function))

    def to_dict(self) -> dict[str, Any]:
        """The name of the function, which JSON cannot hold."""
        return {"name": self.name, "function": self.label}


identity = Identity()
"""The score itself as a field."""

logit = Logit()
"""The log-odds of a probability map as a field."""


def smooth(fwhm_mm: float) -> Smooth:
    """The score smoothed by a Gaussian.

    Parameters
    ----------
    fwhm_mm : float
        Full width at half maximum in mm (in voxels for cases without spacing).

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
    return Smooth(fwhm_mm)


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


def as_field(field: Field | FieldFunction) -> Field:
    """`field` itself, or a user's function wrapped as one."""
    if isinstance(field, Field):
        return field
    if not callable(field):
        raise TypeError(f"a field is a callable field(score, spacing), found {field!r}")
    return Custom(field)


def is_own(data: Any) -> bool:
    """Whether `data` is what `Field.to_dict` wrote for a user's own function."""
    return isinstance(data, dict) and data["name"] == Custom.name


def field_from_dict(data: dict[str, Any]) -> Field:
    """The field that `Field.to_dict` wrote; a user's own function cannot be read back."""
    parameters = dict(data)
    name = parameters.pop("name")
    if is_own(data):
        raise ValueError(
            f"the calibration used your own field {parameters['function']!r}, which JSON cannot "
            "hold; hand the function over again"
        )
    kinds = {kind.name: kind for kind in (Identity, Logit, Smooth, Distance)}
    if name not in kinds:
        raise ValueError(f"unknown field {name!r}, expected one of {sorted(kinds)}")
    return kinds[name](**parameters)


def above(field: NDArray, cutoff: float, strict: bool) -> NDArray[np.bool_]:
    """``{field > cutoff}`` if `strict`, else ``{field >= cutoff}``, compared in float64.

    A plain Python number would be rounded to the field's own precision first, and the voxel on
    which the promise hangs could drop out.
    """
    compare = np.greater if strict else np.greater_equal
    return compare(field, np.float64(cutoff))


def field_on(
    field: Field, score: NDArray, truth: NDArray[np.bool_], spacing: Spacing | None
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Field and truth on the part of the image that decides the critical values."""
    box = field.support(score, truth)
    return _sound(field, score[box], spacing), truth[box]


def _sound(field: Field, score: NDArray, spacing: Spacing | None) -> NDArray:
    values = field(score, spacing)
    if values is not score and np.isnan(values.min()):
        raise ValueError(f"the field {field} is NaN at {np.isnan(values).sum()} voxels")
    return values


def _as_float(score: NDArray) -> NDArray[np.floating]:
    # Neither logit nor the Gaussian filter knows half precision or masks.
    return score.astype(np.result_type(score.dtype, np.float32), copy=False)
