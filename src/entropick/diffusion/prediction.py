"""What a trained network sees in noisy images: guidance, and as much at once as fits into memory."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entropick.errors import EntropickWarning


@dataclass
class Prediction:
    """The noise that a trained network sees in images, with classifier-free guidance where it is asked for.

    Ho & Salimans 2022, equation 6: eps = (1 + w) eps(x, class) - w eps(x). At w = 0 the network is asked once and told
    the class; Diffusers' ``guidance_scale`` is 1 + w.

    Attributes
    ----------
    network
        Weights in whatever precision they are to be computed in.
    guidance, untold_class
        w, and the class number that stands for "no class told".
    channels_last
        The layout that the network wants its images in.
    n_parts
        The pieces that images are computed in. It doubles when memory runs out; where pieces begin changes images by
        rounding at most.
    """

    network: nn.Module
    guidance: float = 0.0
    untold_class: int = 0
    channels_last: bool = False
    n_parts: int = 1

    def __call__(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """float32 ``(n, c, h, w)`` for images at one timestep and class numbers ``(n,)``."""
        n_parts = self.n_parts
        while (predicted := self._in_parts(x, timestep, classes)) is None:
            self.n_parts *= 2
        if self.n_parts > n_parts:
            warnings.warn(
                f"sampling: out of memory; a chunk is computed in {self.n_parts} parts. A smaller sampling_chunk is "
                "faster, but makes other images.",
                EntropickWarning,
                stacklevel=2,
            )
        return predicted

    def _in_parts(self, x: Tensor, timestep: Tensor, classes: Tensor | None) -> Tensor | None:
        """The prediction; None if it does not fit into memory, but parts of it may."""
        n_parts = min(self.n_parts, len(x))
        told = [None] * n_parts if classes is None else classes.tensor_split(n_parts)
        try:
            parts = zip(x.tensor_split(n_parts), told, strict=True)
            return torch.cat([self._guided(part, timestep, classes) for part, classes in parts])
        except RuntimeError as error:
            if n_parts == len(x) or not _is_out_of_memory(error):
                raise
            return None

    def _guided(self, x: Tensor, timestep: Tensor, classes: Tensor | None) -> Tensor:
        if classes is None or not self.guidance:
            return self._ask(x, timestep, classes)
        both = torch.cat([classes, torch.full_like(classes, self.untold_class)])
        told, untold = self._ask(x.repeat(2, 1, 1, 1), timestep, both).chunk(2)
        return (1.0 + self.guidance) * told - self.guidance * untold

    def _ask(self, x: Tensor, timestep: Tensor, classes: Tensor | None) -> Tensor:
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        predicted: Tensor = self.network(x, timestep.expand(len(x)), classes)
        return predicted.float()


def _is_out_of_memory(error: RuntimeError) -> bool:
    # The processor's allocator has no exception of its own.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
