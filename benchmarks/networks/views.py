"""What a network sees of a scan, and what its answer means on the grid of the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .volumes import Patch, Volume

AIR = -1.0  # the lower end of a CT window


@dataclass(frozen=True)
class Whole:
    """The scan as it is, in windows as large as a patch."""

    patch: ClassVar[Patch] = (32, 64, 32)

    def cut(self, volume: Volume) -> Volume:
        """What the networks see: all of it."""
        return volume

    def back(self, probability: NDArray[np.float32], volume: Volume) -> NDArray[np.float32]:
        """Probabilities on the grid of the scan: as they are."""
        return probability


@dataclass(frozen=True)
class Middle:
    """The cube in the middle of a crop, resampled to one patch; for crops around one lesion.

    A network that sees windows could not tell the lesion in the middle from others beside it,
    which such crops leave without a label. Where the truth lies is not looked at: the crops are
    published with some voxel of the lesion in their middle. What of it lies outside the cube is
    missed.

    Attributes
    ----------
    side : float
        Edge of the cube in mm.
    """

    patch: ClassVar[Patch] = (64, 64, 64)
    side: float

    def cut(self, volume: Volume) -> Volume:
        """What the networks see: the cube, filled up with air where the crop ends."""
        size, of_crop, of_cube = self._place(volume)
        image, truth = np.full(size, AIR, dtype=np.float32), np.zeros(size, dtype=np.float32)
        image[of_cube], truth[of_cube] = volume.image[of_crop], volume.truth[of_crop]
        image, inside = resampled(image, self.patch), resampled(truth, self.patch) >= 0.5
        return Volume(volume.name, image, inside, tuple(self.side / n for n in self.patch))

    def back(self, probability: NDArray[np.float32], volume: Volume) -> NDArray[np.float32]:
        """Probabilities on the grid of the crop, 0 outside the cube."""
        size, of_crop, of_cube = self._place(volume)
        whole = np.zeros(volume.image.shape, dtype=np.float32)
        whole[of_crop] = resampled(probability, size)[of_cube]
        return whole

    def _place(self, volume: Volume) -> tuple[list[int], tuple[slice, ...], tuple[slice, ...]]:
        """Shape of the cube in voxels of the crop, and what they share, in crop and in cube."""
        shape = volume.image.shape
        size = [max(1, round(self.side / edge)) for edge in volume.spacing]
        first = [(m - n) // 2 for m, n in zip(shape, size, strict=True)]  # below 0: it sticks out
        ends = zip(first, size, shape, strict=True)
        of_crop = tuple(slice(max(0, at), min(at + n, m)) for at, n, m in ends)
        of_cube = tuple(
            slice(part.start - at, part.stop - at) for part, at in zip(of_crop, first, strict=True)
        )
        return size, of_crop, of_cube


def resampled(array: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """The same box in other voxels: means where they grow, linear in between where they shrink."""
    for axis, length in enumerate(shape):
        if length < array.shape[axis]:
            array = _means(array, length, axis)
    factors = [n / m for m, n in zip(array.shape, shape, strict=True)]
    return ndimage.zoom(array, factors, order=1, mode="nearest", grid_mode=True)


def _means(array: NDArray[np.float32], length: int, axis: int) -> NDArray[np.float32]:
    """The means over `length` equal parts of an axis; voxels on a border count in both parts."""
    voxels = array.shape[axis]
    first, ends = np.arange(voxels), np.linspace(0, voxels, length + 1)[:, None]
    shared = np.minimum(ends[1:], first + 1) - np.maximum(ends[:-1], first)
    weights = np.maximum(shared, 0) * length / voxels
    means = np.tensordot(weights.astype(np.float32), array, axes=(1, axis))
    # Rounding must not make a probability larger than 1.
    return np.clip(np.moveaxis(means, 0, axis), array.min(), array.max())
