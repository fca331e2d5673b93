"""Saving and loading: every bit comes back, damage is noticed, a file is whole or not there."""

import json
import math
import os
import re

import numpy as np
import pytest
from test_fields import rank_filter

from confseg import CLS, Case, ConfidenceSets, Margin, fields, phantoms

SPACED = list(phantoms.cases(25, phantoms.Lesions((24, 24), (3, 6), spacing=(0.7, 2.5)), seed=8))
LOST = Case(np.zeros((2, 2)), np.eye(2) > 0, (1.0, 1.0), name="lost", patient="José 'Ж'")

METHODS = {
    "CLS": lambda: CLS(0.1, 0.3),
    "CLS, other rule": lambda: CLS(1 / 3, 0.123456789, empty="zero"),
    "joint": lambda: ConfidenceSets(0.1),
    "inner": lambda: ConfidenceSets(0.1, "inner", fields.smooth(1.7)),
    "outer": lambda: ConfidenceSets(0.1, "outer", outer=fields.signed_distance(0.3, "cube")),
    "weighted": lambda: ConfidenceSets(0.2, "weighted", fields.identity, weights=(0.08, 0.12)),
    "tolerant sets": lambda: ConfidenceSets(0.1, false=0.2, miss=0.05),
    "margin": lambda: Margin(0.1, 0.99, "mm", 0.45),
    "margin in steps": lambda: Margin(np.float32(0.2), metric="cross"),
    "false discoveries": lambda: CLS(0.1, 0.3, rate="fdp"),
    "eroded": lambda: Margin(0.1, 0.9, side="inner"),
    "both margins": lambda: Margin(0.2, side="both", weights=(0.05, 0.15)),
    "NumPy numbers": lambda: ConfidenceSets(
        0.1, inner=fields.smooth(np.float32(2)), outer=fields.signed_distance(np.float32(0.25))
    ),
}
every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def bits(values):
    return np.asarray(values, dtype=np.float64).tobytes()


def assert_same(one, other):
    """Both methods are the same to the last bit."""
    assert repr(one) == repr(other)
    assert one.statement() == other.statement()
    first, second = one._calibration, other._calibration
    for side in first.scores:
        assert bits(first.scores[side]) == bits(second.scores[side])
        assert bits(first.cutoffs[side]) == bits(second.cutoffs[side])
    assert (first.names, first.patients) == (second.names, second.patients)
    assert (first.excluded, first.spaced) == (second.excluded, second.spaced)
    assert one.to_json() == other.to_json()


@every_method
def test_round_trip_through_text(make):
    method = make().calibrate(SPACED)
    assert_same(method, type(method).from_json(method.to_json()))


@every_method
def test_round_trip_through_a_file(make, tmp_path):
    method = make().calibrate([*SPACED, LOST])
    for path in (tmp_path / "method.json", str(tmp_path / "other.json")):
        text = method.to_json(path)
        assert_same(method, type(method).from_json(path))
        with open(path, encoding="utf-8") as file:
            assert file.read() == text


@every_method
def test_a_loaded_method_predicts_the_same(make):
    method = make().calibrate(SPACED)
    loaded = type(method).from_json(method.to_json())
    for case in SPACED[:3]:
        assert method.complies(case) == loaded.complies(case)
        arguments = (case.score,) if isinstance(method, CLS) else (case.score, case.spacing)
        np.testing.assert_array_equal(method.predict(*arguments), loaded.predict(*arguments))


def test_infinities_and_signed_zeros_come_back():
    case = Case([[0.5, 0.5]], [[False, True]], (1.0, 1.0))
    never = Case([[1.0, 0.0]], [[False, True]], (1.0, 1.0))
    method = ConfidenceSets(0.4).calibrate([case, never, never])
    assert method.cutoff_inner_ == math.inf
    loaded = ConfidenceSets.from_json(method.to_json())
    assert_same(method, loaded)
    assert loaded.critical_values_.outer.tolist() == [0.0, -math.inf, -math.inf]


@pytest.mark.parametrize("seed", range(20))
def test_every_float_comes_back(seed):
    """Scores with random bits: decimal text and back is exact."""
    raw = np.random.default_rng(seed).integers(0, 2**62, 50, dtype=np.int64).view(np.float64)
    critical = raw[raw <= 1][:30]
    method = CLS(0.0, 0.1).calibrate([Case([c], [True]) for c in critical])
    loaded = CLS.from_json(method.to_json())
    assert bits(loaded.critical_values_) == bits(method.critical_values_)


def test_what_is_in_the_file():
    data = json.loads(METHODS["CLS"]().calibrate(SPACED).to_json())
    assert data["method"] == "CLS"
    assert data["parameters"] == {"eps": 0.1, "alpha": 0.3, "empty": "exclude", "rate": "fnr"}
    assert data["n"] == len(data["nonconformity_scores"]) == 25
    assert data["confseg_version"]
    assert data["nonconformity_scores"][0]["case"] == "phantom 0"
    data = json.loads(METHODS["outer"]().calibrate(SPACED).to_json())
    assert data["parameters"]["outer"] == {
        "name": "distance",
        "threshold": 0.3,
        "metric": "cube",
        "signed": True,
    }


# --- own functions as fields ---


def test_an_own_function_has_to_be_handed_over():
    method = ConfidenceSets(0.1, inner=rank_filter).calibrate(SPACED)
    text = method.to_json()
    with pytest.raises(ValueError, match="your own field 'rank_filter', which JSON cannot hold"):
        ConfidenceSets.from_json(text)
    assert_same(method, ConfidenceSets.from_json(text, inner=rank_filter))


def test_nothing_but_own_functions_can_be_handed_over():
    """A stored parameter that could be overridden would promise what was not calibrated."""
    text = CLS(0.1, 0.1).calibrate(SPACED).to_json()
    with pytest.raises(ValueError, match=r"only your own fields.*\['eps'\]"):
        CLS.from_json(text, eps=0.0)
    sets = ConfidenceSets(0.1, inner=rank_filter).calibrate(SPACED).to_json()
    with pytest.raises(ValueError, match=r"only your own fields.*\['outer'\]"):
        ConfidenceSets.from_json(sets, inner=rank_filter, outer=rank_filter)
    with pytest.raises(ValueError, match=r"only your own fields.*\['middle'\]"):
        ConfidenceSets.from_json(sets, inner=rank_filter, middle=rank_filter)


# --- damage ---

TEXT = METHODS["margin"]().calibrate([*SPACED, LOST]).to_json()


@pytest.mark.parametrize("length", [1, 2, 40, len(TEXT) // 2, len(TEXT) - 1])
def test_text_that_was_cut_short(length):
    with pytest.raises(ValueError, match="the JSON text is damaged: "):
        Margin.from_json(TEXT[:length])


def leaves(data, path=()):
    """Paths to all values of a JSON document."""
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        return [leaf for key, value in items for leaf in leaves(value, (*path, key))]
    return [path]


def changed(path):
    """The text with one value altered."""
    data = json.loads(TEXT)
    *parents, last = path
    place = data
    for key in parents:
        place = place[key]
    value = place[last]
    if isinstance(value, bool):
        place[last] = not value
    elif isinstance(value, str):
        place[last] = value + "x"
    elif value is None:
        place[last] = 0
    else:
        place[last] = value + 1 if isinstance(value, int) else math.nextafter(value, 9)
    return json.dumps(data)


@pytest.mark.parametrize("path", leaves(json.loads(TEXT)), ids=str)
def test_any_value_that_was_altered_is_noticed(path):
    with pytest.raises(ValueError, match="the JSON text"):
        Margin.from_json(changed(path))


@pytest.mark.parametrize("key", json.loads(TEXT))
def test_any_entry_that_is_missing_is_noticed(key):
    data = json.loads(TEXT)
    del data[key]
    with pytest.raises(ValueError, match="the JSON text"):
        Margin.from_json(json.dumps(data))


def test_the_layout_of_the_text_does_not_matter():
    assert Margin.from_json(json.dumps(json.loads(TEXT))).to_json() == TEXT


def test_another_version_another_method_another_document():
    def with_entry(**entries):
        return json.dumps({**json.loads(TEXT), **entries})

    with pytest.raises(ValueError, match="format version 2, expected 1"):
        Margin.from_json(with_entry(format_version=2))
    with pytest.raises(ValueError, match="calibration of a Margin, expected a CLS"):
        CLS.from_json(TEXT)
    with pytest.raises(ValueError, match="not a confseg calibration"):
        Margin.from_json('{"format": "recipe"}')


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"3", b"{", b"\xff\xfe{}", TEXT.encode()[:-9], b"[" * 10**5 + b"]" * 10**5],
    ids=["empty", "list", "number", "open", "no text", "cut short", "deep"],
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        Margin.from_json(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Margin.from_json(tmp_path / "none.json")


# --- writing ---


def failing(*_, **__):
    raise OSError("disk full")


@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
def test_a_failing_write_leaves_neither_file_nor_leftovers(tmp_path, monkeypatch, step):
    method = CLS(0.1, 0.1).calibrate(SPACED)
    monkeypatch.setattr(step, failing)
    with pytest.raises(OSError, match="disk full"):
        method.to_json(tmp_path / "method.json")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "method.json"
    text = CLS(0.1, 0.1).calibrate(SPACED).to_json(path)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="disk full"):
        CLS(0.2, 0.2).calibrate(SPACED).to_json(path)
    assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_cannot_be_written_leaves_no_file(tmp_path):
    """A file name that was not UTF-8 comes as a lone surrogate."""
    odd = Case([0.5], [True], name="scan \udcff")
    method = CLS(0.1, 0.5).calibrate([odd])
    text = method.to_json(tmp_path / "method.json")
    assert_same(method, CLS.from_json(tmp_path / "method.json"))
    assert_same(method, CLS.from_json(text))


def test_into_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        CLS(0.1, 0.1).calibrate(SPACED).to_json(tmp_path / "none" / "method.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")
def test_a_file_has_the_rights_that_new_files_have(tmp_path):
    plain, saved = tmp_path / "plain", tmp_path / "method.json"
    plain.touch()
    CLS(0.1, 0.1).calibrate(SPACED).to_json(saved)
    assert saved.stat().st_mode == plain.stat().st_mode


def test_nothing_is_written_before_calibration(tmp_path):
    with pytest.raises(ValueError, match="has not been calibrated"):
        CLS(0.1, 0.1).to_json(tmp_path / "method.json")
    assert list(tmp_path.iterdir()) == []
