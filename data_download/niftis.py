"""Masks and scores as NIfTI files, the same bytes on every run."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike, NDArray

# Far below the size of a voxel, far above what storing an affine in 32 bits changes.
_TOLERANCE_MM = 1e-2

# What nibabel and gzip raise on a file that is cut short or altered.
_UNREADABLE = (ImageFileError, gzip.BadGzipFile, EOFError, ValueError, zlib.error)


def write(path: Path, values: NDArray, affine: ArrayLike, unit: str = "mm") -> None:
    """Write an image as ``.nii.gz``.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder is made if need be.
    values : ndarray
        Masks become 8-bit labels.
    affine : array_like, shape (4, 4)
        From voxel indices to mm.
    unit : {"mm", "unknown"}
        ``"unknown"`` for photographs: their pixels have no size.
    """
    stored = values.astype(np.uint8) if values.dtype == np.bool_ else values
    image = nib.Nifti1Image(stored, affine)
    image.header.set_xyzt_units(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    # No time and no name in the file: neither belongs to the data.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def read(path: Path) -> tuple[NDArray, NDArray[np.float64]]:
    """Values, without axes of length 1 at the end, and affine of an image.

    Raises
    ------
    ValueError
        If the file is damaged; the message names it.
    """
    image = _load(path)
    try:
        values = np.asarray(image.dataobj)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return values, image.affine


def grid(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape and affine of an image; only its header is read.

    Raises
    ------
    ValueError
        If the header is damaged; the message names the file.
    """
    image = _load(path)
    return image.shape, image.affine


def same_grid(first: Path, second: Path) -> bool:
    """Whether two images have the same voxels."""
    (shape, affine), (other_shape, other_affine) = grid(first), grid(second)
    return shape == other_shape and np.allclose(affine, other_affine, rtol=0, atol=_TOLERANCE_MM)


def crop_affine(spacing: ArrayLike, corner: ArrayLike) -> NDArray[np.float64]:
    """Affine of a crop that begins at voxel `corner` of a grid of this spacing, axis by axis."""
    affine = np.diag([*np.asarray(spacing, dtype=float), 1.0])
    affine[:3, 3] = np.multiply(spacing, corner)
    return affine


def _load(path: Path) -> SpatialImage:
    """Open an image; what it holds is read later."""
    try:
        return cast(SpatialImage, nib.load(path))
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
