"""The table of the kidney tumors: complete, and the same when some rows are derived again."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from confseg import Margin
from confseg.case import Case
from confseg.manifest import read_manifest
from data_download.__main__ import main

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "book" / "tables" / "kits.csv"
MIRROR = Path(os.environ.get("CONFSEG_MIRROR", ROOT / ".." / "shared" / "data"))
SAMPLE = 20
LARGEST_ML = 100  # of the sample: distances in a volume of a liter take seconds


def load_script() -> ModuleType:
    path = ROOT / "book" / "_tools" / "table_kits.py"
    spec = importlib.util.spec_from_file_location("table_kits", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_is_complete(table):
    assert (len(table), len({row["patient"] for row in table})) == (280, 251)
    assert len({row["case"] for row in table}) == 280
    columns = list(table[0])[3:]
    values = np.array([[float(row[name]) for name in columns] for row in table])
    assert np.isfinite(values).all() and (values >= 0).all()


def test_less_of_the_tumor_needs_no_more_margin(table):
    for row in table:
        for who in [f"{a}to{b}" for a in (1, 2, 3, "any", "mean") for b in (1, 2, 3) if a != b]:
            metrics = ["mm", "cross"] if who[0].isdigit() else ["mm"]
            for metric in metrics:
                margins = [float(row[f"{metric}_{tau}_{who}"]) for tau in ("0.9", "0.99", "1")]
                assert margins == sorted(margins)


def test_the_provenance_is_that_of_the_table():
    told = json.loads(TABLE.with_suffix(".provenance.json").read_text(encoding="utf-8"))
    assert told["table_sha256"] == hashlib.sha256(TABLE.read_bytes()).hexdigest()
    assert told["rows"] == 280
    assert told["license"] == "CC BY-NC-SA 4.0"


def test_the_numbers_of_a_small_tumor():
    masks = {reader: np.zeros((5, 6), dtype=bool) for reader in (1, 2, 3)}
    masks[1][2, 2] = masks[2][2, 2:4] = masks[3][2:4, 2] = True
    found = script.numbers(masks, (3.0, 2.0))
    assert (found["ml_1"], found["ml_2"]) == (0.006, 0.012)
    assert found["dice_12"] == pytest.approx(2 / 3)
    assert (found["mm_1_1to2"], found["mm_1_1to3"], found["mm_1_2to1"]) == (2.0, 3.0, 0.0)
    assert (found["mm_1_2to3"], found["cross_1_2to3"], found["mm_1_anyto3"]) == (3.0, 1.0, 3.0)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not MIRROR.is_dir():
        pytest.skip("no mirror: name one with CONFSEG_MIRROR")
    folder = tmp_path_factory.mktemp("kits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONFSEG_DATA", str(folder))
        assert main(["kits", "--yes", "--mirror", str(MIRROR)]) == 0
    return folder / "kits" / "cases.csv"


def test_some_rows_are_derived_again(table, manifest):
    told = json.loads(TABLE.with_suffix(".provenance.json").read_text(encoding="utf-8"))
    assert told["cases_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    rows = read_manifest(manifest, needed=["score", "truth"])
    assert [row.case for row in rows] == [row["case"] for row in table]
    small = [i for i, row in enumerate(table) if float(row["ml_1"]) < LARGEST_ML]
    chosen = np.random.default_rng(16).choice(small, SAMPLE, replace=False)
    for i, found in zip(chosen, script.records([rows[i] for i in chosen]), strict=True):
        assert {name: str(value) for name, value in found.items()} == table[i]
    masks, spacing = script.masks_of(rows[chosen[0]])
    method = Margin(alpha=0.5, coverage=0.99).calibrate(
        [Case(masks[2].astype(float), masks[3], spacing=spacing)]
    )
    assert method.critical_values_[0] == float(table[chosen[0]]["mm_0.99_2to3"])


def test_distances_in_the_crop_are_those_of_the_scan(manifest):
    rows = read_manifest(manifest, needed=["score", "truth"])
    smallest = min(rows, key=lambda row: row.score.stat().st_size)
    masks, spacing = script.masks_of(smallest)
    wider = {reader: np.pad(mask, 20) for reader, mask in masks.items()}
    assert script.numbers(wider, spacing) == script.numbers(masks, spacing)
