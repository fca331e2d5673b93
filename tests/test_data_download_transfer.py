"""Downloads over HTTP that break in every way, from a server on this machine."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_faults import FaultyServer, serving

from data_download import transfer
from data_download.errors import DownloadError
from data_download.transfer import fetch

CONTENT = bytes(range(256)) * 4096  # a megabyte
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    with serving() as faulty:
        faulty.files["data.bin"] = CONTENT
        yield faulty


def get(server: FaultyServer, folder: Path, known: str | None = HASH) -> Path:
    return fetch(f"{server.url}/data.bin", "data.bin", folder, known)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives_and_nothing_else(server, tmp_path):
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    get(server, tmp_path)
    assert len(server.ranges) == 1, "what is there is not downloaded again"


@pytest.mark.parametrize("fault", ["truncate", "reset"])
def test_a_broken_download_goes_on_where_it_broke(server, tmp_path, fault, capsys):
    server.faults = [fault, fault]
    assert get(server, tmp_path).read_bytes() == CONTENT
    first, second, third = (int(one[6:-1]) if one else 0 for one in server.ranges)
    assert 0 == first < second < third < len(CONTENT)
    assert "Trying again" in capsys.readouterr().err
    assert names(tmp_path) == ["data.bin"]


def test_a_slow_server_is_given_up_and_asked_again(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "TIMEOUT", (1.0, 0.3))
    server.faults = ["slow"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert "timed out" in capsys.readouterr().err
    assert server.ranges[1] != ""


def test_after_an_interruption_the_next_call_goes_on(server, tmp_path):
    server.faults = ["truncate"] + ["503"] * transfer.ATTEMPTS
    with pytest.raises(DownloadError, match=r"(?s)goes on from there.*503"):
        get(server, tmp_path)
    assert names(tmp_path) == ["data.bin.part", "data.bin.part.version"], "no half file"
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(CONTENT) // 2}-"


def test_two_versions_are_never_joined(server, tmp_path):
    server.faults = ["truncate"] + ["503"] * transfer.ATTEMPTS
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    other = bytes(reversed(CONTENT))
    server.files["data.bin"] = other
    assert get(server, tmp_path, None).read_bytes() == other


def test_a_server_that_marks_no_versions_is_asked_for_everything(server, tmp_path):
    server.marks = False
    server.faults = ["truncate"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["", ""]


def test_wrong_bytes_are_thrown_away_and_fetched_anew(server, tmp_path, capsys):
    server.faults = ["wrong"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert "does not match" in capsys.readouterr().err


def test_wrong_bytes_that_come_twice_are_told(server, tmp_path):
    server.faults = ["wrong"] * 9
    with pytest.raises(DownloadError, match="its publisher has changed it"):
        get(server, tmp_path)
    assert len(server.ranges) == 2
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "words"), [("404", "404 .*--mirror"), ("403", "403"), ("page", "web page")]
)
def test_what_is_not_there_is_not_asked_for_again(server, tmp_path, fault, words):
    server.faults = [fault] * 9
    with pytest.raises(DownloadError, match=words):
        get(server, tmp_path)
    assert len(server.ranges) == 1
    assert names(tmp_path) == []


def test_nobody_there(server, tmp_path):
    with pytest.raises(DownloadError, match="3 times in a row nothing came"):
        fetch("http://127.0.0.1:9/data.bin", "data.bin", tmp_path, None)


def test_a_full_disk_is_noticed_before(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(1, 1, len(CONTENT)))
    with pytest.raises(DownloadError, match=r"0\.00 GB are free.*--dest"):
        get(server, tmp_path)
    assert "data.bin" not in names(tmp_path)
