"""The committed table of PI-CAI: complete, and the same when it is made again."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import runpy
from pathlib import Path

import numpy as np
import pytest

from confseg import compliance_law, conformal_quantile
from confseg.evaluate import repeated_splits
from confseg.manifest import Row, read_manifest
from confseg.nifti import Reading, read_case
from confseg.rows import Columns, row_of_numbers
from data_download.__main__ import main

ROOT = Path(__file__).parents[1]
MIRROR = Path(os.environ.get("CONFSEG_MIRROR", ROOT / ".." / "shared" / "data"))
TABLE = ROOT / "book" / "tables" / "picai.csv"
GROUPS = {"original experts": 220, "later experts": 203, "no cancer": 108}


COVERAGES = (1.0, 0.99, 0.9)


def table() -> list[dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def numbers(column: str, group: str) -> np.ndarray:
    return np.array([float(row[column]) for row in table() if row["group"] == group])


def test_the_table_is_complete() -> None:
    rows = table()
    groups = [row["group"] for row in rows]
    assert {name: groups.count(name) for name in GROUPS} == GROUPS
    assert len({row["case"] for row in rows}) == len(rows)
    with_cancer = [row["patient"] for row in rows if row["group"] != "no cancer"]
    assert len(set(with_cancer)) == len(with_cancer), "one case for each patient with a lesion"
    assert {row["center"] for row in rows} == {"RUMC", "PCNN", "ZGT"}


def test_the_figures_that_were_known_before() -> None:
    for group, dice, none, blank in (
        ("original experts", 0.70, 11, 0),
        ("later experts", 0.30, 62, 17),
    ):
        assert round(float(np.median(numbers("dice", group))), 2) == dice
        assert np.count_nonzero(numbers("dice", group) == 0) == none
        empty = numbers("predicted_volume", group) == 0
        assert np.count_nonzero(empty) == blank
        for column in table()[0]:
            if column.startswith("margin"):
                np.testing.assert_array_equal(np.isinf(numbers(column, group)), empty)


def test_the_promise_in_either_group_and_from_one_to_the_other() -> None:
    original, later = (numbers("margin_mm_1", name) for name in list(GROUPS)[:2])
    split = repeated_splits(original, 0.1)
    assert round(split.compliance.mean(), 3) == 0.902
    assert round(split.compliance.std(), 3) == 0.042
    assert np.median(split.quantiles).round(1) == 10.7
    assert round(conformal_quantile(later, 0.1)) == 54
    held = np.count_nonzero(later <= conformal_quantile(original, 0.1))
    assert compliance_law(original.size, 0.1, later.size).cdf(held) < 1e-20


def test_sizes_are_there_for_every_calibrated_margin() -> None:
    columns = table()[0]
    for metric in ("mm", "cross", "cube"):
        for coverage in ("1", "0.99", "0.9"):
            margins = numbers(f"margin_{metric}_{coverage}", "original experts")
            rounded_up = np.ceil(10 * conformal_quantile(margins, 0.1)) / 10
            assert f"grown_{metric}_{rounded_up:g}" in columns


def test_wider_margins_have_larger_masks_within_the_scan() -> None:
    for group in GROUPS:
        mask, scan = numbers("predicted_voxels", group), numbers("voxels", group)
        for sizes in (
            [numbers(f"grown_mm_{d}", group) for d in ("5.5", "9.4", "10.6", "54.2")],
            [numbers(f"grown_cross_{d}", group) for d in (9, 22, 33)],
            [numbers(f"grown_cube_{d}", group) for d in (6, 16, 21)],
        ):
            assert (np.diff([mask, *sizes, scan], axis=0) >= 0).all()
            assert (sizes[0][mask == 0] == 0).all()


def test_the_provenance_belongs_to_the_table() -> None:
    origin = json.loads(TABLE.with_suffix(".provenance.json").read_text())
    assert origin["table_sha256"] == hashlib.sha256(TABLE.read_bytes()).hexdigest()
    assert origin["rows"] == len(table())
    assert origin["license"] == "CC BY-NC 4.0"
    assert all(" /" not in command for command in origin["commands"])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    if not MIRROR.is_dir():
        pytest.skip("no mirror: name one with CONFSEG_MIRROR")
    folder = tmp_path_factory.mktemp("picai")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONFSEG_DATA", str(folder))
        assert main(["picai", "--yes", "--mirror", str(MIRROR)]) == 0
    return read_manifest(folder / "picai" / "cases.csv", needed=["score", "truth"])


def test_a_sample_made_again_is_the_same(real: list[Row]) -> None:
    kept = table()
    assert [row.case for row in real] == [row["case"] for row in kept]
    assert [row.extra["center"] for row in real] == [row["center"] for row in kept]
    sizes = {float(name.rsplit("_", 1)[1]) for name in kept[0] if name.startswith("grown")}
    columns = Columns((), COVERAGES, fields=(), margins=tuple(sorted(sizes)))
    for i in np.random.default_rng(15).choice(len(kept), 20, replace=False):
        made = [str(x) for x in row_of_numbers(read_case(real[i], Reading()), columns)]
        again = dict(zip(columns.names(), made, strict=True))
        assert {name: again.get(name, kept[i]["center"]) for name in kept[i]} == kept[i]


def test_the_script_joins_and_refuses(tmp_path: Path) -> None:
    run = runpy.run_path(str(ROOT / "book" / "_tools" / "tables.py"))["main"]
    (tmp_path / "cases.csv").write_text("case,center\na,A\nb,B\n")
    scored = tmp_path / "scored.csv"
    scored.write_text("case,patient,group,dice,more\na,1,g,0.5,7\nb,2,h,inf,8\n")
    data = {"confseg_version": "1", "cases_sha256": "0", "rows": 2}
    data["command"] = f"confseg score {tmp_path}/cases.csv -o {scored} --eps --margins 0.5"
    data["table_sha256"] = hashlib.sha256(scored.read_bytes()).hexdigest()
    scored.with_suffix(".provenance.json").write_text(json.dumps(data))
    start = ["kits", str(tmp_path / "cases.csv"), str(scored), "--to", str(tmp_path), "--columns"]
    run([*start, "dice", "--extra", "center"])
    made = (tmp_path / "kits.csv").read_text()
    assert made == "case,patient,group,center,dice\na,1,g,A,0.5\nb,2,h,B,inf\n"
    told = json.loads((tmp_path / "kits.provenance.json").read_text())
    assert told["commands"][1] == "confseg score cases.csv -o scored.csv --eps --margins 0.5"
    assert told["source"] == "https://github.com/neheller/kits23"
    with pytest.raises(ValueError, match=r"no columns \['none'\]"):
        run([*start, "none"])
    scored.write_text(scored.read_text().replace("0.5", "0.6"))
    with pytest.raises(ValueError, match="not the table of its provenance"):
        run([*start, "dice"])
    scored.write_text(scored.read_text().replace("\na,", "\nc,"))
    with pytest.raises(ValueError, match="name other cases"):
        run([*start, "dice"])
