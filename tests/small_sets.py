"""Small data sets in the layout of their publishers."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from data_download import niftis

SHAPE = (8, 7, 6)


def image(path: Path, labels: dict[int, tuple[slice, ...]] | None = None, shape=SHAPE) -> Path:
    """Write a label image; `labels` says where each label is."""
    values = np.zeros(shape, dtype=np.uint8)
    for label, where in (labels or {}).items():
        values[where] = label
    niftis.write(path, values, np.diag([0.5, 0.5, 3.0, 1.0]))
    return path


BLOCK = (slice(2, 4), slice(2, 5), slice(1, 3))


def msd(folder: Path, names=("scan_001", "scan_002")) -> Path:
    """Scans with labels 1 and 2, and what else such an archive holds."""
    for name in names:
        image(folder / "imagesTr" / f"{name}.nii.gz")
        image(folder / "labelsTr" / f"{name}.nii.gz", {1: BLOCK})
    image(folder / "imagesTs" / "scan_003.nii.gz")
    (folder / "imagesTr" / "._scan_001.nii.gz").write_bytes(b"left by another system")
    return folder


def picai(folder: Path) -> Path:
    """One case per group, and one on another grid."""
    (folder / "clinical_information").mkdir(parents=True)
    lines = ["patient_id,study_id,case_csPCa,center"]
    lines += ["1,100,YES,A", "2,200,YES,B", "3,300,NO,A", "4,400,YES,C"]
    (folder / "clinical_information" / "marksheet.csv").write_text("\n".join(lines))
    delineations = folder / "csPCa_lesion_delineations"
    original = delineations / "human_expert" / "resampled"
    later = delineations / "human_expert" / "Pooch25"
    for case in ("1_100", "2_200", "3_300", "4_400"):
        image(delineations / "AI" / "Bosma22a" / f"{case}.nii.gz")
    image(original / "1_100.nii.gz", {3: BLOCK})
    image(later / "2_200.nii.gz", {1: BLOCK})
    image(original / "3_300.nii.gz")
    image(later / "4_400.nii.gz", {1: BLOCK}, shape=(4, 4, 6))
    return folder


def kits(folder: Path) -> Path:
    """One tumor that three annotators outlined, and one that two did."""
    instances = folder / "dataset" / "case_00007" / "instances"
    for reader in (1, 2, 3):
        block = (slice(3, 4 + reader), *BLOCK[1:])
        image(instances / f"tumor_instance-1_annotation-{reader}.nii.gz", {1: block}, (12, 9, 8))
    for reader in (1, 2):
        image(instances / f"tumor_instance-2_annotation-{reader}.nii.gz", {1: BLOCK}, (12, 9, 8))
    return folder


def kits_npz(path: Path) -> Path:
    """One tumor, packed as in the file with the three annotators' crops."""
    masks = np.zeros((3, 5, 6, 7), dtype=bool)
    for reader in range(3):
        masks[reader, 1 : 3 + reader, 2:4, 2:5] = True
    bits = np.packbits(masks)
    np.savez(
        path,
        case_id=np.array(["case_00007"]),
        tumour=np.array(["tumor_instance-1"]),
        spacing_mm=np.array([[1.0, 0.5, 0.5]]),
        crop_origin=np.array([[10, 20, 30]]),
        crop_shape=np.array([[5, 6, 7]]),
        masks=bits,
        offsets=np.array([0, len(bits)]),
    )
    return path


def uls23(folder: Path, sets: tuple[str, ...]) -> Path:
    """One label crop per set, each with an axis of length 1 at its end, in a zip archive."""
    for name in sets:
        labels = folder / "annotations" / "ULS23" / "processed_data" / "fully_annotated" / name
        crop = image(
            labels / "labels" / "case_7_lesion_01_sample_0.nii.gz", {1: BLOCK}, (*SHAPE, 1)
        )
        with zipfile.ZipFile(f"{crop}.zip", "w") as archive:
            archive.write(crop, crop.name)
        crop.unlink()
    return folder


def polyps(folder: Path, masks: str = "masks", images: str = "images") -> Path:
    """Two photographs with JPEG masks."""
    for name in ("one", "two"):
        gray = np.zeros((20, 30), dtype=np.uint8)
        gray[5:15, 5:20] = 255
        for kind in (masks, images):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(gray).save(folder / kind / f"{name}.jpg")
    return folder


def zipped(folder: Path, path: Path, top: str) -> Path:
    """A zip archive of a folder, under another name for it."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}/{file.relative_to(folder).as_posix()}")
    return path


def tarred(folder: Path, path: Path, top: str, escaping: str = "") -> Path:
    """A tar archive of a folder; `escaping` is the name of a further member."""
    with tarfile.open(path, "w") as archive:
        archive.add(folder, top)
        if escaping:
            member = tarfile.TarInfo(escaping)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    return path
