"""How large a denoiser is, by arithmetic alone: weights, what a training keeps of each image, and what memory it takes.

No network is built for it, so that one that is too large for this machine, by whatever factor, is refused at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from entropick.diffusion.networks import EMBEDDING, UNET_STAGES, in_patches, unet_stages
from entropick.errors import InputError
from entropick.processes.hardware import in_gigabytes

# Of each weight in float32: itself, its gradient, and the two moments of AdamW.
_COPIES = 4
_FLOAT32 = 4


@dataclass(frozen=True)
class NetworkSize:
    """What `build_network` would build.

    Attributes
    ----------
    n_weights
        Numbers that are learned.
    n_inputs
        Numbers that enter the products of one image: what a training keeps of it for its gradients, at least.
    """

    n_weights: int
    n_inputs: int

    @classmethod
    def of(
        cls,
        network: str,
        *,
        width: int,
        depth: int,
        image_shape: tuple[int, int, int],
        n_classes: int = 0,
        patch: int = 1,
    ) -> Self:
        """The size of the network that `build_network` makes of the same arguments."""
        if network == "mlp":
            return cls(*_of_perceptron(math.prod(image_shape), width, depth, n_classes))
        return cls(*_of_unet(in_patches(image_shape, patch), width, depth, n_classes))


def _of_perceptron(n_pixels: int, width: int, depth: int, n_classes: int) -> tuple[int, int]:
    block = 2 * width * width + (EMBEDDING + 5) * width
    ends = _product(n_pixels, width) + 2 * width + _product(width, n_pixels)
    classes = (n_classes + 1) * EMBEDDING if n_classes else 0
    return ends + depth * block + classes, n_pixels + (2 * depth + 1) * width


def _of_unet(image_shape: tuple[int, int, int], width: int, depth: int, n_classes: int) -> tuple[int, int]:
    height, columns, channels = image_shape
    n_stages = unet_stages(image_shape)
    widths = [width * factor for factor in UNET_STAGES[:n_stages]]
    # Sizes that do not halve evenly are padded first.
    multiple = 2 ** (n_stages - 1)
    pixels = math.ceil(height / multiple) * math.ceil(columns / multiple) * multiple**2
    embedded = 4 * width
    embedding = _product(width, embedded) + _product(embedded, embedded)
    classes = (n_classes + 1) * embedded if n_classes else 0
    ends = _product(9 * channels, width) + 2 * width + _product(9 * width, channels)
    weights, inputs = embedding + classes + ends, (channels + width) * pixels

    def blocks(pairs: Sequence[tuple[int, int, int]], n_pixels: int, *, attends: bool) -> None:
        """Residual blocks, each as (how often, channels in, channels out), and attention after each of them."""
        nonlocal weights, inputs
        for n, size, out in pairs:
            shortcut = _product(size, out) if size != out else 0
            norms = 2 * size + 2 * out
            resnet = norms + _product(9 * size, out) + _product(embedded, out) + _product(9 * out, out) + shortcut
            weights += n * (resnet + (2 * out + 4 * _product(out, out) if attends else 0))
            inputs += n * (size + out + (5 * out if attends else 0)) * n_pixels

    for stage, (before, own) in enumerate(zip([width, *widths], widths, strict=False)):
        attends, n_pixels = stage == n_stages - 2, pixels // 4**stage
        above = widths[min(stage + 1, n_stages - 1)]
        down, up = [(1, before, own), (depth - 1, own, own)], [(1, above + own, own), (1, own + before, own)]
        blocks([*down, *up, (depth - 1, 2 * own, own)], n_pixels, attends=attends)
        # On the way down each stage but the last halves its images, on the way up each but the first doubles them.
        if stage < n_stages - 1:
            weights += _product(9 * own, own)
            inputs += own * n_pixels
        if stage:
            weights += _product(9 * own, own)
            inputs += own * 4 * n_pixels
    blocks([(2, widths[-1], widths[-1])], pixels // 4 ** (n_stages - 1), attends=False)
    weights += 2 * widths[-1] + 4 * _product(widths[-1], widths[-1])
    return weights, inputs + 5 * widths[-1] * (pixels // 4 ** (n_stages - 1))


def check_memory(
    size: NetworkSize, *, described: str, batch_size: int, with_average: bool, bytes_per_number: int, memory: int
) -> None:
    """Raise InputError if a training cannot fit into so many bytes of memory, whatever else it takes.

    Parameters
    ----------
    described
        The network in words.
    batch_size
        Images of a step that are computed at once.
    with_average
        Whether an average of the weights is kept beside them.
    bytes_per_number
        Of what enters a product.
    """
    of_weights = (_COPIES + with_average) * _FLOAT32 * size.n_weights
    of_images = bytes_per_number * size.n_inputs * batch_size
    if of_weights + of_images <= memory:
        return
    raise InputError(
        f"{'width, depth' if of_weights > of_images else 'batch_size'}: expected a training that fits into the "
        f"{in_gigabytes(memory)} of memory here, but {described}, has {size.n_weights:,} weights and takes at least "
        f"{in_gigabytes(of_weights)} for them, and {in_gigabytes(of_images)} for {batch_size:,} images at once. "
        f"Lower {'width or depth' if of_weights > of_images else 'batch_size'}."
    )


def _product(size: int, out: int) -> int:
    """Weights of a product from so many numbers to so many, with its bias."""
    return size * out + out
