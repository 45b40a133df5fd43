"""Networks that predict the noise in an image: ``(b, c, h, w)`` float and timesteps ``(b,)`` -> ``(b, c, h, w)``.

A class-conditional network takes class numbers ``(b,)`` too, 0 .. n_classes - 1, and n_classes for "no class told".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from entropick.diffusion import kernels
from entropick.diffusion.process import NoiseTable
from entropick.errors import InputError

NETWORKS = ("unet", "mlp")
EMBEDDING = 64
UNET_STAGES = (1, 1, 2, 2, 4, 4)
_NORM_GROUPS = 16
_HEAD = 8
_CHANNELS = 8


def build_network(
    network: str, *, width: int, depth: int, image_shape: tuple[int, int, int], n_classes: int = 0, patch: int = 1
) -> nn.Module:
    """Build a denoiser for images of shape ``(h, w, c)``, its weights drawn from torch's current random state."""
    if network == "mlp":
        return ResidualMLP(n_pixels=math.prod(image_shape), width=width, n_blocks=depth, n_classes=n_classes)
    return PaddedUNet(image_shape, width=width, layers_per_block=depth, n_classes=n_classes, patch=patch)


class Velocity(nn.Module):
    """The noise in x_t by a network that tells the velocity v = signal * noise - noise level * x_0.

    Salimans & Ho 2022 (arXiv 2202.00512), appendix D. Where nearly all of x_t is noise, an error in the noise is a far
    larger one in x_0, but one in the velocity is hardly larger: a network that was trained for a short time tells x_0
    well at all noise levels.
    """

    signal: Tensor
    noise: Tensor

    def __init__(self, network: nn.Module, timesteps: int) -> None:
        super().__init__()
        table = NoiseTable.build(timesteps)
        self.network = network
        self.register_buffer("signal", table.signal, persistent=False)
        self.register_buffer("noise", table.noise, persistent=False)

    def forward(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """The noise in `x`, float32."""
        velocity: Tensor = self.network(x, timestep, classes).float()
        signal = self.signal[timestep][:, None, None, None]
        noise = self.noise[timestep][:, None, None, None]
        return noise * x + signal * velocity


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
        frequencies = torch.exp(torch.arange(EMBEDDING // 2) * (-math.log(10_000.0) / (EMBEDDING // 2)))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.classes = nn.Embedding(n_classes + 1, EMBEDDING) if n_classes else None

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
        self.time = nn.Linear(EMBEDDING, width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        inner = self.first(functional.silu(self.norm(hidden))) + self.time(embedding)
        residual: Tensor = self.second(functional.silu(inner))
        return hidden + residual


class PaddedUNet(nn.Module):
    """The paper's `UNet` for images of any size.

    Images too small to be halved five times get fewer stages; sizes that do not halve evenly are padded inside.

    With a `patch` of p, squares of p x p pixels are pixels to it, of p^2 times as many channels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        width: int,
        layers_per_block: int,
        n_classes: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__()
        height, columns, channels = in_patches(image_shape, patch)
        n_stages = unet_stages((height, columns, channels))
        self.multiple, self.patch = patch * 2 ** (n_stages - 1), patch
        self.unet = UNet(
            channels,
            widths=tuple(width * factor for factor in UNET_STAGES[:n_stages]),
            depth=layers_per_block,
            n_classes=n_classes,
        )

    def forward(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """The noise in `x`."""
        height, columns = x.shape[-2:]
        bottom, right = -height % self.multiple, -columns % self.multiple
        if bottom or right:
            x = functional.pad(x, (0, right, 0, bottom))
        x = functional.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        predicted: Tensor = self.unet(x, timestep, classes)
        predicted = functional.pixel_shuffle(predicted, self.patch) if self.patch > 1 else predicted
        return predicted[..., :height, :columns]


class UNet(nn.Module):
    """The U-Net of the paper's code: Diffusers' `UNet2DModel`, with which it shares names and numbers of all weights.

    Six stages of widths (w, w, 2w, 2w, 4w, 4w), attention in the last but one, 16 norm groups. Weights are drawn, and
    added up, in the order in which Diffusers does it: both compute the same, on a processor to the last bit.

    Attributes
    ----------
    widths, depth
        Channels of each stage, and residual blocks in it on the way down.
    fused
        Compute what shares its input in one product: all projections of the timestep, and query, key and value. The
        same function, rounded otherwise.
    """

    # nn.Module declares its parts as tensors or modules.
    time_embedding: Any
    down_blocks: Any
    mid_block: Any
    up_blocks: Any

    def __init__(self, channels: int, *, widths: tuple[int, ...], depth: int, n_classes: int = 0) -> None:
        super().__init__()
        first, embedded = widths[0], 4 * widths[0]
        attention, pairs = len(widths) - 2, list(zip((first, *widths), widths, strict=False))
        self.widths, self.depth, self.fused = widths, depth, False
        self.conv_in = nn.Conv2d(channels, first, 3, padding=1)
        self.time_embedding = nn.ModuleDict(
            {"linear_1": nn.Linear(first, embedded), "linear_2": nn.Linear(embedded, embedded)}
        )
        self.class_embedding = nn.Embedding(n_classes + 1, embedded) if n_classes else None
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for stage, (before, width) in enumerate(pairs):
            sizes = [(before if layer == 0 else width, width) for layer in range(depth)]
            resample = "downsamplers" if stage < len(widths) - 1 else ""
            self.down_blocks.append(_Stage(sizes, embedded, attends=stage == attention, resample=resample))
        self.mid_block = _Middle(widths[-1], embedded)
        for stage, (before, width) in reversed(list(enumerate(pairs))):
            above = widths[min(stage + 1, len(widths) - 1)]
            # Each layer takes what one on the way down has left: as many channels as that one had.
            inputs = [above + width, *[2 * width] * (depth - 1), (width if depth else above) + before]
            sizes = [(size, width) for size in inputs]
            resample = "upsamplers" if stage else ""
            self.up_blocks.append(_Stage(sizes, embedded, attends=stage == attention, resample=resample))
        self.conv_norm_out = nn.GroupNorm(_NORM_GROUPS, first)
        self.conv_out = nn.Conv2d(first, channels, 3, padding=1)

    def forward(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """The noise in `x`, whose sides the stages halve evenly."""
        x = self._at_an_end(self.conv_in, x.to(self.conv_in.weight.dtype))
        shifts = iter(self._shifts(self._embedding(timestep, classes)))
        kept = [x]
        for stage in self.down_blocks:
            for layer, resnet in enumerate(stage.resnets):
                x = stage.attended(resnet(x, next(shifts)), layer)
                kept.append(x)
            for resample in stage.downsamplers:
                x = resample["conv"](x)
                kept.append(x)
        first, last = self.mid_block.resnets
        x = self.mid_block.attentions[0](first(x, next(shifts)))
        x = last(x, next(shifts))
        for stage in self.up_blocks:
            for layer, resnet in enumerate(stage.resnets):
                x = resnet(torch.cat([x, kept.pop()], dim=1), next(shifts))
                x = stage.attended(x, layer)
            for resample in stage.upsamplers:
                x = resample["conv"](_doubled(x, fused=self.fused))
        return self._at_an_end(self.conv_out, _normed(self.conv_norm_out, x, fused=self.fused))

    def _at_an_end(self, convolution: Any, x: Tensor) -> Tensor:
        """A convolution of so few channels that matrix units want them filled up."""
        if not self.fused:
            found: Tensor = convolution(x)
            return found
        into, out = -convolution.in_channels % _CHANNELS, -convolution.out_channels % _CHANNELS
        x = functional.pad(x, (0, 0, 0, 0, 0, into))
        weight = functional.pad(convolution.weight, (0, 0, 0, 0, 0, into, 0, out))
        found = functional.conv2d(x, weight, functional.pad(convolution.bias, (0, out)), padding=1)
        return found[:, : convolution.out_channels]

    def fuse(self) -> None:
        """From now on compute in one product what shares its input."""
        for module in self.modules():
            if isinstance(module, UNet | _Resnet | _Attention):
                module.fused = True

    def _embedding(self, timestep: Tensor, classes: Tensor | None) -> Tensor:
        half = self.conv_in.out_channels // 2
        exponent = -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=timestep.device) / half
        angles = timestep[:, None].float() * torch.exp(exponent)[None, :]
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(self.conv_in.weight.dtype)
        linear = self.time_embedding
        embedding: Tensor = linear["linear_2"](functional.silu(linear["linear_1"](waves)))
        if self.class_embedding is not None:
            embedding = embedding + self.class_embedding(classes).to(self.conv_in.weight.dtype)
        return embedding

    def _shifts(self, embedding: Tensor) -> Sequence[Tensor]:
        """What the timestep adds to the channels of each residual block, in the order in which they come."""
        blocks = [*self.down_blocks, self.mid_block, *self.up_blocks]
        resnets = [resnet for block in blocks for resnet in block.resnets]
        linears = [resnet.time_emb_proj for resnet in resnets]
        if not self.fused:
            return [linear(functional.silu(embedding)) for linear in linears]
        together = _one_product(functional.silu(embedding), linears)
        together = together + torch.cat([resnet.conv1.bias for resnet in resnets])
        return torch.split(together, [linear.out_features for linear in linears], dim=1)


class _Stage(nn.Module):
    """Residual blocks of one size, given by their channels in and out, with attention or without, and a resampling."""

    attentions: Any

    def __init__(self, sizes: Sequence[tuple[int, int]], embedded: int, *, attends: bool, resample: str) -> None:
        super().__init__()
        resnets, attentions = [], []
        for size, width in sizes:
            resnets.append(_Resnet(size, width, embedded))
            attentions += [_Attention(width)] if attends else []
        if attends:
            self.attentions = nn.ModuleList(attentions)
        self.resnets = nn.ModuleList(resnets)
        self.downsamplers: Any = []
        self.upsamplers: Any = []
        if resample:
            stride = 2 if resample == "downsamplers" else 1
            convolution = nn.Conv2d(width, width, 3, stride=stride, padding=1)
            setattr(self, resample, nn.ModuleList([nn.ModuleDict({"conv": convolution})]))

    def attended(self, x: Tensor, layer: int) -> Tensor:
        """Attention after residual block number `layer`, where this stage has it."""
        return self.attentions[layer](x) if hasattr(self, "attentions") else x


class _Middle(nn.Module):
    def __init__(self, width: int, embedded: int) -> None:
        super().__init__()
        first = _Resnet(width, width, embedded)
        self.attentions = nn.ModuleList([_Attention(width)])
        self.resnets = nn.ModuleList([first, _Resnet(width, width, embedded)])


class _Resnet(nn.Module):
    def __init__(self, size: int, width: int, embedded: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_NORM_GROUPS, size)
        self.conv1 = nn.Conv2d(size, width, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedded, width)
        self.norm2 = nn.GroupNorm(_NORM_GROUPS, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(size, width, 1) if size != width else None
        self.fused = False

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        hidden: Tensor = _normed(self.norm1, x, fused=self.fused)
        # Fused, the shift has this bias in it.
        hidden = functional.conv2d(hidden, self.conv1.weight, None if self.fused else self.conv1.bias, padding=1)
        hidden = _normed(self.norm2, hidden, shift, fused=self.fused)
        if self.fused:
            return self._joined(x, hidden)
        if self.conv_shortcut is not None:
            # Diffusers trains in this layout.
            x = self.conv_shortcut(x.contiguous() if self.training else x)
        found: Tensor = x + self.conv2(hidden)
        return found

    def _joined(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Both ways added, their biases once for both."""
        hidden = functional.conv2d(hidden, self.conv2.weight, padding=1)
        biases: list[Any] = [self.conv2.bias]
        if self.conv_shortcut is not None:
            x = functional.conv2d(x, self.conv_shortcut.weight)
            biases.append(self.conv_shortcut.bias)
        if _has_kernels(x):
            return kernels.joined(x, hidden, *biases)
        joined: Tensor = x + hidden + sum(biases)[:, None, None]
        return joined


class _Attention(nn.Module):
    """Self-attention between pixels, heads of 8 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(_NORM_GROUPS, width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        n, width, height, columns = x.shape
        # Two ways to the same: torch's kernels wait for three dimensions, ours for four.
        images = x if self.fused else x.flatten(2)
        hidden = _normed(self.group_norm, images, fused=self.fused, activated=False).flatten(2).transpose(1, 2)
        linears = [self.to_q, self.to_k, self.to_v]
        parts = _one_product(hidden, linears).chunk(3, dim=-1) if self.fused else [linear(hidden) for linear in linears]
        query, key, value = (part.view(n, -1, width // _HEAD, _HEAD).transpose(1, 2) for part in parts)
        hidden = functional.scaled_dot_product_attention(query, key, value)
        hidden = self.to_out[0](hidden.transpose(1, 2).reshape(n, -1, width))
        attended: Tensor = hidden.transpose(-1, -2).reshape(n, width, height, columns) + x
        return attended


def _normed(
    norm: nn.GroupNorm, x: Tensor, shift: Tensor | None = None, *, fused: bool, activated: bool = True
) -> Tensor:
    """Group norm of images that are shifted first, and its SiLU; of low precision, with sums in float32."""
    if fused and _has_kernels(x):
        return kernels.normed(norm, x, shift, activated=activated)
    x = x if shift is None else x + shift[:, :, None, None]
    is_mixed = x.dtype != norm.weight.dtype and not torch.is_autocast_enabled(x.device.type)
    # Not by the module, which refuses a single image whose groups are a number each.
    hidden = torch.group_norm(x.float() if is_mixed else x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    hidden = functional.silu(hidden) if activated else hidden
    return hidden.to(x.dtype) if is_mixed else hidden


def _doubled(x: Tensor, *, fused: bool) -> Tensor:
    """Each pixel four times."""
    if not fused:
        # Diffusers computes large batches in this layout.
        x = x.contiguous() if len(x) >= 64 else x
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")
    n, channels, height, width = x.shape
    # Not by torch's operator, whose gradient in bfloat16 compiles to zeros in torch 2.13.
    pixels = x.permute(0, 2, 3, 1)[:, :, None, :, None, :].expand(n, height, 2, width, 2, channels)
    return pixels.reshape(n, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def _has_kernels(x: Tensor) -> bool:
    """Whether `kernels` compute this; what torch.compile fuses is its own affair."""
    return x.is_cuda and not torch.compiler.is_compiling()


def _one_product(x: Tensor, linears: Sequence[nn.Linear]) -> Tensor:
    """What several linear layers make of the same input, side by side."""
    weight: Tensor = torch.cat([linear.weight for linear in linears])
    return functional.linear(x, weight, torch.cat([linear.bias for linear in linears]))


def in_patches(image_shape: tuple[int, int, int], patch: int) -> tuple[int, int, int]:
    """What images of this shape are to a U-Net that takes squares of so many pixels a side as one."""
    height, columns, channels = image_shape
    return math.ceil(height / patch), math.ceil(columns / patch), channels * patch**2


def unet_stages(image_shape: tuple[int, int, int]) -> int:
    """How many of the six stages an image of this shape has room for; at least 4 pixels a side are needed."""
    side = min(image_shape[:2])
    if side < 4:
        raise InputError(
            f"network='unet': expected images of at least 4x4 pixels, or patches, got {image_shape}. Use network='mlp'"
            " or a smaller patch."
        )
    return min(len(UNET_STAGES), int(math.log2(side)) + 1)


def check_network(network: str, *, width: int, patch: int = 1) -> None:
    """Raise InputError if the width or the patch does not suit the network."""
    if network == "mlp" and patch > 1:
        raise InputError(f"patch: expected 1 for network='mlp', which has no use for patches, got {patch}.")
    if network == "unet" and width % _NORM_GROUPS:
        raise InputError(
            f"width: expected a multiple of {_NORM_GROUPS} (the norm groups) for network='unet', got {width}."
        )
