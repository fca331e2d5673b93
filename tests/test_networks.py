"""The bench of networks: what is kept of a prediction, and a short training of each network.

Training needs the packages named in benchmarks/networks/README.md and is left out without them.
"""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks.networks.histograms import LEVELS, histogram
from benchmarks.networks.volumes import Volume, batches, padded, read

ROOT = Path(__file__).parents[1]
NETWORKS = ["Med3D", "nnU-Net", "UNETR", "Swin-UNETR", "SAM-Med3D"]


@pytest.fixture
def folder(tmp_path):
    """Five volumes with a bright ball, in the layout of the Medical Segmentation Decathlon."""
    rng = np.random.default_rng(0)
    at = np.indices((20, 30, 24)) - np.array([10, 15, 12])[:, None, None, None]
    ball = (at**2).sum(axis=0) < 40
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
    for i in range(5):
        image = 100 * ball + rng.normal(0, 20, ball.shape)
        for part, array in (("imagesTr", image), ("labelsTr", 2.0 * ball)):
            data = nibabel.Nifti1Image(array.astype(np.float32), np.eye(4))
            nibabel.save(data, tmp_path / part / f"case_{i}.nii.gz")
    return tmp_path


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


def test_volumes_are_read_and_the_labels_chosen(folder):
    volumes = read(folder, labels=(2,))
    assert [volume.name for volume in volumes] == [f"case_{i}" for i in range(5)]
    assert abs(float(volumes[0].image.mean())) < 1e-5
    assert volumes[0].truth.any()
    assert not read(folder, labels=(1,))[0].truth.any()


def test_what_is_missing_or_does_not_fit_is_told(folder):
    with pytest.raises(FileNotFoundError, match="expected images"):
        read(folder / "imagesTr", labels=(1,))
    small = nibabel.Nifti1Image(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4))
    nibabel.save(small, folder / "labelsTr" / "case_3.nii.gz")
    with pytest.raises(ValueError, match=r"case_3.nii.gz: image \(20, 30, 24\), label \(2, 2, 2\)"):
        read(folder, labels=(1,))


def test_an_epoch_is_a_patch_of_every_volume():
    rng = np.random.default_rng(2)
    volumes = [
        Volume(str(i), np.full((5, 6, 7), i, np.float32), np.full((5, 6, 7), i == 2))
        for i in range(4)
    ]
    found = list(batches(volumes, (4, 8, 4), 2, rng))
    assert [images.shape for images, _ in found] == [(2, 1, 4, 8, 4)] * 2
    assert sorted(images[i].max() for images, _ in found for i in range(2)) == [0, 1, 2, 3]
    assert sum(truths.any() for _, truths in found) == 1
    assert padded(volumes[0].image, (4, 8, 4)).shape == (5, 8, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_trains_and_predicts(name, folder):
    for package in ("torch", "monai", "dynamic_network_architectures", "medim"):
        pytest.importorskip(package)
    from benchmarks.networks.architectures import build
    from benchmarks.networks.training import predict, train

    volumes = read(folder, labels=(2,))[:2]
    network = build(name, seed=0)
    parameters = sum(p.numel() for p in network.parameters())
    assert 3.5e6 < parameters < 4.5e6
    first = predict(network.eval(), volumes[0])
    assert first.mean() < 0.2  # background everywhere, to begin with
    second = predict(train(network, volumes, epochs=1, seed=0, progress=False), volumes[0])
    assert second.shape == volumes[0].image.shape
    assert not np.array_equal(first, second)


def test_one_command_trains_and_keeps_the_histograms(folder, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    pytest.importorskip("dynamic_network_architectures")
    command = [sys.executable, "-m", "benchmarks.networks", str(folder), "--out", str(tmp_path)]
    options = ["--network", "nnU-Net", "--seed", "0", "--panel", "weak", "--training", "3"]
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
    kept = np.load(tmp_path / "nnU-Net_weak_0.npz")
    assert kept["counts"].shape == (2, 2, LEVELS)
    assert kept["counts"].sum() == 2 * 20 * 30 * 24
