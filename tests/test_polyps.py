"""Polyps: the phantoms, and the promise that their chapter reads the real ones from a manifest."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from confseg import fields, metrics, phantoms
from confseg.critical import inner_cutoff, outer_cutoff
from data_download.__main__ import main

CHAPTER = Path(__file__).parents[1] / "book" / "ch18_polyps.ipynb"
SWITCH = "MANIFEST = None"


@pytest.fixture(scope="module")
def drawn():
    return list(phantoms.polyps(400, seed=3))


def test_equal_seeds_give_equal_polyps_however_many_are_drawn(drawn):
    for one, other in zip(phantoms.polyps(70, seed=3), drawn[:70], strict=True):
        assert (one.score == other.score).all()
        assert (one.truth == other.truth).all()
    other = next(phantoms.polyps(1, seed=4))
    assert (other.score != drawn[0].score).any()
    assert other.patient != drawn[0].patient


def test_a_polyp_is_a_case_of_its_own_patient(drawn):
    assert len({case.patient for case in drawn}) == len({case.name for case in drawn}) == 400
    for case in drawn:
        assert case.score.shape == case.truth.shape == (88, 88)
        assert case.spacing is None
        assert 0 < case.score.min() <= case.score.max() <= 1
        assert 0 < case.truth.sum() < case.truth.size


def test_most_polyps_are_found_and_some_are_missed(drawn):
    overlap = np.array([metrics.dice(case.score >= 0.5, case.truth) for case in drawn])
    assert np.median(overlap) > 0.9
    assert 0.01 < np.mean(overlap < 0.5) < 0.1


def test_the_score_serves_better_inside_and_the_distance_outside(drawn):
    inside, outside = {}, {}
    for name, field in {"score": fields.identity, "distance": fields.signed_distance()}.items():
        images = [field(case.score) for case in drawn]
        pairs = list(zip(images, drawn, strict=True))
        inner = np.quantile([inner_cutoff(image, case.truth) for image, case in pairs], 0.98)
        outer = np.quantile([outer_cutoff(image, case.truth) for image, case in pairs], 0.08)
        area = np.array([case.truth.sum() for case in drawn])
        inside[name] = np.median([(image > inner).sum() for image in images] / area)
        outside[name] = np.median([(image >= outer).sum() for image in images] / area)
    assert inside["score"] > 1.5 * inside["distance"]
    assert outside["score"] > 1.5 * outside["distance"]


def first_cells(manifest: Path) -> dict:
    """Run the chapter up to the line that says what its images are, on a manifest."""
    scope: dict = {}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.cell_type == "code":
            source = cell.source.replace(SWITCH, f"MANIFEST = {str(manifest)!r}")
            exec(compile(source, CHAPTER.name, "exec"), scope)
            if "learning" in scope:
                return scope
    raise AssertionError("no cell of the chapter makes the learning split")


def test_the_chapter_stores_the_outputs_of_the_phantoms_and_says_so():
    cells = nbformat.read(CHAPTER, as_version=4).cells
    assert sum(SWITCH in cell.source for cell in cells) == 1
    printed = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    assert any(text.startswith("phantoms: 298 to learn, 1000 to calibrate") for text in printed)


def test_the_chapter_reads_the_manifest_of_the_download(tmp_path, monkeypatch, capsys):
    cases = list(phantoms.polyps(320, seed=5))
    scores = np.array([case.score[::8, ::8] for case in cases], dtype=np.float32)
    masks = np.array([case.truth[::8, ::8] for case in cases])
    np.savez(tmp_path / "polyps-pranet.npz", sgmd=scores, targets=masks)
    monkeypatch.setenv("CONFSEG_DATA", str(tmp_path / "data"))
    assert main(["polyp-scores", "--yes", "--mirror", str(tmp_path)]) == 0
    capsys.readouterr()
    scope = first_cells(tmp_path / "data" / "polyp-scores" / "cases.csv")
    assert "real polyps: 298 to learn, 22 to calibrate, 0 to validate" in capsys.readouterr().out
    for case, score, mask in zip(scope["images"], scores, masks, strict=True):
        np.testing.assert_array_equal(case.score, score)
        np.testing.assert_array_equal(case.truth, mask)
        assert case.spacing is None, "pixels of a photograph have no size"
