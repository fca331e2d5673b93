"""Polyps on colonoscopy images: the masks as NIfTI, without a unit of length.

Masks are gray images, some of them JPEG: what is brighter than half of full white is polyp. They
lie in a folder ``masks`` or ``Ground Truth``; the images, which keep their format, in ``images`` or
``Original``. Several images may show the same polyp: the names do not tell, so that the column
``patient`` stays empty. There is no score map; PraNet's are a data set of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from confseg.manifest import Row, Rule

from . import niftis
from .checksums import all_files
from .errors import DownloadError
from .registry import DataSet
from .sources import Source

MASKS = ("masks", "Ground Truth")
IMAGES = ("images", "Original")
SUFFIXES = {".jpg", ".png", ".tif", ".tiff", ".bmp"}


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Write the masks and put the images in place.

    Raises
    ------
    DownloadError
        If there are no masks.
    ValueError
        If a mask has no image, an image of another size, or is damaged.
    """
    pictures = [path for path in all_files(source.path) if path.suffix.lower() in SUFFIXES]
    images = {path.stem: path for path in pictures if path.parent.name in IMAGES}
    masks = [path for path in pictures if path.parent.name in MASKS]
    if not masks:
        raise DownloadError(f"{source.path} holds no images in a folder {' or '.join(MASKS)}")
    rows = []
    for path in masks:
        if path.stem not in images:
            raise ValueError(f"{path} has no image")
        image = images[path.stem]
        mask = _read_mask(path)
        with Image.open(image) as picture:
            if picture.size[::-1] != mask.shape:
                raise ValueError(f"{path} has {mask.shape} pixels, its image {picture.size[::-1]}")
        truth = folder / "masks" / f"{path.stem}.nii.gz"
        niftis.write(truth, mask, np.eye(4), unit="unknown")
        source.bring(image, folder / "images" / image.name)
        extra = {"image": f"images/{image.name}"}
        rows.append(Row(path.stem, "", "", None, truth, Rule(entry.rule), extra))
    return rows


def _read_mask(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L")) > 127
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
