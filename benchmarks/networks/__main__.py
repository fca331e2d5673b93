"""Train networks and keep the histograms of what they predict on held-out cases.

    python -m benchmarks.networks DATA --out FOLDER              all networks, seeds and panels
    python -m benchmarks.networks DATA --out FOLDER --network nnU-Net --seed 0 --panel well

DATA has the layout of the Medical Segmentation Decathlon (imagesTr, labelsTr). A run whose file is
there is passed over, so that an interrupted call can be repeated.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .architectures import ARCHITECTURES, build
from .histograms import histogram, write
from .training import predict, train
from .volumes import Volume, read

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Panel:
    """What is to be found, on how many cases the networks learn it, and for how long."""

    labels: tuple[int, ...]
    cases: int
    epochs: int


PANELS = {"well": Panel(labels=(1, 2), cases=100, epochs=8), "weak": Panel((1,), 10, 30)}
# Attention without windows or convolutions learns slowly from so few cases.
EPOCHS = {("well", "SAM-Med3D"): 16}


def split(volumes: list[Volume], training: int) -> tuple[list[Volume], list[Volume]]:
    """The same cases train in every run: drawn once, by a seed of their own."""
    order = np.random.default_rng(2025).permutation(len(volumes))
    chosen = [volumes[i] for i in order]
    return chosen[:training], sorted(chosen[training:], key=lambda volume: volume.name)


def run(data: Path, out: Path, name: str, seed: int, panel: str, training: int) -> None:
    """One network: trained, asked for the held-out cases, and reduced to histograms."""
    target = out / f"{name}_{panel}_{seed}.npz"
    if target.exists():
        print(f"{target.name} is there")
        return
    task = PANELS[panel]
    learning, held_out = split(read(data, task.labels), training)
    epochs = EPOCHS.get((panel, name), task.epochs)
    network = train(build(name, seed), learning[: task.cases], epochs, seed)
    shown = tqdm(held_out, desc=target.name, unit="case")
    counts = np.stack([histogram(predict(network, case), case.truth) for case in shown])
    about = {
        "network": name,
        "panel": panel,
        "seed": str(seed),
        "training_cases": str(min(task.cases, len(learning))),
        "epochs": str(epochs),
        "torch": torch.__version__,
        "command": "python -m benchmarks.networks DATA "
        f"--network {name} --seed {seed} --panel {panel}",
    }
    write(target, [case.name for case in held_out], counts, about)


def main() -> None:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with imagesTr and labelsTr")
    parser.add_argument("--out", type=Path, required=True, help="folder for the histograms")
    parser.add_argument("--network", choices=ARCHITECTURES, nargs="+", default=[*ARCHITECTURES])
    parser.add_argument("--seed", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--panel", choices=PANELS, nargs="+", default=[*PANELS])
    parser.add_argument(
        "--training", type=int, default=100, help="cases that may train; all others are held out"
    )
    parser.add_argument("--threads", type=int, default=1, help="results depend on it, slightly")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seed:
        for name in arguments.network:
            for panel in arguments.panel:
                run(arguments.data, arguments.out, name, seed, panel, arguments.training)


if __name__ == "__main__":
    main()
