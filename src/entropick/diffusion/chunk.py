"""A chunk of images on its way from noise to pixels, step by step, with random numbers of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from entropick.diffusion.capture import Captured
from entropick.diffusion.prediction import Prediction
from entropick.diffusion.walks import Walk


class Chunk:
    """One chunk under way.

    The images of the chunk that nobody asked for walk along unseen, so that all draws have the chunk's shape.

    Parameters
    ----------
    walk
        What a step does; one that remembers its steps can walk only once.
    predict
        What the network sees in the first `n` images.
    shape
        ``(chunk_size, c, h, w)``.
    random
        All random numbers, from the seed that `begin` is given.
    """

    def __init__(
        self, walk: Walk, predict: Prediction, *, n: int, shape: tuple[int, ...], random: torch.Generator
    ) -> None:
        self.n_steps = len(walk.timestep)
        self.shape = shape
        self.random = random
        self.x: Tensor
        self.walk = walk
        self.predict = predict
        self.n = n
        self._index: Any
        self._classes: Tensor | None

    def begin(self, seed: int, classes: Tensor | None, *, first: int = 0) -> None:
        """Pure noise, about to take step `first`; `classes` are the class numbers of the first `n` images."""
        self.random.manual_seed(seed)
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

    def noise(self) -> Tensor:
        """Noise for the whole chunk."""
        return torch.randn(self.shape, generator=self.random, device=self.random.device)


class CapturedChunk(Chunk):
    """Chunk after chunk, each step one graph: the network, the update and its noise.

    Images, class numbers and the step's number lie in fixed places on the device: a step is a replay and nothing else.
    """

    def __init__(self, chunk: Chunk, classes: Tensor | None) -> None:
        super().__init__(chunk.walk, chunk.predict, n=chunk.shape[0], shape=chunk.shape, random=chunk.random)
        device = self.random.device
        self.x = torch.zeros(self.shape, device=device)
        self._classes = None if classes is None else torch.zeros(self.n, dtype=torch.int64, device=device)
        self._index = torch.zeros(1, dtype=torch.int64, device=device)
        self._replay = Captured(self._advance_in_place, random=self.random)

    def begin(self, seed: int, classes: Tensor | None, *, first: int = 0) -> None:
        """See `Chunk.begin`; fewer classes than images are filled up."""
        self.random.manual_seed(seed)
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
