"""Training and prediction, the same for every network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from .volumes import Patch, Volume, batches, padded

BATCH = 2
RATE = 1e-3


def train(
    network: nn.Module,
    volumes: Sequence[Volume],
    patch: Patch,
    epochs: int,
    seed: int,
    progress: bool = True,
) -> nn.Module:
    """Train on patches with Dice and cross-entropy; the last weights count, none are selected.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    volumes : sequence of Volume
        Training cases, at least as many as a batch holds.
    patch : tuple of int
        Shape of the patches.
    epochs : int
        Passes over the cases.
    seed : int
        Seed of the patches. On one machine, with one number of threads, equal seeds give equal
        weights.
    progress : bool, default True
        Whether to show a progress bar.

    Returns
    -------
    torch.nn.Module
        The network, ready to predict.

    Raises
    ------
    ValueError
        If there are too few cases.
    """
    steps = epochs * (len(volumes) // BATCH)
    if steps < 1:
        raise ValueError(f"expected at least {BATCH} training cases, found {len(volumes)}")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    overlap, entropy = DiceLoss(sigmoid=True, batch=True), nn.BCEWithLogitsLoss()
    network.train()
    with tqdm(total=steps, desc="training", unit="step", disable=not progress) as bar:
        for _ in range(epochs):
            for images, truths in batches(volumes, patch, BATCH, rng):
                x, y = torch.from_numpy(images).to(device), torch.from_numpy(truths).to(device)
                logits = network(x)
                loss = overlap(logits, y) + entropy(logits, y)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}")
    return network.eval()


@torch.no_grad()
def predict(network: nn.Module, volume: Volume, patch: Patch) -> NDArray[np.float32]:
    """Foreground probabilities of one volume, from overlapping windows.

    Parameters
    ----------
    network : torch.nn.Module
        A trained network.
    volume : Volume
        Any case; its truth is not looked at.
    patch : tuple of int
        Shape of the windows.

    Returns
    -------
    ndarray of float32, shape of the image
        Probabilities.
    """
    device = next(network.parameters()).device
    image = torch.from_numpy(padded(volume.image, patch))[None, None].to(device)
    logits = sliding_window_inference(image, patch, BATCH, network, overlap=0.25, mode="gaussian")
    window = tuple(slice(0, n) for n in volume.image.shape)
    return torch.sigmoid(logits)[0, 0].cpu().numpy()[window]
