"""Train networks and keep the histograms of what they predict on held-out cases.

    python -m benchmarks.networks DATA --out FOLDER              all networks, the hippocampus
    python -m benchmarks.networks DATA --out FOLDER --panel kits
    python -m benchmarks.networks DATA --out FOLDER --network nnU-Net --seed 0 --panel well

DATA is the folder that holds the data sets, as `python -m data_download --dest DATA` makes it. A
run whose file is there is passed over, so that an interrupted call can be repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .architectures import ARCHITECTURES, build
from .histograms import histogram, write
from .panels import PANELS, Shown
from .training import predict, train

SEEDS = (0, 1, 2)
HIPPOCAMPUS = ("well", "weak")
# Attention without windows or convolutions learns slowly from so few cases.
EPOCHS = {("well", "SAM-Med3D"): 16}


def run(data: Path, out: Path, name: str, seed: int, which: str, device: torch.device) -> None:
    """One network: trained, asked for the held-out cases, and reduced to histograms."""
    target = out / f"{name}_{which}_{seed}.npz"
    if target.exists():
        print(f"{target.name} is there")
        return
    panel = PANELS[which]
    patch = panel.view.patch
    learning, held_out = panel.split(panel.scans(data))
    epochs = EPOCHS.get((which, name), panel.epochs)
    network = build(name, seed, patch).to(device)
    network = train(network, Shown(panel, learning), patch, epochs, seed)
    counts = []
    for scan in tqdm(held_out, desc=target.name, unit="case"):
        volume = panel.read(scan)
        probability = predict(network, panel.view.cut(volume), patch)
        counts.append(histogram(panel.view.back(probability, volume), volume.truth))
    about = {
        "network": name,
        "panel": which,
        "seed": str(seed),
        "training_cases": str(len(learning)),
        "epochs": str(epochs),
        "torch": torch.__version__,
        "command": "python -m benchmarks.networks DATA "
        f"--network {name} --seed {seed} --panel {which}",
    }
    write(target, [scan.name for scan in held_out], np.stack(counts), about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for the histograms")
    parser.add_argument("--network", choices=ARCHITECTURES, nargs="+", default=[*ARCHITECTURES])
    parser.add_argument("--seed", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--panel", choices=PANELS, nargs="+", default=HIPPOCAMPUS)
    parser.add_argument(
        "--device",
        type=torch.device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where to train; at present: %(default)s",
    )
    parser.add_argument("--threads", type=int, default=1, help="results depend on it, slightly")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    # Some operations have no deterministic form on a GPU.
    torch.use_deterministic_algorithms(options.device.type == "cpu")
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        for seed in options.seed:
            for name in options.network:
                for which in options.panel:
                    run(options.data, options.out, name, seed, which, options.device)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
