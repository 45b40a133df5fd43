"""Networks that predict the noise in an image: ``(b, c, h, w)`` float and timesteps ``(b,)`` -> ``(b, c, h, w)``.

A class-conditional network takes class numbers ``(b,)`` too, 0 .. n_classes - 1, and n_classes for "no class told".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from entropick.errors import InputError

NETWORKS = ("unet", "mlp")
_EMBEDDING = 64
_UNET_STAGES = (1, 1, 2, 2, 4, 4)
_NORM_GROUPS = 16


def build_network(
    network: str, *, width: int, depth: int, image_shape: tuple[int, int, int], n_classes: int = 0
) -> nn.Module:
    """Build a denoiser for images of shape ``(h, w, c)``, its weights drawn from torch's current random state."""
    if network == "mlp":
        return ResidualMLP(n_pixels=math.prod(image_shape), width=width, n_blocks=depth, n_classes=n_classes)
    return PaddedUNet(image_shape, width=width, layers_per_block=depth, n_classes=n_classes)


class ResidualMLP(nn.Module):
    """Residual perceptron over flattened pixels, for images as small as 8x8, where convolutions have nothing to do."""

    frequencies: Tensor

    def __init__(self, *, n_pixels: int, width: int, n_blocks: int, n_classes: int = 0) -> None:
        super().__init__()
        self.entry = nn.Linear(n_pixels, width)
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, n_pixels)
        nn.init.zeros_(self.exit.weight)
        frequencies = torch.exp(torch.arange(_EMBEDDING // 2) * (-math.log(10_000.0) / (_EMBEDDING // 2)))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.classes = nn.Embedding(n_classes + 1, _EMBEDDING) if n_classes else None

    def forward(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """The noise in `x`."""
        angles = timestep[:, None] * self.frequencies
        embedding = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.entry.weight.dtype)
        if self.classes is not None:
            embedding = embedding + self.classes(classes)
        hidden = self.entry(x.flatten(1).to(self.entry.weight.dtype))
        for block in self.blocks:
            hidden = block(hidden, embedding)
        predicted: Tensor = self.exit(functional.silu(self.norm(hidden)))
        return predicted.view_as(x)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Linear(_EMBEDDING, width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        inner = self.first(functional.silu(self.norm(hidden))) + self.time(embedding)
        residual: Tensor = self.second(functional.silu(inner))
        return hidden + residual


class PaddedUNet(nn.Module):
    """Diffusers' `UNet2DModel` in the paper's layout, for images of any size.

    The paper's six stages have widths (w, w, 2w, 2w, 4w, 4w), attention in the last but one, 16 norm groups. Images
    too small to be halved five times get fewer stages; sizes that do not halve evenly are padded inside the network.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], *, width: int, layers_per_block: int, n_classes: int = 0
    ) -> None:
        super().__init__()
        height, columns, channels = image_shape
        n_stages = unet_stages(image_shape)
        self.multiple = 2 ** (n_stages - 1)
        attention = n_stages - 2
        down = ["AttnDownBlock2D" if stage == attention else "DownBlock2D" for stage in range(n_stages)]
        up = ["AttnUpBlock2D" if stage == attention else "UpBlock2D" for stage in reversed(range(n_stages))]
        self.unet: Any = unet_class()(
            sample_size=(_round_up(height, self.multiple), _round_up(columns, self.multiple)),
            in_channels=channels,
            out_channels=channels,
            layers_per_block=layers_per_block,
            block_out_channels=tuple(width * factor for factor in _UNET_STAGES[:n_stages]),
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            norm_num_groups=_NORM_GROUPS,
            num_class_embeds=n_classes + 1 if n_classes else None,
        )

    def forward(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """The noise in `x`."""
        height, columns = x.shape[-2:]
        bottom, right = -height % self.multiple, -columns % self.multiple
        if bottom or right:
            x = functional.pad(x, (0, right, 0, bottom))
        predicted: Tensor = self.unet(x.to(self.unet.dtype), timestep, classes, return_dict=False)[0]
        return predicted[..., :height, :columns]


def unet_stages(image_shape: tuple[int, int, int]) -> int:
    """How many of the six stages an image of this shape has room for; at least 4 pixels a side are needed."""
    side = min(image_shape[:2])
    if side < 4:
        raise InputError(
            f"network='unet': expected images of at least 4x4 pixels, got {image_shape}. Use network='mlp'."
        )
    return min(len(_UNET_STAGES), int(math.log2(side)) + 1)


def check_network(network: str, *, width: int) -> None:
    """Raise InputError if the width does not suit the network."""
    if network == "unet" and width % _NORM_GROUPS:
        raise InputError(
            f"width: expected a multiple of {_NORM_GROUPS} (the norm groups) for network='unet', got {width}."
        )


def unet_class() -> Any:
    """Diffusers' `UNet2DModel`, imported when it is needed: it takes seconds, and a perceptron never needs it."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    return UNet2DModel


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
