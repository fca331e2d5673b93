"""Slow, plain reference implementations, written from the mathematics alone.

Nothing here imports the package. Voxels are visited one by one, numbers are compared as Python
floats (which compares float16, float32 and float64 as the real numbers they are), tolerances
are fractions of the decimal that was typed, distances in steps are counted by dilating, and
distances in mm are taken over the whole image.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from scipy import ndimage

INF = math.inf


def decimal(value) -> Fraction:
    """The number as typed: 0.3 is 3/10."""
    return Fraction(repr(float(str(value))))


def numbers(image) -> list[float]:
    """The voxels of an image as Python floats, in the order of the axes."""
    return [float(value) for value in np.asarray(image).ravel(order="C")]


def flags(mask) -> list[bool]:
    """The voxels of a mask as Python bools, in the order of the axes."""
    return [bool(value) for value in np.asarray(mask).ravel(order="C")]


def missed(field, truth, cutoff: float) -> int:
    """Lesion voxels outside ``{field >= cutoff}``."""
    voxels = zip(numbers(field), flags(truth), strict=True)
    return sum(lesion and not value >= cutoff for value, lesion in voxels)


def overcalled(field, truth, cutoff: float) -> int:
    """Background voxels inside ``{field > cutoff}``."""
    voxels = zip(numbers(field), flags(truth), strict=True)
    return sum(value > cutoff and not lesion for value, lesion in voxels)


def allowed(miss, truth) -> int:
    """Largest whole number of lesion voxels that is at most ``miss`` times their number."""
    lesion, count = sum(flags(truth)), 0
    while count + 1 <= decimal(miss) * lesion:
        count += 1
    return count


def candidates(field) -> list[float]:
    """Every cut-off at which a set of the field can change."""
    return [-INF, *sorted(set(numbers(field))), INF]


def outer_cutoff(field, truth, miss=0.0) -> float:
    """Largest candidate that keeps the promise, found by trying all of them."""
    limit = allowed(miss, truth)
    return max(c for c in candidates(field) if missed(field, truth, c) <= limit)


def too_false(field, truth, cutoff: float, false, rate: str) -> bool:
    """Whether ``{field > cutoff}`` holds more than the share `false` of background voxels."""
    whole = sum(v > cutoff for v in numbers(field)) if rate == "fdp" else flags(truth).count(False)
    return overcalled(field, truth, cutoff) > decimal(false) * whole


def inner_cutoff(field, truth, false=0.0, rate="fpr") -> float:
    """Smallest candidate from which on all keep the promise, found by trying all of them."""
    smallest = INF
    for cutoff in reversed(candidates(field)):
        if too_false(field, truth, cutoff, false, rate):
            break
        smallest = cutoff
    return smallest


def conformal_quantile(values, alpha) -> float:
    """Smallest value that at least ``(1 - alpha)(n + 1)`` of the values do not exceed."""
    scores = [float(value) for value in values]
    needed = (1 - decimal(alpha)) * (len(scores) + 1)
    enough = [v for v in scores if sum(score <= v for score in scores) >= needed]
    return min(enough, default=INF)


def outer_calibration(cutoffs, alpha) -> float:
    """The ``floor(alpha (n + 1))``-th smallest critical cut-off; the whole image if that is 0."""
    rank = math.floor(decimal(alpha) * (len(cutoffs) + 1))
    return sorted(cutoffs)[rank - 1] if rank else -INF


def inner_calibration(cutoffs, alpha) -> float:
    """The ``ceil((1 - alpha)(n + 1))``-th smallest; the empty set if there are not so many."""
    rank = math.ceil((1 - decimal(alpha)) * (len(cutoffs) + 1))
    return sorted(cutoffs)[rank - 1] if rank <= len(cutoffs) else INF


def above(field, cutoff: float, strict: bool) -> np.ndarray:
    """``{field > cutoff}`` or ``{field >= cutoff}``, voxel by voxel."""
    values = numbers(field)
    hits = [v > cutoff for v in values] if strict else [v >= cutoff for v in values]
    return np.array(hits).reshape(np.shape(field))


def element(metric: str, ndim: int) -> np.ndarray:
    """The structuring element: the cross (face neighbors) or the full cube."""
    if metric == "cube":
        return np.ones((3,) * ndim, dtype=bool)
    offsets = np.indices((3,) * ndim) - 1
    return np.abs(offsets).sum(axis=0) <= 1


def dilated(mask, metric: str, times: float) -> np.ndarray:
    """The mask after some dilations; infinitely many give the whole image."""
    if times == INF:
        return np.ones(np.shape(mask), dtype=bool)
    result = np.array(mask, dtype=bool)
    for _ in range(int(times)):
        result = ndimage.binary_dilation(result, element(metric, result.ndim))
    return result


def steps_to(mask, metric: str) -> np.ndarray:
    """Dilations it takes to reach each voxel, counted by dilating; inf for an empty mask."""
    region = np.array(mask, dtype=bool)
    steps = np.full(region.shape, INF)
    if not region.any():
        return steps
    for step in range(sum(region.shape) + 1):
        steps[region & (steps == INF)] = step
        region = ndimage.binary_dilation(region, element(metric, region.ndim))
    return steps


def mm_to(mask, spacing) -> np.ndarray:
    """Distance in mm to the mask, by SciPy's transform of the whole image."""
    region = np.array(mask, dtype=bool)
    if not region.any():
        return np.full(region.shape, INF)
    return ndimage.distance_transform_edt(~region, sampling=spacing)


def distance_to(mask, spacing, metric: str) -> np.ndarray:
    """Distance to the mask in mm or in steps."""
    return mm_to(mask, spacing) if metric == "mm" else steps_to(mask, metric)


def squared_distance_to(mask, spacing: list[Fraction]) -> list[Fraction | float]:
    """Squared distance of every voxel to the mask from all pairs of voxels, in whole numbers."""
    unit = math.lcm(*(step.denominator for step in spacing))
    steps = np.array([int(step * unit) for step in spacing], dtype=np.int64)
    targets = np.argwhere(mask)
    if not len(targets):
        return [INF] * np.size(mask)
    squares = [
        (((targets - voxel) * steps) ** 2).sum(axis=1).min() for voxel in np.ndindex(mask.shape)
    ]
    return [Fraction(int(square), unit**2) for square in squares]


def signed_distance(mask, spacing, metric: str) -> np.ndarray:
    """Depth inside the mask, minus the distance outside it, voxel by voxel."""
    outside, inside = distance_to(mask, spacing, metric), distance_to(~mask, spacing, metric)
    pairs = zip(flags(mask), numbers(inside), numbers(outside), strict=True)
    return np.array([i if hit else -o for hit, i, o in pairs]).reshape(mask.shape)


def needed_dilations(prediction, truth, coverage, metric: str) -> float:
    """How often the prediction has to be dilated until it holds enough of the truth."""
    needed = decimal(coverage) * int(np.sum(truth))
    region = np.array(prediction, dtype=bool)
    for times in range(sum(region.shape) + 1):
        if int(np.sum(region & truth)) >= needed:
            return times
        region = ndimage.binary_dilation(region, element(metric, region.ndim))
    return INF


def needed_erosions(prediction, truth, coverage, metric: str) -> float:
    """Fewest erosions from which on enough of what is left of the prediction is true."""
    region, needed = np.array(prediction, dtype=bool), 0.0
    for times in range(1, sum(region.shape) + 1):
        if int(np.sum(region & truth)) < decimal(coverage) * int(np.sum(region)):
            needed = times
        # What lies beyond the border of the image does not erode.
        region = ndimage.binary_erosion(region, element(metric, region.ndim), border_value=1)
    return INF if needed == sum(region.shape) else needed


def eroded(mask, metric: str, times: float) -> np.ndarray:
    """The mask after some erosions; infinitely many leave nothing."""
    if times == INF:
        return np.zeros(np.shape(mask), dtype=bool)
    result = np.array(mask, dtype=bool)
    for _ in range(int(times)):
        result = ndimage.binary_erosion(result, element(metric, result.ndim), border_value=1)
    return result


def needed_inner_mm(prediction, truth, coverage, spacing) -> float:
    """Smallest depth from which on enough of what lies deeper is true, trying them all."""
    depths = mm_to(~np.array(prediction), spacing)
    smallest = INF
    for depth in sorted({0.0, *numbers(depths)}, reverse=True):
        deeper = depths > depth
        if int(np.sum(deeper & truth)) < decimal(coverage) * int(np.sum(deeper)):
            break
        smallest = depth
    return smallest


def needed_mm(prediction, truth, coverage, spacing) -> float:
    """Smallest distance within which the prediction has enough of the truth, trying them all."""
    needed = decimal(coverage) * int(np.sum(truth))
    reached = numbers(mm_to(prediction, spacing)[np.array(truth)])
    return min(r for r in {0.0, *reached, INF} if sum(d <= r for d in reached) >= needed)
