"""Volumes for training: folders in the layout of the Medical Segmentation Decathlon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """One image with its truth.

    Attributes
    ----------
    name : str
        File name without its ending.
    image : ndarray of float32
        Intensities with mean 0 and standard deviation 1.
    truth : ndarray of bool, same shape
        The structure to find.
    """

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_]


def read(folder: Path, labels: Sequence[int]) -> list[Volume]:
    """Every volume of a folder with `imagesTr` and `labelsTr`, in the order of the names.

    Parameters
    ----------
    folder : pathlib.Path
        The folder; images and labels have the same file names.
    labels : sequence of int
        Which labels are the structure to find.

    Returns
    -------
    list of Volume
        At least one.

    Raises
    ------
    FileNotFoundError
        If there are no images, or one has no label file.
    ValueError
        If image and label differ in shape.
    """
    paths = sorted((folder / "imagesTr").glob("[!.]*.nii.gz"))
    if not paths:
        raise FileNotFoundError(f"expected images *.nii.gz in {folder / 'imagesTr'}, found none")
    return [_volume(path, folder / "labelsTr" / path.name, labels) for path in paths]


def _volume(image_path: Path, label_path: Path, labels: Sequence[int]) -> Volume:
    image = np.asarray(nibabel.load(image_path).dataobj, dtype=np.float32)
    label = np.asarray(nibabel.load(label_path).dataobj)
    if image.shape != label.shape:
        raise ValueError(f"{image_path.name}: image {image.shape}, label {label.shape}")
    image = (image - image.mean()) / max(float(image.std()), 1e-6)
    return Volume(image_path.name.removesuffix(".nii.gz"), image, np.isin(label, labels))


def padded(array: NDArray, shape: Sequence[int]) -> NDArray:
    """`array` with zeros behind it, at least of the given shape."""
    return np.pad(array, [(0, max(0, n - m)) for m, n in zip(array.shape, shape, strict=True)])


def batches(
    volumes: Sequence[Volume], patch: Sequence[int], size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """One epoch: a random patch of every volume, in random order, mirrored at random.

    Parameters
    ----------
    volumes : sequence of Volume
        The training cases.
    patch : sequence of int
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
