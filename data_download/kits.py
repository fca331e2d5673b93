"""KiTS: kidney tumors that three annotators outlined, one crop and three masks per tumor.

The masks are cropped to the box around all three and two voxels more. They are read from the
publisher's files, or from one ``.npz`` file that holds the same crops.

One row per tumor: the mask of one annotator as score, that of another as truth. Who is who is
drawn at random, with a fixed seed, since the order of the annotators says nothing; the columns
``score_reader``, ``truth_reader`` and ``third`` (a path) tell what was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from confseg.boxes import bounding_box, grow_box
from confseg.manifest import Row, Rule

from . import niftis
from .registry import DataSet
from .sources import Source, files_below

READERS = 3
SEED = 20230416
BORDER = 2  # voxels around the box of the three masks

_FILE = re.compile(r"(tumor_instance-\d+)_annotation-(\d+)\.nii\.gz")


@dataclass(frozen=True)
class Tumor:
    """One tumor as three annotators outlined it: bool masks (reader, ...) and their affine."""

    patient: str
    number: str
    masks: NDArray[np.bool_]
    affine: NDArray[np.float64]


def build(entry: DataSet, source: Source, folder: Path) -> list[Row]:
    """Write the crops of every tumor.

    Raises
    ------
    ValueError
        If a file is damaged or the annotators' masks have different grids.
    """
    tumors = _from_folder(source.path) if source.path.is_dir() else _from_npz(source.path)
    draw = np.random.default_rng(SEED)
    rows = []
    for tumor in tumors:
        name = f"{tumor.patient}_{tumor.number}"
        paths = [folder / "masks" / f"{name}_reader-{i + 1}.nii.gz" for i in range(READERS)]
        for path, mask in zip(paths, tumor.masks, strict=True):
            niftis.write(path, mask, tumor.affine)
        score, truth, third = draw.permutation(READERS)
        extra = {
            "score_reader": str(score + 1),
            "truth_reader": str(truth + 1),
            "third": paths[third].relative_to(folder).as_posix(),
        }
        rule = Rule(entry.rule)
        rows.append(Row(name, tumor.patient, "", paths[score], paths[truth], rule, extra))
    return rows


def _from_npz(path: Path) -> Iterator[Tumor]:
    """The crops of the ``.npz`` file; its key ``README`` says how they are packed.

    The orientation of the scans is not in the file: the affine holds spacing and place along the
    axes as they are stored.
    """
    with np.load(path, allow_pickle=False) as data:
        bits, offsets, shapes = data["masks"], data["offsets"], data["crop_shape"]
        for i, patient in enumerate(data["case_id"]):
            shape = (READERS, *shapes[i])
            packed = bits[offsets[i] : offsets[i + 1]]
            masks = np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)
            affine = niftis.crop_affine(data["spacing_mm"][i], data["crop_origin"][i])
            yield Tumor(str(patient), str(data["tumour"][i]), masks, affine)


def _from_folder(folder: Path) -> Iterator[Tumor]:
    """Crops from the publisher's files, of the tumors that all three annotators outlined."""
    by_tumor: dict[tuple[str, str], list[Path]] = {}
    for path in files_below(folder, "case_*/instances/tumor_instance-*_annotation-*.nii.gz"):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path} is named otherwise than expected")
        by_tumor.setdefault((path.parents[1].name, match[1]), []).append(path)
    fewer = [key for key, paths in by_tumor.items() if len(paths) != READERS]
    if fewer:
        names = ", ".join("_".join(key) for key in fewer)
        print(f"kits: left out, since not outlined by {READERS} annotators: {names}", flush=True)
    for (patient, number), paths in by_tumor.items():
        if len(paths) == READERS:
            yield _crop(patient, number, paths)


def _crop(patient: str, number: str, paths: list[Path]) -> Tumor:
    images = [niftis.read(path) for path in paths]
    if len({values.shape for values, _ in images}) > 1:
        raise ValueError(f"the annotators' masks of {patient} {number} have different shapes")
    masks = np.stack([values > 0 for values, _ in images])
    box = bounding_box(np.logical_or.reduce(masks))
    if box is None:
        raise ValueError(f"the annotators' masks of {patient} {number} are all empty")
    part = grow_box(box, (BORDER,) * masks[0].ndim, masks[0].shape)
    corner = [side.start for side in part]
    affine = images[0][1].copy()
    affine[:3, 3] += affine[:3, :3] @ corner
    return Tumor(patient, number, masks[(slice(None), *part)], affine)
