"""The five architectures, each with one input channel and one logit per voxel.

Every maker takes the shape of a patch; only the transformers with numbered tokens need it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from .volumes import Patch

_FIRST_LOGIT = -3.0  # lesions are rare: without it the background stays high for many epochs


class _Block(nn.Module):
    """The basic residual block, with dilation in place of stride where depth would cost space."""

    def __init__(self, channels_in: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        wide = {"padding": dilation, "dilation": dilation, "bias": False}
        self.body = nn.Sequential(
            nn.Conv3d(channels_in, channels, 3, stride=stride, **wide),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, **wide),
            nn.BatchNorm3d(channels),
        )
        same = stride == 1 and channels_in == channels
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv3d(channels_in, channels, 1, stride=stride, bias=False),
                nn.BatchNorm3d(channels),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def med3d(patch: Patch) -> nn.Module:
    """MedicalNet's ResNet-10 with dilations 1, 1, 2, 4 and its transposed-convolution head.

    Half as wide as published and without pooling after the stem, since the crops are small.
    """
    width, stages = 32, [(1, 1), (2, 1), (1, 2), (1, 4)]  # stride and dilation
    layers: list[nn.Module] = [
        nn.Conv3d(1, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    ]
    channels = width
    for level, (stride, dilation) in enumerate(stages):
        layers.append(_Block(channels, width << level, stride, dilation))
        channels = width << level
    head: list[nn.Module] = [
        nn.ConvTranspose3d(channels, width, 2, stride=2),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.Conv3d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose3d(width, 1, 2, stride=2),
    ]
    return nn.Sequential(*layers, *head)


def nnunet(patch: Patch) -> nn.Module:
    """The plain convolutional U-Net of nnU-Net, without its self-configuration."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        input_channels=1,
        n_stages=5,
        features_per_stage=(16, 32, 64, 128, 160),
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=(1, 2, 2, 2, 2),
        n_conv_per_stage=2,
        num_classes=1,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def unetr(patch: Patch) -> nn.Module:
    """UNETR: a vision transformer as encoder, convolutions as decoder."""
    from monai.networks.nets import UNETR

    return UNETR(
        in_channels=1,
        out_channels=1,
        img_size=patch,
        feature_size=16,
        hidden_size=96,
        mlp_dim=288,
        num_heads=6,
    )


def swin_unetr(patch: Patch) -> nn.Module:
    """Swin-UNETR: windowed attention as encoder, convolutions as decoder."""
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(
        in_channels=1,
        out_channels=1,
        feature_size=12,
        depths=(2, 2, 2, 2),
        num_heads=(2, 4, 8, 16),
        window_size=4,
    )


class _SAMMed3D(nn.Module):
    """Encoder, prompt encoder and mask decoder of SAM-Med3D, asked without a prompt.

    The published model can only be asked with gradients switched off. A click drawn from the
    truth would be an oracle, so there is none.
    """

    token, width = 8, 180

    def __init__(self, side: int) -> None:
        from medim.models import sam_med3d as parts

        super().__init__()
        self.side = side
        grid = side // self.token
        self.encoder = parts.ImageEncoderViT3D(
            img_size=self.side,
            patch_size=self.token,
            embed_dim=self.width,
            depth=6,
            num_heads=6,
            out_chans=96,
            use_rel_pos=True,
            window_size=0,
        )
        self.prompts = parts.PromptEncoder3D(96, (grid,) * 3, (self.side,) * 3, mask_in_chans=16)
        self.decoder = parts.MaskDecoder3D(transformer_dim=96)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape[2:]
        padding = [end for size in reversed(shape) for end in (0, self.side - size)]
        sparse, dense = self.prompts(points=None, boxes=None, masks=None)
        place = self.prompts.get_dense_pe()
        features = self.encoder(functional.pad(x, padding))
        # The decoder repeats one image for several prompts, so images go through it one by one.
        masks = [self.decoder(one[None], place, sparse, dense)[0] for one in features]
        full = functional.interpolate(torch.cat(masks), size=(self.side,) * 3, mode="trilinear")
        return full[:, :, : shape[0], : shape[1], : shape[2]] + self.bias


def sam_med3d(patch: Patch) -> nn.Module:
    """SAM-Med3D without a prompt, from medim; it takes cubes, and patches are padded to one."""
    return _SAMMed3D(max(patch))


ARCHITECTURES: dict[str, Callable[[Patch], nn.Module]] = {
    "Med3D": med3d,
    "nnU-Net": nnunet,
    "UNETR": unetr,
    "Swin-UNETR": swin_unetr,
    "SAM-Med3D": sam_med3d,
}


def build(name: str, seed: int, patch: Patch) -> nn.Module:
    """A network with weights drawn from `seed`, whose first guess is background everywhere.

    Parameters
    ----------
    name : str
        A key of `ARCHITECTURES`.
    seed : int
        Seed of the weights.
    patch : tuple of int
        Shape of what the network is shown at a time.

    Returns
    -------
    torch.nn.Module
        Images of shape (batch, 1, *patch) in, logits of the same shape out.

    Raises
    ------
    ValueError
        If there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown network {name!r}, expected one of {sorted(ARCHITECTURES)}")
    torch.manual_seed(seed)
    network = ARCHITECTURES[name](patch)
    with torch.no_grad():
        _output_bias(network).fill_(_FIRST_LOGIT)
    return network


def _output_bias(network: nn.Module) -> Tensor:
    """The bias that is added to every logit, the last one of the network."""
    if isinstance(network, _SAMMed3D):
        return network.bias
    if hasattr(network, "decoder") and hasattr(network.decoder, "seg_layers"):  # nnU-Net's U-Net
        return network.decoder.seg_layers[-1].bias
    named = [
        (n, p) for n, p in network.named_parameters() if n.endswith("bias") and p.shape == (1,)
    ]
    (_, bias), *others = reversed(named)
    if others:
        raise ValueError(f"expected one output bias, found {[name for name, _ in named]}")
    return bias
