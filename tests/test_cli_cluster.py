"""The commands on a Dask cluster, whose workers and whose scheduler may die at any time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from niftis import small_cases, write_cases

import confseg
from confseg.cli import cluster, main
from confseg.journal import Journal

CASES = small_cases(24, seed=8)

# Every worker takes a while for a case, and dies of a case for which there is a file.
SLOW = """
import os, pathlib, signal, time
from confseg.cli import score

def slowly(row, reading, original=score.read_case):
    time.sleep(0.1)
    if pathlib.Path(f"deadly-{row.case}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return original(row, reading)

score.read_case = slowly
"""


class Dask:
    """A scheduler and its workers, each a process of its own that nobody starts again."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        folder.mkdir()
        (folder / "slow.py").write_text(SLOW)
        self.folder, self.address = folder, free_address()
        self.scheduler = self._start("scheduler", "--port", self.address.split(":")[-1])
        slow = ("--nthreads", "1", "--no-nanny", "--preload", str(folder / "slow.py"))
        self.workers = [self._start("worker", self.address, *slow) for _ in range(workers)]
        self._wait_for_scheduler()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        code = str(Path(confseg.__file__).parents[1])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([code, *sys.path]),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        words = (sys.executable, "-m", "dask", *words, "--host", "127.0.0.1", "--no-dashboard")
        with (self.folder / "dask.log").open("ab") as log:
            return subprocess.Popen(words, env=environment, cwd=self.folder, stdout=log, stderr=log)

    def _wait_for_scheduler(self) -> None:
        host, port = self.address.removeprefix("tcp://").split(":")
        deadline = time.monotonic() + 60
        while True:
            try:
                return socket.create_connection((host, int(port))).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, (self.folder / "dask.log").read_text()
                time.sleep(0.1)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[[int], Dask]]:
    """Starts a cluster of so many workers."""
    started: list[Dask] = []

    def start(workers: int) -> Dask:
        started.append(Dask(tmp_path / "dask", workers))
        return started[-1]

    yield start
    for dask in started:
        dask.stop()


@pytest.fixture
def folder(tmp_path) -> Path:
    write_cases(tmp_path / "data", CASES, groups="AB")
    return tmp_path / "data"


def run(*words: object) -> int:
    return main([str(word) for word in words])


def kill_after(results: int, process: subprocess.Popen[bytes], monkeypatch) -> None:
    """Kill a process as soon as so many cases are back."""
    keep = Journal.__setitem__
    kept: list[str] = []

    def counting(journal: Journal, key: str, result: str) -> None:
        keep(journal, key, result)
        kept.append(key)
        if len(kept) == results:
            process.send_signal(signal.SIGKILL)

    monkeypatch.setattr(Journal, "__setitem__", counting)


@pytest.mark.parametrize("victim", [0, 1])  # one of them made what the other gets from it
def test_a_killed_worker_changes_nothing(start, folder, tmp_path, monkeypatch, victim):
    assert run("score", folder / "cases.csv", "-o", tmp_path / "alone.csv") == 0
    dask = start(2)
    monkeypatch.chdir(folder)  # the workers are elsewhere
    with monkeypatch.context() as patch:
        kill_after(5, dask.workers[victim], patch)
        assert run("score", "cases.csv", "-o", "t.csv", "--scheduler", dask.address) == 0
    assert dask.workers[victim].wait(10) == -signal.SIGKILL
    assert dask.workers[1 - victim].poll() is None
    assert Path("t.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    # The other commands, on the worker that is left.
    for out, more in ((tmp_path, []), (folder, ["--scheduler", dask.address])):
        cls = ["calibrate", "cls", "cases.csv", "--eps=0.1", "--alpha=0.1"]
        assert run(*cls, "-o", out / "a.json", *more) == 0
        assert run("predict", out / "a.json", "cases.csv", "-o", out / "masks", *more) == 0
        write_cases(folder / "new", small_cases(5, seed=9))
        evaluate = ["evaluate", out / "a.json", folder / "new/cases.csv", "-o", out / "e.csv"]
        assert run(*evaluate, *more) == 0
    masks = sorted(path.name for path in (folder / "masks").glob("*.nii.gz"))
    assert len(masks) == len(CASES)
    for name in ("e.csv", *(f"masks/{mask}" for mask in masks)):
        assert Path(name).read_bytes() == (tmp_path / name).read_bytes()
    for path in (folder, tmp_path):
        calibration = confseg.CLS.from_json(path / "a.json")
        assert calibration.to_json() == confseg.CLS(0.1, 0.1).calibrate(CASES).to_json()


def test_a_scheduler_that_dies_ends_the_command_and_the_next_goes_on(
    start, folder, tmp_path, monkeypatch, capsys
):
    assert run("score", folder / "cases.csv", "-o", tmp_path / "alone.csv") == 0
    before = sorted(folder.iterdir())
    dask = start(2)
    words = ("score", folder / "cases.csv", "-o", folder / "t.csv")
    monkeypatch.setattr(cluster, "TO_CONNECT", 5)
    with monkeypatch.context() as patch:
        kill_after(5, dask.scheduler, patch)
        assert run(*words, "--scheduler", dask.address) == 1
    told = capsys.readouterr().err
    assert f"confseg: the scheduler at {dask.address} was lost" in told
    assert "Traceback" not in told
    assert sorted(folder.iterdir()) == sorted([*before, folder / "t.csv.journal"])
    assert run(*words) == 0
    assert " of 24 cases were done before" in capsys.readouterr().err
    assert (folder / "t.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_a_case_that_kills_its_workers_is_a_fault(start, folder, capsys):
    dask = start(4)
    (dask.folder / "deadly-8-9").touch()
    words = ("score", folder / "cases.csv", "-o", folder / "t.csv", "--scheduler", dask.address)
    assert run(*words) == 1
    told = capsys.readouterr().err
    assert "cases failed; t.csv was not written, and the others need not be done again" in told
    assert "case '8-9': the workers that had it died one after the other" in told
    assert not (folder / "t.csv").exists()
    (dask.folder / "deadly-8-9").unlink()
    assert run(*words) == 0


def test_what_does_not_answer_is_told_before_anything_is_written(
    start, folder, monkeypatch, capsys
):
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(cluster, "TO_CONNECT", 2)
    monkeypatch.setattr(cluster, "TO_FIND_WORKERS", 2)
    words = ("score", folder / "cases.csv", "-o", folder / "t.csv", "--scheduler")
    address = free_address()
    assert run(*words, address) == 1
    told = capsys.readouterr().err
    assert f"confseg: no scheduler answers at {address} within 2 seconds" in told
    address = start(0).address
    monkeypatch.setattr(cluster, "TO_CONNECT", 20)
    assert run(*words, address) == 1
    assert f"the scheduler at {address} has had no worker for 2" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(*words, address) == 1
    assert "pip install 'confseg[cluster]'" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("guess", "missing port number"),
        ("tcp://127.0.0.1", "missing port number"),
        ("tcp://127.0.0.1:port", "invalid literal"),
        ("http://127.0.0.1:3", "unknown address scheme 'http'"),
        ("inproc://127.0.0.1/3/1", "missing port number"),
    ],
)
def test_what_is_no_address_is_told_and_nothing_follows(folder, address, reason):
    """A client that is half made would complain while the program ends."""
    words = ["score", folder / "cases.csv", "-o", folder / "t.csv", "--scheduler", address]
    program = [sys.executable, "-m", "confseg", *map(str, words)]
    failed = subprocess.run(program, capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (1, "")
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"confseg: --scheduler {address}: expected an address such as tcp://")
    assert reason in line


def test_another_version_on_a_worker_is_refused(start, folder, monkeypatch, capsys):
    address = start(1).address
    monkeypatch.setattr(cluster, "__version__", "9.9")
    words = ("score", folder / "cases.csv", "-o", folder / "t.csv", "--scheduler", address)
    assert run(*words) == 1
    told = capsys.readouterr().err
    assert f"has confseg {confseg.__version__}, here is 9.9" in told
    assert not (folder / "t.csv.journal").exists()
