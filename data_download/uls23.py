"""ULS23: crops around one lesion, of the six sets of the paper on lesion segmentation.

The labels lie in the publisher's repository, each in a zip archive of its own. An axis of length 1
at their end is dropped. Several crops may come from one patient: what stands before ``_lesion_``
in the name is taken for the patient, and the group is the set. There is no score map.

The CT crops are published elsewhere (see ``by_hand`` in the registry). Where a mirror holds them,
in a folder ``images`` somewhere below one with the name of the set, they are taken along, and the
column ``image`` names them; elsewhere it is empty.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from confseg.manifest import Row, Rule

from . import niftis
from .registry import DataSet
from .sources import Source, files_below

SETS = (
    "kits21",
    "LiTS",
    "NIH_LN_ABD",
    "LIDC-IDRI",
    "MDSC_Task10_Colon",
    "MDSC_Task07_Pancreas",
)

_NAME = re.compile(r"((.+)_lesion_\d+(?:_sample_\d+)?)\.nii\.gz(\.zip)?")


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Write the label crops of the six sets.

    Raises
    ------
    ValueError
        If one of the sets is missing, or a file is damaged or named otherwise than expected.
    """
    labels = [path for path in files_below(source.path, "labels/*.nii.gz*") if _group(path) in SETS]
    missing = [name for name in SETS if name not in {_group(path) for path in labels}]
    if missing:
        raise ValueError(f"no labels of {', '.join(missing)} in {source.path}")
    images = _images(source.path)
    rows = {}
    for path in tqdm(labels, "reading label crops", disable=None):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path} is named otherwise than expected")
        name = f"{_group(path)}/{match[1]}"
        truth = folder / "labels" / f"{name}.nii.gz"
        niftis.write(truth, *_read(path))
        extra = {"image": ""}
        if name in images:
            extra["image"] = f"images/{name}.nii.gz"
            niftis.write(folder / extra["image"], *niftis.read(images[name]))
        patient = f"{_group(path)}/{match[2]}"
        rows[name] = Row(name, patient, _group(path), None, truth, Rule(entry.rule), extra)
    return list(rows.values())


def _images(folder: Path) -> dict[str, Path]:
    """CT crops by the name of their case."""
    found = {}
    for path in folder.rglob("*.nii.gz"):
        parts = path.relative_to(folder).parts
        group = next((part for part in parts if part in SETS), None)
        if group is not None and "images" in parts:
            found[f"{group}/{path.name.removesuffix('.nii.gz')}"] = path
    return found


def _group(path: Path) -> str:
    return path.parents[1].name


def _read(path: Path) -> tuple[NDArray, NDArray[np.float64]]:
    """Values and affine of a NIfTI file that may lie in a zip archive."""
    if path.suffix != ".zip":
        return niftis.read(path)
    with TemporaryDirectory(prefix="confseg-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                (member,) = (one for one in archive.namelist() if one.endswith(".nii.gz"))
                inner = Path(folder) / Path(member).name
                inner.write_bytes(archive.read(member))
        except (zipfile.BadZipFile, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        return niftis.read(inner)
