"""Group norm, what is added before it and the SiLU behind it, in one CUDA kernel each way, and sums; in Triton.

torch's own group norm wants its channels outermost, and a convolution on matrix units wants them innermost: each norm
would turn all activations round twice. Here one program walks over one image, whose channels lie innermost; sums are
float32, whatever the images are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

try:
    import triton
    import triton.language as tl
except ImportError:  # It comes with torch's builds for GPUs alone.
    triton = tl = None

IS_HERE = triton is not None

# Numbers of a tile: pixels times channels.
_TILE = 8192
# Numbers that one program adds.
_BLOCK = 2048


def normed(norm: nn.GroupNorm, x: Tensor, shift: Tensor | None, *, activated: bool) -> Tensor:
    """``silu(norm(x + shift))`` for images ``(n, c, h, w)``, channels innermost, and shifts ``(n, c)``."""
    x = x.contiguous(memory_format=torch.channels_last)
    found: Tensor = _Normed.apply(x, shift, norm.weight, norm.bias, norm.num_groups, norm.eps, activated)  # type: ignore[no-untyped-call]
    return found


def joined(x: Tensor, y: Tensor, *biases: Tensor) -> Tensor:
    """The sum of two images ``(n, c, h, w)``, channels innermost, and of one or two biases ``(c,)``."""
    found: Tensor = _Joined.apply(x, y, *biases)  # type: ignore[no-untyped-call]
    return found


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, *biases: Tensor) -> Tensor:
        x, y = (image.contiguous(memory_format=torch.channels_last) for image in (x, y))
        found = torch.empty_like(x)
        ctx.n_biases = len(biases)
        n = x.numel()
        _join[(triton.cdiv(n, _BLOCK),)](x, y, biases[0], biases[-1], found, n, x.shape[1], len(biases) > 1, _BLOCK)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return gradient, gradient, *[gradient.sum((0, 2, 3))] * ctx.n_biases


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shift: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        groups: int,
        eps: float,
        activated: bool,
    ) -> Tensor:
        shift = None if shift is None else shift.contiguous()
        moments = torch.empty((2, len(x), groups), dtype=torch.float32, device=x.device)
        y = torch.empty_like(x)
        _forward[(len(x),)](
            x, x if shift is None else shift, weight, bias, y, *moments, eps, **_shape(x, groups, shift, activated)
        )
        ctx.save_for_backward(x, shift, weight, bias, moments)
        ctx.groups, ctx.activated = groups, activated
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, shift, weight, bias, moments = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = torch.empty_like(x)
        # Of weight and bias, image by image.
        sums = torch.empty((2, *x.shape[:2]), dtype=torch.float32, device=x.device)
        of_shift = torch.empty(x.shape[:2], dtype=sums.dtype if shift is None else shift.dtype, device=x.device)
        shape = _shape(x, ctx.groups, shift, ctx.activated)
        given = (x, x if shift is None else shift, weight, bias, gradient)
        _backward[(len(x),)](*given, *moments, of_x, *sums, of_shift, **shape)
        of_weight, of_bias = sums.sum(1)
        return of_x, None if shift is None else of_shift, of_weight, of_bias, None, None, None


def _shape(x: Tensor, groups: int, shift: Tensor | None, activated: bool) -> dict[str, Any]:
    _, channels, height, width = x.shape
    columns = triton.next_power_of_2(channels)
    rows = min(triton.next_power_of_2(height * width), max(1, _TILE // columns))
    return {
        "pixels": height * width,
        "channels": channels,
        "GROUPS": groups,
        "SHIFTED": shift is not None,
        "ACTIVATED": activated,
        "COLUMNS": columns,
        "ROWS": rows,
        # As many loads under way as memory can answer.
        "num_warps": 16 if rows * columns >= _TILE else 8,
    }


def _jit(function: Any) -> Any:
    return triton.jit(function) if IS_HERE else function


@_jit
def _join(x, y, first, second, found, n, channels, TWO: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_there = i < n
    total = tl.load(x + i, mask=is_there, other=0.0).to(tl.float32)
    total += tl.load(y + i, mask=is_there, other=0.0).to(tl.float32)
    total += tl.load(first + i % channels, mask=is_there, other=0.0).to(tl.float32)
    if TWO:
        total += tl.load(second + i % channels, mask=is_there, other=0.0).to(tl.float32)
    tl.store(found + i, total.to(found.dtype.element_ty), mask=is_there)


@_jit
def _per_group(sums, members):  # type: ignore[no-untyped-def]
    return tl.sum(tl.where(members, sums[None, :], 0.0), axis=1)


@_jit
def _per_channel(of_groups, members):  # type: ignore[no-untyped-def]
    return tl.sum(tl.where(members, of_groups[:, None], 0.0), axis=0)


@_jit
def _forward(  # type: ignore[no-untyped-def]
    x,
    shift,
    weight,
    bias,
    y,
    mean,
    scale,
    eps,
    pixels,
    channels,
    GROUPS: tl.constexpr,
    SHIFTED: tl.constexpr,
    ACTIVATED: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One image: sums of all channels, moments of their groups, and the normed image."""
    image = tl.program_id(0)
    c, g = tl.arange(0, COLUMNS), tl.arange(0, GROUPS)
    is_channel = c < channels
    members = (g[:, None] == (c // (channels // GROUPS))[None, :]) & is_channel[None, :]
    first = image.to(tl.int64) * pixels * channels
    added = tl.zeros((COLUMNS,), tl.float32)
    if SHIFTED:
        added = tl.load(shift + image * channels + c, mask=is_channel, other=0.0).to(tl.float32)
    # Added up place by place, and over places once, at the end: threads need not meet before.
    of_sum, of_square = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, pixels, ROWS):
        p = start + tl.arange(0, ROWS)
        is_there = (p < pixels)[:, None] & is_channel[None, :]
        values = tl.load(x + first + p[:, None] * channels + c[None, :], mask=is_there, other=0.0).to(tl.float32)
        values = tl.where(is_there, values + added[None, :], 0.0)
        of_sum += values
        of_square += values * values
    sums, squares = tl.sum(of_sum, axis=0), tl.sum(of_square, axis=0)
    n = pixels * (channels // GROUPS)
    of_mean = _per_group(sums, members) / n
    variance = tl.maximum(_per_group(squares, members) / n - of_mean * of_mean, 0.0)
    of_scale = 1.0 / tl.sqrt(variance + eps)
    tl.store(mean + image * GROUPS + g, of_mean)
    tl.store(scale + image * GROUPS + g, of_scale)
    w = tl.load(weight + c, mask=is_channel, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=is_channel, other=0.0).to(tl.float32)
    factor = _per_channel(of_scale, members) * w
    offset = b + (added - _per_channel(of_mean, members)) * factor
    for start in range(0, pixels, ROWS):
        p = start + tl.arange(0, ROWS)
        is_there = (p < pixels)[:, None] & is_channel[None, :]
        places = first + p[:, None] * channels + c[None, :]
        values = tl.load(x + places, mask=is_there, other=0.0).to(tl.float32)
        values = values * factor[None, :] + offset[None, :]
        if ACTIVATED:
            values = values * tl.sigmoid(values)
        tl.store(y + places, values.to(y.dtype.element_ty), mask=is_there)


@_jit
def _backward(  # type: ignore[no-untyped-def]
    x,
    shift,
    weight,
    bias,
    gradient,
    mean,
    scale,
    of_x,
    of_weight,
    of_bias,
    of_shift,
    pixels,
    channels,
    GROUPS: tl.constexpr,
    SHIFTED: tl.constexpr,
    ACTIVATED: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One image: its share of the gradients of weight and bias, and its own."""
    image = tl.program_id(0)
    c, g = tl.arange(0, COLUMNS), tl.arange(0, GROUPS)
    is_channel = c < channels
    members = (g[:, None] == (c // (channels // GROUPS))[None, :]) & is_channel[None, :]
    first = image.to(tl.int64) * pixels * channels
    m = _per_channel(tl.load(mean + image * GROUPS + g), members)
    if SHIFTED:
        m -= tl.load(shift + image * channels + c, mask=is_channel, other=0.0).to(tl.float32)
    r = _per_channel(tl.load(scale + image * GROUPS + g), members)
    w = tl.load(weight + c, mask=is_channel, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=is_channel, other=0.0).to(tl.float32)
    of_sum = tl.zeros((ROWS, COLUMNS), tl.float32)
    of_product, of_normed = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, pixels, ROWS):
        p = start + tl.arange(0, ROWS)
        is_there = (p < pixels)[:, None] & is_channel[None, :]
        places = first + p[:, None] * channels + c[None, :]
        values = tl.load(x + places, mask=is_there, other=0.0).to(tl.float32)
        values = tl.where(is_there, (values - m[None, :]) * r[None, :], 0.0)
        up = tl.load(gradient + places, mask=is_there, other=0.0).to(tl.float32)
        if ACTIVATED:
            inner = values * w[None, :] + b[None, :]
            opened = tl.sigmoid(inner)
            up *= opened * (1.0 + inner * (1.0 - opened))
        of_sum += up
        of_product += up * values
        of_normed += values
    sums, products, normed = tl.sum(of_sum, axis=0), tl.sum(of_product, axis=0), tl.sum(of_normed, axis=0)
    tl.store(of_bias + image * channels + c, sums, mask=is_channel)
    tl.store(of_weight + image * channels + c, products, mask=is_channel)
    n = pixels * (channels // GROUPS)
    level = _per_channel(_per_group(sums * w, members) / n, members)
    slope = _per_channel(_per_group(products * w, members) / n, members)
    if SHIFTED:
        of_channel = r * (w * sums - pixels * level - slope * normed)
        tl.store(of_shift + image * channels + c, of_channel.to(of_shift.dtype.element_ty), mask=is_channel)
    for start in range(0, pixels, ROWS):
        p = start + tl.arange(0, ROWS)
        is_there = (p < pixels)[:, None] & is_channel[None, :]
        places = first + p[:, None] * channels + c[None, :]
        values = tl.load(x + places, mask=is_there, other=0.0).to(tl.float32)
        values = (values - m[None, :]) * r[None, :]
        up = tl.load(gradient + places, mask=is_there, other=0.0).to(tl.float32)
        if ACTIVATED:
            inner = values * w[None, :] + b[None, :]
            opened = tl.sigmoid(inner)
            up *= opened * (1.0 + inner * (1.0 - opened))
        down = r[None, :] * (up * w[None, :] - level[None, :] - values * slope[None, :])
        tl.store(of_x + places, down.to(of_x.dtype.element_ty), mask=is_there)
