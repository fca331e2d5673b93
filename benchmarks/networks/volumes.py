"""Scans with their true masks, read from disk when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from confseg.manifest import Rule
from data_download import niftis

Patch = tuple[int, int, int]
"""Voxels along each axis; multiples of 32, which every architecture takes."""


@dataclass(frozen=True)
class Scan:
    """One case on disk: whose it is, its image and its labels, and which of them are to be found.

    Both files lie on one grid.
    """

    name: str
    patient: str
    image: Path
    labels: Path
    rule: Rule


@dataclass(frozen=True)
class Volume:
    """One image with its truth.

    Attributes
    ----------
    name : str
        Name of the case.
    image : ndarray of float32
        Normalized intensities.
    truth : ndarray of bool, same shape
        The structure to find.
    spacing : tuple of float
        Distance of neighboring voxels along each axis, in mm.
    """

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    spacing: tuple[float, ...]


def read(scan: Scan, window: tuple[float, float] | None) -> Volume:
    """Read a scan and normalize its intensities.

    Parameters
    ----------
    scan : Scan
        The case.
    window : tuple of float or None
        For CT, the two values that become -1 and 1 (Hounsfield units); what lies beyond is cut
        off. None for MR: the intensities get mean 0 and standard deviation 1.

    Returns
    -------
    Volume
        On the grid of the scan.

    Raises
    ------
    ValueError
        If a file is damaged, or image and labels differ in shape.
    """
    values, affine = niftis.read(scan.image)
    labels, _ = niftis.read(scan.labels)
    if values.shape != labels.shape:
        raise ValueError(f"{scan.name}: image {values.shape}, labels {labels.shape}")
    image = values.astype(np.float32)
    if window is None:
        image = (image - image.mean()) / max(float(image.std()), 1e-6)
    else:
        low, high = window
        image = (np.clip(image, low, high) - low) * (2 / (high - low)) - 1
    spacing = tuple(float(edge) for edge in voxel_sizes(affine))
    return Volume(scan.name, image, scan.rule.mask(labels), spacing)


def padded(array: NDArray, shape: Sequence[int]) -> NDArray:
    """`array` with zeros behind it, at least of the given shape."""
    return np.pad(array, [(0, max(0, n - m)) for m, n in zip(array.shape, shape, strict=True)])


def batches(
    volumes: Sequence[Volume], patch: Patch, size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """One epoch: a random patch of every volume, in random order, mirrored at random.

    Parameters
    ----------
    volumes : sequence of Volume
        The training cases; each is asked for once, when its turn comes.
    patch : tuple of int
        Shape of a patch (voxels); smaller volumes are padded with zeros.
    size : int
        Patches in a batch; an incomplete last one is left out.
    rng : numpy.random.Generator
        Source of randomness.

    Yields
    ------
    images, truths : ndarray of float32, shape (size, 1, *patch)
        A batch.
    """
    order = rng.permutation(len(volumes))
    for start in range(0, len(order) - size + 1, size):
        pairs = [_patch(volumes[i], patch, rng) for i in order[start : start + size]]
        images, truths = (np.stack(part)[:, None] for part in zip(*pairs, strict=True))
        yield images, truths.astype(np.float32)


def _patch(
    volume: Volume, shape: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    image, truth = padded(volume.image, shape), padded(volume.truth, shape)
    corner = [int(rng.integers(m - n + 1)) for m, n in zip(image.shape, shape, strict=True)]
    window = tuple(slice(at, at + n) for at, n in zip(corner, shape, strict=True))
    mirrored = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in shape)
    return image[window][mirrored].copy(), truth[window][mirrored].copy()
