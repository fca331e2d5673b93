"""The package from files to numbers, on the way that the commands take."""

from __future__ import annotations

import contextlib
import gzip
import io
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from measure import cpu_seconds, peak_memory
from numpy.typing import NDArray
from scan import SPACING, make_scan

from confseg import CLS, Case, conformal_quantile, phantoms
from confseg.cli import calibrate, main, predict, score
from confseg.manifest import Row, write_manifest
from confseg.nifti import Reading
from confseg.parquet import write_parquet
from confseg.rows import Columns, row_of_numbers
from confseg.saved import Saved

MILLION = 1_000_000


def speed_of_files() -> Iterator[tuple[str, ...]]:
    """One large case through each command, and what of it is unpacking and nothing else."""
    case = make_scan()
    levels = np.minimum(np.floor(case.score * 256), 255) / np.float32(256)
    method = CLS(0.1, 0.5).calibrate([case])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = pack(folder / "truth.nii.gz", case.truth.astype(np.uint8), np.uint8)
        kinds = (("float32", case.score, np.float32), ("8 bits", levels, np.uint8))
        for kind, values, stored in kinds:
            file = pack(folder / "case.nii.gz", values, stored)
            row = Row("case", score=file, truth=truth)
            commands: dict[str, tuple[list[Path], Callable[[Row], object]]] = {
                "calibrate": (
                    [file, truth],
                    partial(calibrate._line, method._case_numbers, Reading()),
                ),
                "predict": ([file], partial(predict._predict, Saved(method), folder)),
                "score": ([file, truth], partial(score._line, Columns(), Reading())),
            }
            size = f"{file.stat().st_size / 1e6:.1f} MB"
            for command, (files, work) in commands.items():
                whole = cpu_seconds(partial(work, row))
                unpacking = cpu_seconds(partial(unpack, files))
                peak = peak_memory(partial(work, row))
                yield (
                    f"{command}, scores in {kind}",
                    size,
                    f"{whole:.2f}",
                    f"{1 / whole:.2f}",
                    f"{unpacking / whole:.0%}",
                    f"{peak / 1e6:.0f}",
                )


def memory_of_files() -> Iterator[tuple[str, ...]]:
    """Peak memory of commands over small files, which should hardly grow."""
    lesions = phantoms.Lesions(shape=(32, 32, 16))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibration = folder / "calibration.json"
        CLS(0.1, 0.1).calibrate(phantoms.cases(20, lesions)).to_json(calibration)
        rows = list(file_rows(folder, next(phantoms.cases(1, lesions, seed=1)), 1000))
        commands = {
            "score": (["score"], folder / "table.csv"),
            "predict": (["predict", calibration], folder / "masks"),
            "evaluate": (["evaluate", calibration], folder / "evaluated.csv"),
        }
        for command, (words, output) in commands.items():
            peaks = {}
            for n in (100, 1000):
                write_manifest(folder / "cases.csv", rows[:n])
                quietly = partial(run_quietly, *words, folder / "cases.csv", "-o", output)
                peaks[n] = peak_memory(quietly)
                yield f"{command}: {n} cases in files", f"{peaks[n] / 1e6:.1f}", ""
            more = (peaks[1000] - peaks[100]) / 900
            all_of_them = f"{more * MILLION / 1e9:.1f} GB for a million"
            yield f"{command}: each case more", f"{more / 1e6:.4f}", all_of_them


def size_of_tables() -> Iterator[tuple[str, ...]]:
    """Bytes of a row in the table that ``confseg score`` writes."""
    columns = Columns()
    cases = phantoms.cases(2000, phantoms.Lesions(shape=(16, 16, 8), radius=(3, 6)))
    lines = [score._csv(row_of_numbers(case, columns)) for case in cases]
    packed = io.BytesIO()
    write_parquet(packed, columns.types(), lines)
    for kind, size in (("CSV", sum(map(len, lines))), ("Parquet", packed.tell())):
        each = size / len(lines)
        yield (
            f"{kind}, {len(columns.names())} columns",
            f"{each:.0f}",
            f"{each * MILLION / 1e6:.0f}",
        )


def speed_of_quantile() -> Iterator[tuple[str, ...]]:
    """The cut-off from numbers that are in a table already."""
    for n in (1000, MILLION):
        scores = np.random.default_rng(0).random(n)
        yield f"{n:,}", f"{cpu_seconds(partial(conformal_quantile, scores, 0.1)):.4f}"


def pack(path: Path, values: NDArray, stored: type[np.generic]) -> Path:
    """Write a packed NIfTI file of numbers of a type."""
    image = nib.Nifti1Image(values, np.diag([*SPACING, 1]))
    image.header.set_xyzt_units("mm")
    image.set_data_dtype(stored)
    nib.save(image, path)
    return path


def unpack(files: list[Path]) -> None:
    """What nobody who reads these files can do without."""
    for file in files:
        gzip.decompress(file.read_bytes())


def file_rows(folder: Path, case: Case, n: int) -> Iterator[Row]:
    """Many rows of a manifest for the files of one case; its truth gets a name for each."""
    file = pack(folder / "score.nii.gz", case.score.astype(np.float32), np.float32)
    truth = pack(folder / "truth.nii.gz", case.truth.astype(np.uint8), np.uint8)
    for i in range(n):
        linked = folder / f"truth_{i}.nii.gz"
        linked.hardlink_to(truth)
        yield Row(f"case {i}", f"patient {i}", score=file, truth=linked)


def run_quietly(*words: object) -> None:
    """Run a command without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([str(word) for word in words]) == 0
