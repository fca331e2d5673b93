"""Data sets: fetched, built, verified, made again, by two processes at once; no network."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import small_sets
from http_faults import FaultyServer, serving

from confseg.manifest import read_manifest
from data_download import provide, transfer, uls23
from data_download.__main__ import main
from data_download.registry import DATA_SETS, File, read_registry

ROOT = Path(__file__).parents[1]

Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The destination."""
    monkeypatch.setenv("CONFSEG_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """A server with one small archive, for a data set ``small``."""
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    folder = small_sets.msd(tmp_path / "msd")
    (folder / "large.bin").write_bytes(bytes(400_000))  # not a member that is wanted
    archive = small_sets.tarred(folder, tmp_path / "small.tar", "Task00")
    with serving() as faulty:
        faulty.files["small.tar"] = archive.read_bytes()
        file = File("small.tar", url=f"{faulty.url}/small.tar", found_in="here")
        entry = replace(DATA_SETS["msd-colon"], name="small", mirror="small", files=(file,))
        monkeypatch.setitem(DATA_SETS, "small", entry)
        yield faulty


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# --- From the address to the manifest ---------------------------------------------------------


def test_an_archive_becomes_a_manifest(place, server, capsys):
    assert main(["small", "--yes"]) == 0
    assert visible(place) == ["small", "small.checksums.json"]
    rows = read_manifest(place / "small" / "cases.csv", needed=["truth"])
    assert [row.case for row in rows] == ["scan_001", "scan_002"]
    assert rows[0].rule.mask(nib.load(rows[0].truth).dataobj).sum() == 12
    assert not (place / ".small.work").exists(), "the download is not kept"
    assert main(["small"]) == 0, "what is there asks nothing"
    assert "already there" in capsys.readouterr().out
    assert len(server.ranges) == 1


def test_the_first_download_is_recorded_and_later_ones_are_compared(place, server, capsys):
    main(["small", "--yes"])
    record = json.loads((place / "small.checksums.json").read_text())
    assert record["downloads"]["small.tar"]["size"] == len(server.files["small.tar"])
    shutil.rmtree(place / "small")
    server.files["small.tar"] += b"\0" * 512
    assert main(["small", "--yes"]) == 1
    assert "its publisher has changed it" in capsys.readouterr().err
    assert visible(place) == ["small.checksums.json"]


def test_a_broken_download_leaves_nothing_visible_and_goes_on(place, server, capsys):
    server.faults = ["reset", *["503"] * transfer.ATTEMPTS]
    assert main(["small", "--yes"]) == 1
    assert visible(place) == []
    assert main(["small", "--yes"]) == 0
    assert server.ranges[-1].startswith("bytes=")


def test_a_disk_that_fills_up_in_the_middle_loses_nothing(place, server, monkeypatch, capsys):
    def fill(response, size):
        yield response.raw.read(1000)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(requests.Response, "iter_content", fill)
        assert main(["small", "--yes"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert visible(place) == []
    assert main(["small", "--yes"]) == 0
    assert server.ranges == ["", "bytes=1000-"]


def test_a_damaged_archive_is_told_and_not_kept(place, server, capsys):
    whole = server.files["small.tar"]
    server.files["small.tar"] = whole[: len(whole) // 2]
    assert main(["small", "--yes"]) == 1
    assert "small.tar is damaged" in capsys.readouterr().err
    server.files["small.tar"] = whole
    assert main(["small", "--yes"]) == 0


def test_an_archive_that_writes_elsewhere_is_refused(place, server, tmp_path, capsys):
    bad = "Task00/../../labelsTr/evil.nii.gz"
    archive = small_sets.tarred(tmp_path / "msd", tmp_path / "evil.tar", "Task00", bad)
    server.files["small.tar"] = archive.read_bytes()
    entry = replace(DATA_SETS["small"], members=r".*labelsTr/.*")
    DATA_SETS["small"] = entry
    assert main(["small", "--yes"]) == 1
    assert "would land outside" in capsys.readouterr().err
    assert visible(place) == []


def test_unpacking_needs_room(place, server, monkeypatch, capsys):
    sizes = iter([10**12])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(1, 1, next(sizes, 10)))
    assert main(["small", "--yes"]) == 1
    assert "unpacking small.tar needs" in capsys.readouterr().err
    assert visible(place) == []


# --- Terms, forms, mirrors --------------------------------------------------------------------


def test_terms_must_be_accepted(place, server, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    assert main(["small"]) == 1
    assert "CC BY-SA 4.0" in (said := capsys.readouterr().err) and "--yes" in said
    assert server.ranges == []


def test_whoever_sits_there_is_asked(place, server, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["small"]) == 1
    monkeypatch.setattr("builtins.input", lambda question: "Y")
    assert main(["small"]) == 0


@pytest.mark.parametrize(
    "name", [name for name, one in DATA_SETS.items() if one.needs == "account"]
)
def test_what_lies_behind_a_form_comes_with_instructions(place, name, capsys):
    assert main([name, "--yes"]) == 1
    said = capsys.readouterr().err
    assert DATA_SETS[name].source in said and "--mirror FOLDER" in said
    assert DATA_SETS[name].mirror in said


def test_a_mirror_may_be_an_address(place, server):
    file = replace(DATA_SETS["small"].files[0], url="http://nowhere.invalid/small.tar")
    DATA_SETS["small"] = replace(DATA_SETS["small"], files=(file,))
    assert main(["small", "--yes", "--mirror", f"{server.url}/"]) == 0


def test_a_mirror_may_hold_the_archive_or_the_folder(place, server, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (tmp_path / "small.tar").rename(mirror / "small.tar")
    assert main(["small", "--yes", "--mirror", str(mirror)]) == 0
    first = (place / "small" / "cases.csv").read_bytes()
    shutil.rmtree(place)
    (mirror / "small.tar").unlink()
    (tmp_path / "msd").rename(mirror / "small")
    assert main(["small", "--yes", "--mirror", str(mirror)]) == 0
    assert (place / "small" / "cases.csv").read_bytes() == first
    assert (mirror / "small" / "labelsTr" / "scan_001.nii.gz").exists(), "a mirror keeps its files"
    assert server.ranges == []


def test_an_empty_mirror_is_told(place, server, tmp_path, capsys):
    assert main(["small", "--yes", "--mirror", str(tmp_path / "msd")]) == 1
    assert "holds no small nor small.tar" in capsys.readouterr().err
    assert [path.name for path in place.iterdir()] == [".small.lock"]
    assert main(["small", "--yes", "--mirror", str(tmp_path / "none")]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_another_archive_in_a_mirror_is_refused(place, server, tmp_path, capsys):
    file = replace(DATA_SETS["small"].files[0], md5="0" * 32)
    DATA_SETS["small"] = replace(DATA_SETS["small"], files=(file,))
    assert main(["small", "--yes", "--mirror", str(tmp_path)]) == 1
    assert "expected 00000" in capsys.readouterr().err


def test_several_at_once_go_on_after_a_failure(place, server, capsys):
    assert main(["lits", "small", "--yes"]) == 1
    assert "not there: lits" in capsys.readouterr().err
    assert visible(place) == ["small", "small.checksums.json"]


def test_a_destination_may_be_named(place, server, tmp_path):
    assert main(["small", "--yes", "--dest", str(tmp_path / "other")]) == 0
    assert (tmp_path / "other" / "small" / "cases.csv").exists()


# --- What is there ----------------------------------------------------------------------------


def test_verify(place, server, capsys):
    assert main(["small", "--verify"]) == 1
    main(["small", "--yes"])
    assert main(["small", "--verify"]) == 0
    label = place / "small" / "labels" / "scan_001.nii.gz"
    content = bytearray(label.read_bytes())
    content[-1] ^= 1
    label.write_bytes(content)
    assert main(["small", "--verify"]) == 1
    assert "labels/scan_001.nii.gz has SHA-256" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["file", "record", "manifest"])
def test_what_is_damaged_is_made_again(place, server, damage, capsys):
    main(["small", "--yes"])
    before = (place / "small.checksums.json").read_bytes()
    victim = {
        "file": place / "small" / "labels" / "scan_001.nii.gz",
        "record": place / "small.checksums.json",
        "manifest": place / "small" / "cases.csv",
    }[damage]
    victim.unlink()
    assert main(["small", "--yes"]) == 0
    assert "made again" in capsys.readouterr().out
    assert (place / "small.checksums.json").read_bytes() == before
    assert main(["small", "--verify"]) == 0


def test_a_record_that_cannot_be_read_is_told(place, server, capsys):
    main(["small", "--yes"])
    (place / "small.checksums.json").write_text('{"downloads": 3}')
    assert main(["small"]) == 1
    assert "small.checksums.json is damaged" in capsys.readouterr().err


def test_an_interrupted_build_leaves_what_was_there(place, server, monkeypatch):
    main(["small", "--yes"])
    (place / "small" / "labels" / "scan_001.nii.gz").unlink()
    monkeypatch.setattr(provide, "_build", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main(["small", "--yes"])
    assert visible(place) == ["small", "small.checksums.json"]
    assert (place / "small" / "cases.csv").exists()


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_of_two_at_once_one_works_and_the_other_waits(place, server, capsys):
    # The first is held up in the middle, until the second has come.
    server.faults = ["slow"]
    outcomes: list[int] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(main(["small", "--yes"]))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [0, 0]
    said = capsys.readouterr().out
    assert "another process is at work" in said and "already there" in said
    assert main(["small", "--verify"]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that begin with everything loaded")
def test_processes_at_once_do_no_harm(place, tmp_path):
    small_sets.kits(tmp_path / "kits23_tumours_3annotators.npz")
    context = multiprocessing.get_context("fork")
    command = ["kits", "--yes", "--mirror", str(tmp_path)]
    processes = [context.Process(target=lambda: sys.exit(main(command))) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert main(["kits", "--verify"]) == 0
    assert len(read_manifest(place / "kits" / "cases.csv")) == 1


# --- The registry and the builders ------------------------------------------------------------


def test_every_entry_is_complete():
    for entry in DATA_SETS.values():
        assert all((entry.title, entry.source, entry.license, entry.citation, entry.labels))
        assert entry.needs in {"nothing", "license", "account"}
        assert (entry.needs == "account") == (not entry.files and not entry.made_of), entry.name
        assert all(file.found_in for file in entry.files), entry.name
        assert entry.needs != "account" or entry.by_hand, entry.name


def test_no_checksum_is_called_verified_without_one():
    for entry in DATA_SETS.values():
        assert all(file.sha256 for file in entry.files if file.verified)
        assert {len(file.sha256) for file in entry.files} <= {0, 64}
        assert {len(file.md5) for file in entry.files} <= {0, 32}


def test_an_unknown_field_of_the_registry_is_refused(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text('[one]\ntitel = "misspelled"')
    with pytest.raises(TypeError, match="titel"):
        read_registry(path)


def build(name: str, mirror: Path, place: Path):
    """Build a data set from a folder, and read its manifest."""
    assert main([name, "--yes", "--mirror", str(mirror)]) == 0
    return read_manifest(place / name / "cases.csv")


def test_picai_groups_rules_and_centers(place, tmp_path, capsys):
    small_sets.picai(tmp_path / "picai_labels")
    rows = build("picai", tmp_path, place)
    assert [(row.case, row.patient, row.group, row.rule.text) for row in rows] == [
        ("1_100", "1", "original experts", "label >= 2"),
        ("2_200", "2", "later experts", "label > 0"),
        ("3_300", "3", "no cancer", "label >= 2"),
    ]
    assert [row.extra["center"] for row in rows] == ["A", "B", "A"]
    said = capsys.readouterr().out
    assert "left out" in said and "4_400" in said
    assert "not the 1068 that were checked" in said


def test_picai_from_the_publishers_archive_is_the_same(place, tmp_path, server):
    folder = small_sets.picai(tmp_path / "picai_labels")
    (folder / "README.md").write_text("not needed")
    archive = small_sets.zipped(folder, tmp_path / "picai_labels-main.zip", "picai_labels-main")
    shutil.rmtree(folder)
    rows = build("picai", archive.parent, place)
    assert len(rows) == 3


def test_picai_without_a_line_in_the_marksheet_is_told(place, tmp_path, capsys):
    folder = small_sets.picai(tmp_path / "picai_labels")
    (folder / "clinical_information" / "marksheet.csv").write_text("patient_id,study_id\n")
    assert main(["picai", "--yes", "--mirror", str(tmp_path)]) == 1
    assert "no line in the marksheet" in capsys.readouterr().err


def kits_masks(rows) -> list[np.ndarray]:
    """The three masks of the only tumor, reader by reader."""
    (row,) = rows
    folder = row.truth.parent
    return [np.asarray(nib.load(path).dataobj) for path in sorted(folder.iterdir())]


def test_kits_from_the_packed_file(place, tmp_path, monkeypatch):
    path = small_sets.kits_npz(tmp_path / "kits23_tumours_3annotators.npz")
    monkeypatch.setitem(DATA_SETS, "kits", replace(DATA_SETS["kits"], checked=None))
    rows = build("kits", path.parent, place)
    assert [int(mask.sum()) for mask in kits_masks(rows)] == [12, 18, 24]
    image = nib.load(rows[0].truth)
    assert image.header.get_zooms() == (1.0, 0.5, 0.5)
    assert image.affine[:3, 3].tolist() == [10.0, 10.0, 15.0]
    readers = {rows[0].extra[column] for column in ("score_reader", "truth_reader")}
    assert len(readers) == 2 and readers < {"1", "2", "3"}
    assert f"reader-{rows[0].extra['truth_reader']}" in rows[0].truth.name


def test_kits_from_the_publishers_files(place, tmp_path, capsys):
    small_sets.kits(tmp_path / "kits23_tumours_3annotators.npz")
    rows = build("kits", tmp_path, place)
    assert [row.case for row in rows] == ["case_00007_tumor_instance-1"]
    masks = kits_masks(rows)
    assert [int(mask.sum()) for mask in masks] == [12, 18, 24]
    assert masks[0].shape == (8, 7, 5), "the box of all three and two voxels more"
    assert "case_00007_tumor_instance-2" in capsys.readouterr().out


def test_another_packed_file_is_refused(place, tmp_path, capsys):
    small_sets.kits_npz(tmp_path / "kits23_tumours_3annotators.npz")
    assert main(["kits", "--yes", "--mirror", str(tmp_path)]) == 1
    assert "expected a1bdbdcd" in capsys.readouterr().err


def test_uls23_drops_the_last_axis_and_tells_patients(place, tmp_path):
    small_sets.uls23(tmp_path / "ULS23", uls23.SETS)
    rows = build("uls23", tmp_path, place)
    assert sorted(row.group for row in rows) == sorted(uls23.SETS)
    row = next(row for row in rows if row.group == "kits21")
    assert (row.case, row.patient) == ("kits21/case_7_lesion_01_sample_0", "kits21/case_7")
    assert nib.load(row.truth).shape == small_sets.SHAPE
    assert {row.extra["image"] for row in rows} == {""}


def test_uls23_takes_the_scans_along_where_they_are(place, tmp_path):
    small_sets.uls23(tmp_path / "ULS23", uls23.SETS)
    name = "case_7_lesion_01_sample_0.nii.gz"
    crop = small_sets.image(tmp_path / "ULS23" / "ct" / "LiTS" / "images.zip" / "images" / name)
    rows = build("uls23", tmp_path, place)
    assert [row.group for row in rows if row.extra["image"]] == ["LiTS"]
    image = place / "uls23" / "images" / "LiTS" / name
    assert nib.load(image).shape == nib.load(crop).shape


def test_uls23_without_one_of_its_sets_is_told(place, tmp_path, capsys):
    small_sets.uls23(tmp_path / "ULS23", uls23.SETS[1:])
    assert main(["uls23", "--yes", "--mirror", str(tmp_path)]) == 1
    assert "no labels of kits21" in capsys.readouterr().err


def test_lits(place, tmp_path):
    small_sets.image(tmp_path / "lits" / "Batch 1" / "segmentation-7.nii.gz", {2: small_sets.BLOCK})
    small_sets.image(tmp_path / "lits" / "Batch 1" / "volume-7.nii.gz")
    (row,) = build("lits", tmp_path, place)
    assert (row.case, row.rule.text) == ("lits-007", "label >= 2")
    assert row.extra["image"] == "images/volume-7.nii.gz"


def test_lymph_nodes_are_the_abdominal_ones(place, tmp_path):
    for name in ("ABD_LYMPH_001", "MED_LYMPH_001"):
        small_sets.image(tmp_path / "MED_ABD_LYMPH_MASKS" / name / f"{name}_mask.nii.gz")
    (row,) = build("nih-lymph-nodes", tmp_path, place)
    assert (row.case, row.rule.text) == ("ABD_LYMPH_001", "label > 0")


@pytest.mark.parametrize(
    ("name", "folders"),
    [("kvasir-seg", ("masks", "images")), ("cvc-clinicdb", ("Ground Truth", "Original"))],
)
def test_polyps(place, tmp_path, name, folders):
    small_sets.polyps(tmp_path / name, *folders)
    rows = build(name, tmp_path, place)
    mask = nib.load(rows[0].truth)
    assert (mask.shape, np.asarray(mask.dataobj).sum()) == ((20, 30), 150)
    assert mask.header.get_xyzt_units()[0] == "unknown", "pixels have no size"


def test_polyp_scores(place, tmp_path):
    masks = np.zeros((2, 5, 5), dtype=np.uint8)
    masks[:, 1:3, 1:3] = 1
    np.savez(tmp_path / "polyps-pranet.npz", sgmd=masks * 0.75, targets=masks)
    rows = build("polyp-scores", tmp_path, place)
    assert np.asarray(nib.load(rows[1].score).dataobj).max() == 0.75
    np.savez(tmp_path / "polyps-pranet.npz", scores=masks)
    shutil.rmtree(place)
    assert main(["polyp-scores", "--yes", "--mirror", str(tmp_path)]) == 1


def test_labels_on_another_grid_are_told(place, tmp_path, capsys):
    folder = small_sets.msd(tmp_path / "msd_task10_colon")
    small_sets.image(folder / "labelsTr" / "scan_001.nii.gz", shape=(3, 3, 3))
    assert main(["msd-colon", "--yes", "--mirror", str(tmp_path)]) == 1
    assert "another grid" in capsys.readouterr().err
    (folder / "labelsTr" / "scan_001.nii.gz").write_bytes(b"no NIfTI")
    assert main(["msd-colon", "--yes", "--mirror", str(tmp_path)]) == 1
    assert "scan_001.nii.gz cannot be read" in capsys.readouterr().err
    assert visible(place) == []


# --- The real files, where they are -----------------------------------------------------------

MIRROR = Path(os.environ.get("CONFSEG_MIRROR", ROOT / ".." / "shared" / "data"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not MIRROR.is_dir():
        pytest.skip("no mirror: name one with CONFSEG_MIRROR")
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONFSEG_DATA", str(folder))
        names = ["msd-hippocampus", "picai", "kits"]
        assert main([*names, "--yes", "--mirror", str(MIRROR)]) == 0
    return folder


def test_the_real_hippocampus(real):
    rows = read_manifest(real / "msd-hippocampus" / "cases.csv", needed=["truth"])
    assert len(rows) == 260
    assert all(row.score is None for row in rows)


def test_the_real_prostates(real):
    rows = read_manifest(real / "picai" / "cases.csv", needed=["score", "truth"])
    groups = [row.group for row in rows]
    found = [groups.count(name) for name in ("original experts", "later experts", "no cancer")]
    assert found == [220, 203, 108]
    assert {row.extra["center"] for row in rows} == {"RUMC", "PCNN", "ZGT"}


def test_the_real_kidneys(real):
    rows = read_manifest(real / "kits" / "cases.csv", needed=["score", "truth"])
    assert (len(rows), len({row.patient for row in rows})) == (280, 251)
    drawn = [row.extra["truth_reader"] for row in rows]
    assert min(drawn.count(reader) for reader in "123") > 70
