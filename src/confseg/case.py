"""One case: a score image, the true mask and the voxel spacing, checked once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Spacing = tuple[float, ...]

# Values are read in pieces that stay in the processor's cache, so that finding the smallest
# and the largest costs one pass over memory instead of two.
_PIECE = 1 << 18


@dataclass(frozen=True, eq=False)
class Case:
    """A score image with its truth.

    Parameters
    ----------
    score : array_like, any shape
        Output of a segmenter: a float array (probabilities, logits, ...; larger means more
        lesion), or a bool mask where the segmenter gives nothing else.
    truth : array_like of bool, same shape
        The true mask. Other types are accepted when they hold only 0 and 1.
    spacing : sequence of float, optional
        Edge lengths of a voxel in mm, one per axis, in the order of the axes. Without it
        distances are counted in voxels.
    name, patient, group : str, optional
        What the case is called, whose it is and which group it belongs to (a scanner, a
        center). Cases of one patient are kept together when data are split.

    Raises
    ------
    ValueError
        If the shapes differ, the truth is not binary, the score is neither float nor binary,
        a name is no string, or the spacing has the wrong length or is not positive. Whether the
        score values are finite is checked when the case is used, since it costs a pass over the
        image.

    Examples
    --------
    >>> case = Case([[0.2, 0.9]], [[False, True]], spacing=(3.0, 0.5), name="scan 1")
    >>> case.score.dtype, case.truth.sum()
    (dtype('float64'), np.int64(1))
    """

    score: NDArray[np.floating] | NDArray[np.bool_]
    truth: NDArray[np.bool_]
    spacing: Spacing | None = None
    name: str = ""
    patient: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        with naming(f"case {self.name!r}"):
            score, truth = as_score(self.score), as_mask(self.truth, "truth")
            spacing = as_spacing(self.spacing, score.ndim)
            for what in ("name", "patient", "group"):
                if not isinstance(value := getattr(self, what), str):
                    raise ValueError(f"the {what} must be a string, found {value!r}")
            if score.shape != truth.shape:
                raise ValueError(f"the score has shape {score.shape} but the truth {truth.shape}")
        # A frozen dataclass is filled through object.__setattr__.
        for attribute, value in (("score", score), ("truth", truth), ("spacing", spacing)):
            object.__setattr__(self, attribute, value)


@contextmanager
def naming(label: str) -> Iterator[None]:
    """Put `label` in front of the message of any ValueError raised inside."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error


def as_score(score: ArrayLike) -> NDArray[np.floating] | NDArray[np.bool_]:
    """`score` as a float array or a bool mask.

    Parameters
    ----------
    score : array_like
        Float or bool array of at least one dimension; integers only if they are all 0 or 1.

    Returns
    -------
    ndarray of float or bool
        The same values, not copied unless they were integers.

    Raises
    ------
    ValueError
        If the array is empty, has no axes, or is of another type (a float of more than 64 bits,
        a complex number, an object).
    """
    array = np.asarray(score)
    check_image(array, "score")
    if np.issubdtype(array.dtype, np.floating):
        return array
    return as_mask(array, "score (neither float nor bool)")


def check_image(array: NDArray, what: str) -> None:
    """Raise ValueError unless `array` has voxels that float64 can hold."""
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"the {what} must be an image, found an array of shape {array.shape}")
    # A wider number would be rounded to the float64 of a cut-off, and the voxel on which the
    # promise hangs could drop out.
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ValueError(
            f"the {what} must hold real numbers of at most 64 bits, found dtype {array.dtype}"
        )


def as_mask(mask: ArrayLike, what: str = "mask") -> NDArray[np.bool_]:
    """`mask` as a bool array.

    Parameters
    ----------
    mask : array_like
        Bool array, or numbers that are all 0 or 1.
    what : str
        What the mask is, for the message.

    Returns
    -------
    ndarray of bool
        The same mask, not copied if it was bool.

    Raises
    ------
    ValueError
        If a value other than 0 and 1 is found.
    """
    array = np.asarray(mask)
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"the {what} must hold only 0 and 1, found dtype {array.dtype}")
    result = array.astype(np.bool_)
    others = array[array != result]
    if others.size:
        raise ValueError(f"the {what} must hold only 0 and 1, found {others.flat[0]!s}")
    return result


def as_spacing(spacing: Sequence[float] | None, ndim: int) -> Spacing | None:
    """`spacing` as a tuple of `ndim` positive floats (mm), or None.

    Parameters
    ----------
    spacing : sequence of float or None
        Edge lengths of a voxel in mm.
    ndim : int
        Number of axes of the image.

    Returns
    -------
    tuple of float or None
        The spacing.

    Raises
    ------
    ValueError
        If the length is not `ndim`, or a value is not positive and finite.
    """
    if spacing is None:
        return None
    values = tuple(float(value) for value in np.atleast_1d(np.asarray(spacing)).ravel())
    if len(values) != ndim:
        raise ValueError(f"expected a spacing of {ndim} numbers (one per axis), found {spacing}")
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"the spacing must be positive and finite, found {spacing}")
    return values


def check_values(score: NDArray, probability: bool = False) -> None:
    """Raise ValueError unless every value is finite, and in [0, 1] for probabilities."""
    if score.dtype == np.bool_ or (probability and _between_0_and_1(score)):
        return
    low, high = extent(score)
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = np.count_nonzero(~np.isfinite(score))
        raise ValueError(f"the score must be finite, found {bad} NaN or infinite voxels")
    if probability and (low < 0 or high > 1):
        raise ValueError(
            f"probabilities must lie in [0, 1], found values from {low} to {high}; are they logits?"
        )


def _between_0_and_1(score: NDArray[np.floating]) -> bool:
    """Whether the bits of every value say, in one pass, that it is a probability.

    Read as unsigned integers, the floats from 0 to 1 are the smallest; larger and negative
    numbers, -0 among them, and NaN come after.
    """
    bits = np.dtype(f"{score.dtype.byteorder}u{score.dtype.itemsize}")
    return bool(score.view(bits).max() <= np.ones((), score.dtype).view(bits))


def extent(values: NDArray) -> tuple[float, float]:
    """Smallest and largest value, both NaN if any value is NaN, in one pass over memory."""
    pieces: Any = np.nditer(
        values, flags=["external_loop", "buffered"], order="K", buffersize=_PIECE
    )
    ends = np.array([(piece.min(), piece.max()) for piece in pieces])
    return float(ends[:, 0].min()), float(ends[:, 1].max())
