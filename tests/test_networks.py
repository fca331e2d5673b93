"""The bench of networks: what is kept of a prediction, and a short training of each network.

Training needs the dependency group `models`, and is left out without it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks.histograms import LEVELS, histogram
from benchmarks.networks.panels import PANELS, Panel, Shown
from benchmarks.networks.views import AIR, Middle, Whole, resampled
from benchmarks.networks.volumes import Scan, Volume, batches, padded, read
from confseg.manifest import Row, Rule, write_manifest
from data_download import niftis

NETWORKS = ["Med3D", "nnU-Net", "UNETR", "Swin-UNETR", "SAM-Med3D"]
ULS23_PANELS = [name for name, panel in PANELS.items() if panel.data == "uls23"]
SHAPE = (24, 20, 12)
AFFINE = np.diag([4.0, 4.0, 8.0, 1.0])


def ball(radius: float = 16.0) -> np.ndarray:
    """A ball around the middle voxel; the radius in mm."""
    at = np.indices(SHAPE) - np.array([n // 2 for n in SHAPE])[:, None, None, None]
    return ((at * np.diag(AFFINE)[:3, None, None, None]) ** 2).sum(axis=0) < radius**2


def write_case(image: Path, label: Path, seed: int) -> None:
    """A bright ball in noise, and its label."""
    noise = np.random.default_rng(seed).normal(0, 20, SHAPE)
    niftis.write(image, (100 * ball() + noise).astype(np.int16), AFFINE)
    niftis.write(label, ball(), AFFINE)


def made(name: str, mirror: Path, place: Path) -> Path:
    """The folder of the data sets, after one was built from what its publisher offers."""
    pytest.importorskip("pooch")
    from data_download.__main__ import main

    assert main([name, "--yes", "--mirror", str(mirror), "--dest", str(place)]) == 0
    return place


@pytest.fixture
def hippocampus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight scans in the layout of the Medical Segmentation Decathlon, as a data set."""
    monkeypatch.setenv("CONFSEG_DATA", "")  # put back in the end what --dest sets
    source = tmp_path / "mirror" / "msd_task04_hippocampus"
    for i in range(8):
        names = [source / part / f"case_{i}.nii.gz" for part in ("imagesTr", "labelsTr")]
        write_case(*names, seed=i)
    return made("msd-hippocampus", tmp_path / "mirror", tmp_path / "data")


@pytest.fixture
def lesions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three crops of each of the six sets in the layout of ULS23, as a data set."""
    monkeypatch.setenv("CONFSEG_DATA", "")
    labels = tmp_path / "mirror" / "ULS23" / "annotations"
    for group in (PANELS[name].group for name in ULS23_PANELS):
        for i in range(3):
            name = f"case_{i}_lesion_01.nii.gz"
            image = tmp_path / "mirror" / "ULS23" / "ct" / group / "images" / name
            write_case(image, labels / group / "labels" / name, seed=i)
    return made("uls23", tmp_path / "mirror", tmp_path / "data")


def test_a_histogram_gives_the_rates_at_every_level():
    rng = np.random.default_rng(1)
    probability, truth = rng.random((6, 7, 8)), rng.random((6, 7, 8)) < 0.3
    counts = histogram(probability, truth)
    for level in (0, 1, 100, 255):
        missed = np.count_nonzero(truth & (probability < level / LEVELS))
        size = np.count_nonzero(probability >= level / LEVELS)
        assert counts[1, :level].sum() == missed
        assert counts[:, level:].sum() == size


def test_certainty_falls_into_the_last_level():
    counts = histogram(np.array([0.0, 1.0]), np.array([False, True]))
    assert counts[0, 0] == counts[1, -1] == 1


def test_ct_is_cut_to_its_window_and_mr_is_standardized(tmp_path):
    paths = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"
    niftis.write(paths[0], np.array([[[-3000, -160, 40, 240, 3000]]], dtype=np.int16), AFFINE)
    niftis.write(paths[1], np.array([[[0, 1, 2, 3, 0]]], dtype=np.uint8), AFFINE)
    scan = Scan("one", "one", *paths, Rule("label >= 2"))
    volume = read(scan, (-160, 240))
    assert volume.image.dtype == np.float32
    assert np.allclose(volume.image, [-1, -1, 0, 1, 1])
    assert volume.truth.ravel().tolist() == [False, False, True, True, False]
    assert volume.spacing == (4, 4, 8)
    volume = read(scan, None)
    assert abs(float(volume.image.mean())) < 1e-6
    assert abs(float(volume.image.std()) - 1) < 1e-6


def test_labels_of_another_shape_are_told(tmp_path):
    paths = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"
    niftis.write(paths[0], np.zeros((2, 3, 4)), AFFINE)
    niftis.write(paths[1], np.zeros((2, 3, 5)), AFFINE)
    with pytest.raises(ValueError, match=r"one: image \(2, 3, 4\), labels \(2, 3, 5\)"):
        read(Scan("one", "one", *paths, Rule()), None)


def volume_of(truth: np.ndarray) -> Volume:
    return Volume("one", truth.astype(np.float32), truth, (4.0, 4.0, 8.0))


def test_larger_voxels_hold_the_mean():
    rng = np.random.default_rng(3)
    fine = rng.random((12, 8, 6)).astype(np.float32)
    coarse = resampled(fine, (4, 4, 6))
    blocks = fine.reshape(4, 3, 4, 2, 6).mean(axis=(1, 3))
    assert np.allclose(coarse, blocks, rtol=0, atol=1e-6)
    assert np.array_equal(resampled(fine, fine.shape), fine)


@pytest.mark.parametrize(("before", "after"), [(246, 64), (128, 64), (64, 38), (64, 246)])
def test_nothing_moves_when_voxels_change(before, after):
    """A ramp stays where it was, within a tenth of its voxels, and between its ends."""
    ramp = (np.arange(before, dtype=np.float32) + 0.5) / before
    found = resampled(np.tile(ramp, (3, 2, 1)), (3, 2, after))
    within = slice(4, -4)  # there is nothing to go on with at the ends
    expected = (np.arange(after) + 0.5) / after
    assert np.allclose(found[..., within], expected[within], rtol=0, atol=0.1 / before)
    assert ramp.min() <= found.min() and found.max() <= ramp.max()


@pytest.mark.parametrize("side", [48, 60, 200])
def test_the_middle_comes_back_to_its_place(side):
    volume = volume_of(ball())
    seen = Middle(side).cut(volume)
    assert seen.image.shape == seen.truth.shape == Middle.patch
    back = Middle(side).back(seen.truth.astype(np.float32), volume) >= 0.5
    assert 2 * (back & volume.truth).sum() / (back.sum() + volume.truth.sum()) > 0.9


def test_beyond_the_crop_is_air_and_beyond_the_cube_nothing_is_found():
    volume = volume_of(np.ones(SHAPE, dtype=bool))
    seen = Middle(200).cut(volume)  # the crop is 96 x 80 x 96 mm
    assert seen.image[0, 0, 0] == AIR and not seen.truth[0, 0, 0]
    assert seen.image[32, 32, 32] == 1 and seen.truth[32, 32, 32]
    found = Middle(40).back(np.ones(Middle.patch, dtype=np.float32), volume)
    assert np.count_nonzero(found) == 10 * 10 * 5
    assert found.max() == 1 and not found[0].any()


def scans_of(patients: str) -> list[Scan]:
    return [Scan(f"{i}", p, Path(), Path(), Rule()) for i, p in enumerate(patients)]


def test_nobody_trains_and_is_held_out():
    scans = scans_of("aabbbcdeeffggh")
    panel = Panel("uls23", Middle(64), 1)
    training, held_out = panel.split(scans)
    assert sorted(scan.name for scan in training + held_out) == sorted(scan.name for scan in scans)
    patients = [{scan.patient for scan in part} for part in (training, held_out)]
    assert len(patients[0]) == 6 and not patients[0] & patients[1]
    assert panel.split(scans) == (training, held_out)
    few = replace(panel, cases=2)
    assert few.split(scans) == (training[:2], held_out)


def test_a_hundred_of_the_real_hippocampus_train():
    training, held_out = PANELS["well"].split(scans_of("".join(chr(i) for i in range(260))))
    assert (len(training), len(held_out)) == (100, 160)
    few, others = PANELS["weak"].split(scans_of("".join(chr(i) for i in range(260))))
    assert (few, others) == (training[:10], held_out)


def test_every_set_of_uls23_has_its_panel():
    pytest.importorskip("pooch")
    from data_download import uls23

    assert sorted(PANELS[name].group for name in ULS23_PANELS) == sorted(uls23.SETS)


def test_scans_are_read_when_they_are_asked_for(hippocampus):
    panel = PANELS["well"]
    scans = panel.scans(hippocampus)
    assert [scan.name for scan in scans] == [f"case_{i}" for i in range(8)]
    shown = Shown(panel, scans)
    assert shown[7].truth.sum() == ball().sum()
    scans[7].image.unlink()
    assert shown[6].image.shape == SHAPE
    with pytest.raises(FileNotFoundError):
        shown[7]


def test_only_the_group_of_the_panel_is_taken(lesions):
    names = [scan.name for scan in PANELS["lits"].scans(lesions)]
    assert names == [f"LiTS/case_{i}_lesion_01" for i in range(3)]


def test_what_is_not_there_is_told(tmp_path):
    panel = PANELS["lidc"]
    with pytest.raises(FileNotFoundError, match="python -m data_download uls23 --dest"):
        panel.scans(tmp_path)
    label = tmp_path / "uls23" / "label.nii.gz"
    niftis.write(label, ball(), AFFINE)
    row = Row("one", "one", "LIDC-IDRI", None, label, Rule(), {"image": ""})
    write_manifest(tmp_path / "uls23" / "cases.csv", [row])
    with pytest.raises(FileNotFoundError, match="1 of 1 cases of LIDC-IDRI .* Zenodo"):
        panel.scans(tmp_path)
    with pytest.raises(ValueError, match="no cases of the group 'kits21'"):
        PANELS["kits"].scans(tmp_path)


def test_an_epoch_is_a_patch_of_every_volume():
    rng = np.random.default_rng(2)
    volumes = [
        Volume(str(i), np.full((5, 6, 7), i, np.float32), np.full((5, 6, 7), i == 2), (1, 1, 1))
        for i in range(4)
    ]
    found = list(batches(volumes, (4, 8, 4), 2, rng))
    assert [images.shape for images, _ in found] == [(2, 1, 4, 8, 4)] * 2
    assert sorted(images[i].max() for images, _ in found for i in range(2)) == [0, 1, 2, 3]
    assert sum(truths.any() for _, truths in found) == 1
    assert padded(volumes[0].image, (4, 8, 4)).shape == (5, 8, 7)


def need_models() -> None:
    """Leave a test out without the packages; two workers do not fight for the cores."""
    for package in ("torch", "monai", "dynamic_network_architectures", "medim"):
        pytest.importorskip(package)
    import torch

    torch.set_num_threads(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_trains_and_predicts(name):
    need_models()
    from benchmarks.networks.architectures import build
    from benchmarks.networks.training import predict, train

    rng = np.random.default_rng(4)
    noise = rng.normal(0, 0.2, (2, *SHAPE)).astype(np.float32)
    volumes = [Volume(str(i), ball() + noise[i], ball(), (1, 1, 1)) for i in range(2)]
    patch = Whole.patch
    network = build(name, 0, patch)
    parameters = sum(p.numel() for p in network.parameters())
    assert 3.5e6 < parameters < 4.5e6
    first = predict(network.eval(), volumes[0], patch)
    assert first.mean() < 0.2  # background everywhere, to begin with
    network = train(network, volumes, patch, epochs=1, seed=0, progress=False)
    second = predict(network, volumes[0], patch)
    assert second.shape == volumes[0].image.shape
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("view", [Whole, Middle])
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_of_a_network_stays_behind_on_the_cpu(name, view):
    need_models()
    import torch

    from benchmarks.networks.architectures import build

    # Like on a GPU, an operation on a tensor here and one there is an error; nothing is computed.
    network = build(name, 0, view.patch).to("meta")
    answer = network(torch.empty((2, 1, *view.patch), device="meta"))
    assert answer.shape == (2, 1, *view.patch)


def trained(data: Path, out: Path, name: str, panel: str, patch: pytest.MonkeyPatch) -> np.ndarray:
    """What one command keeps after one epoch."""
    need_models()
    from benchmarks.networks.__main__ import main

    patch.setitem(PANELS, panel, replace(PANELS[panel], epochs=1))
    options = ["--network", name, "--seed", "0", "--panel", panel, "--device", "cpu"]
    main([str(data), "--out", str(out), *options])
    with np.load(out / f"{name}_{panel}_0.npz") as kept:
        assert kept["names"].shape == kept["counts"].shape[:1]
        return kept["counts"]


def test_one_command_trains_on_the_hippocampus(hippocampus, tmp_path, monkeypatch, capsys):
    counts = trained(hippocampus, tmp_path, "nnU-Net", "weak", monkeypatch)
    assert counts.shape == (5, 2, LEVELS)
    assert counts.sum() == 5 * np.prod(SHAPE)
    trained(hippocampus, tmp_path, "nnU-Net", "weak", monkeypatch)
    assert "nnU-Net_weak_0.npz is there" in capsys.readouterr().out


@pytest.mark.parametrize("panel", ULS23_PANELS)
def test_one_command_trains_on_each_lesion(panel, lesions, tmp_path, monkeypatch):
    counts = trained(lesions, tmp_path, "nnU-Net", panel, monkeypatch)
    assert counts.shape == (1, 2, LEVELS)
    assert counts[:, 1].sum() == ball().sum()
    assert counts.sum() == np.prod(SHAPE)


def test_the_command_says_what_it_lacks(tmp_path, capsys):
    need_models()
    from benchmarks.networks.__main__ import main

    with pytest.raises(SystemExit, match="1"):
        main([str(tmp_path), "--out", str(tmp_path), "--panel", "kits"])
    assert "python -m data_download uls23" in capsys.readouterr().err
