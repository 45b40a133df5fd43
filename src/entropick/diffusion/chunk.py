"""Chunks of images on their way from noise to pixels, and what a trained network sees in them at each step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from entropick.diffusion.execution import Captured
from entropick.diffusion.process import Walk
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


class Chunks:
    """One chunk under way, or several side by side, each with random numbers of its own.

    The images that nobody asked for walk along unseen, so that all draws have a chunk's shape.

    Parameters
    ----------
    walk
        What a step does; one that remembers its steps can walk only once, and with one chunk.
    predict
        What the network sees in the first `n` images.
    shape
        Of a chunk, ``(chunk_size, c, h, w)``.
    randoms
        All random numbers, of each chunk its own, from the seeds that `begin` is given.
    """

    def __init__(
        self, walk: Walk, predict: Prediction, *, n: int, shape: tuple[int, ...], randoms: Sequence[torch.Generator]
    ) -> None:
        self.n_steps = len(walk.timestep)
        self.shape = shape
        self.randoms = randoms
        self.x: Tensor
        self.walk = walk
        self.predict = predict
        self.n = n
        self._index: Any
        self._classes: Tensor | None

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.randoms[0].device

    def begin(self, seeds: Sequence[int], classes: Tensor | None, *, first: int = 0) -> None:
        """Pure noise, about to take step `first`; `classes` are the class numbers of the first `n` images."""
        self.seed(seeds)
        self.x, self._classes, self._index = self.noise(), classes, first

    def advance(self) -> Tensor:
        """Take a step; return what the network saw."""
        noise = self.noise() if self.walk.draws_noise else None
        predicted = self.predicted()
        whole = torch.cat([predicted, torch.zeros_like(self.x[self.n :])])
        self.x = self.walk.step(self._index, self.x, whole, noise)
        # Where this is a tensor, it is changed in place.
        self._index += 1
        return predicted

    def predicted(self) -> Tensor:
        """What the network sees in the first `n` images now."""
        return self.predict(self.x[: self.n], self.walk.timestep[self._index], self._classes)

    def seed(self, seeds: Sequence[int]) -> None:
        """Begin the random numbers of each chunk."""
        for random, seed in zip(self.randoms, seeds, strict=True):
            random.manual_seed(seed)

    def noise(self) -> Tensor:
        """Noise for all of them."""
        drawn = [torch.randn(self.shape, generator=random, device=self.device) for random in self.randoms]
        return torch.cat(drawn) if drawn[1:] else drawn[0]


class CapturedChunks(Chunks):
    """Chunk after chunk, each step one graph: the network, the update and its noise.

    Images, class numbers and the step's number lie in fixed places on the device: a step is a replay and nothing else.
    """

    def __init__(self, chunks: Chunks, classes: Tensor | None) -> None:
        n = len(chunks.randoms) * chunks.shape[0]
        super().__init__(chunks.walk, chunks.predict, n=n, shape=chunks.shape, randoms=chunks.randoms)
        device = self.device
        self.x = torch.zeros((n, *self.shape[1:]), device=device)
        self._classes = None if classes is None else torch.zeros(self.n, dtype=torch.int64, device=device)
        self._index = torch.zeros(1, dtype=torch.int64, device=device)
        self._replay = Captured(self._advance_in_place, randoms=self.randoms)

    def begin(self, seeds: Sequence[int], classes: Tensor | None, *, first: int = 0) -> None:
        """See `Chunks.begin`; fewer classes than images are filled up."""
        self.seed(seeds)
        self.x.copy_(self.noise())
        self._index.fill_(first)
        if self._classes is not None and classes is not None:
            self._classes.copy_(functional.pad(classes, (0, self.n - len(classes))))

    def advance(self) -> Tensor:
        """Take a step; return what the network saw, in a place that the next step overwrites."""
        return self._replay()

    def _advance_in_place(self) -> Tensor:
        place = self.x
        predicted = super().advance()
        self.x = place.copy_(self.x)
        # The calls that build a graph may be more than a walk has steps.
        self._index.remainder_(self.n_steps)
        return predicted


def _is_out_of_memory(error: RuntimeError) -> bool:
    # The processor's allocator has no exception of its own.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
