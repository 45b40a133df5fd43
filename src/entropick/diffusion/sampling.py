"""Sampling: chunks of images, each with its own random numbers, walked from noise to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.arrays import Images, Integers
from entropick.diffusion.chunk import CapturedChunk, Chunk, Prediction
from entropick.diffusion.execution import Execution, described, where
from entropick.diffusion.gate import Left, Passage, Probe, is_clearly_less, pass_gate, seconds_of
from entropick.diffusion.process import Walk
from entropick.errors import TrainingDiverged
from entropick.random_stream import RandomStream
from entropick.work import State, Work

_CHECKPOINT = "sampled"
# Pieces that a chunk may be computed in.
_PARTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class SamplingSettings:
    """What a sample depends on besides the network and the stream.

    Attributes
    ----------
    image_shape
        ``(h, w, c)``.
    chunk_size
        Images that share one random stream. Every chunk draws for all of them, so that image i does not depend on how
        many are asked for, on the memory, or on the order of chunks.
    new_walk
        Makes the walk of one chunk, given the chunk's random numbers.
    guidance, untold_class
        See `Prediction`.
    """

    image_shape: tuple[int, int, int]
    chunk_size: int
    new_walk: Callable[[torch.Generator], Walk]
    guidance: float = 0.0
    untold_class: int = 0

    @property
    def chunk_shape(self) -> tuple[int, int, int, int]:
        """A chunk as the network takes it: ``(chunk_size, c, h, w)``."""
        height, width, channels = self.image_shape
        return (self.chunk_size, channels, height, width)


class Sampling:
    """One sample from one network, resumable between chunks."""

    def __init__(
        self, settings: SamplingSettings, network: nn.Module, *, stream: RandomStream, ways: Sequence[Execution]
    ) -> None:
        self.settings = settings
        self.passage = Passage(ways[0])
        self._ways = ways
        self._network = network
        self._stream = stream
        self._device = ways[0].device
        self._graph: CapturedChunk | None = None
        self._probed_last: Chunk
        self._launched: dict[Execution, Probe] = {}

    def run(self, n_images: int, work: Work, classes: Integers | None = None) -> Images:
        """uint8 ``(n_images, h, w, c)``; `classes` are the class numbers asked for, one per image.

        Where several processes share the work, each computes one chunk of a round.
        """
        with self.passage.execution.inference():
            return self._run(n_images, work, classes)

    def _run(self, n_images: int, work: Work, classes: Integers | None) -> Images:
        sampled = np.empty((n_images, *self.settings.image_shape), np.uint8)
        arrays, before = work.load(_CHECKPOINT) or ({"images": sampled[:0]}, {})
        n_done = len(arrays["images"])
        sampled[:n_done] = arrays["images"]
        self._pass_gate(before, work, n_left=n_images - n_done, is_conditional=classes is not None)
        size = self.settings.chunk_size
        for first in range(n_done, n_images, size * work.n_processes):
            last = min(first + size * work.n_processes, n_images)
            start = min(first + size * work.rank, last)
            stop = min(start + size, last)
            told = None if classes is None else torch.tensor(classes[start:stop]).to(self._device)

            def tell(share: float, first: int = first, last: int = last) -> None:
                work.progress(first + int((last - first) * share), n_images)

            mine = self._chunk(stop - start, start // size, told, tell) if start < stop else sampled[:0]
            found = work.gather((mine, self._prediction.n_parts))
            sampled[first:last] = np.concatenate([images for images, _ in found])
            self._prediction.n_parts = max(n_parts for _, n_parts in found)
            if work.due() and last < n_images:
                state = {**self.passage.state(), "n_parts": self._prediction.n_parts}
                work.save(_CHECKPOINT, {"images": sampled[:last]}, state)
        return sampled

    def values(self) -> State:
        """For the ledger: how it was computed, where that is not plain."""
        n_parts = self._prediction.n_parts
        return {**self.passage.values(), **({"computed_in_parts": n_parts} if n_parts > 1 else {})}

    # -- one chunk --------------------------------------------------------------------------------------------------

    def _chunk(self, n: int, number: int, classes: Tensor | None, tell: Callable[[float], None]) -> NDArray[np.uint8]:
        """The first `n` images of a chunk."""
        chunk = self._graph or self._new_chunk(self._prediction, n)
        chunk.begin(self._stream.integer(number), classes)
        for step in range(chunk.n_steps):
            chunk.advance()
            tell((step + 1) / chunk.n_steps)
        if not torch.isfinite(chunk.x[:n]).all():
            raise TrainingDiverged(
                f"sampling: images of chunk {number} became NaN or infinite. Lower learning_rate or clip_norm, or set "
                "precision='float32', and train anew; or lower guidance."
            )
        pixels = ((chunk.x[:n].clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def _new_chunk(self, predict: Prediction, n: int) -> Chunk:
        random = torch.Generator(self._device)
        return Chunk(self.settings.new_walk(random), predict, n=n, shape=self.settings.chunk_shape, random=random)

    # -- the gate ---------------------------------------------------------------------------------------------------

    def _pass_gate(self, before: State, work: Work, *, n_left: int, is_conditional: bool) -> None:
        def probe(execution: Execution) -> Probe:
            return self._probe(execution, is_conditional)

        def seconds() -> float:
            chunk = self._probed_last
            return seconds_of(chunk.advance if isinstance(chunk, CapturedChunk) else chunk.predicted, self._device)

        walk = self.settings.new_walk(torch.Generator(self._device))
        steps = -(-n_left // self.settings.chunk_size) * len(walk.timestep)
        left = Left(steps, seconds, self._described())
        self.passage = pass_gate(self._ways, probe, what="sampling", before=before, work=work, left=left)
        if self.passage.execution.captured:
            assert isinstance(self._probed_last, CapturedChunk)
            self._graph, self._prediction = self._probed_last, self._probed_last.predict
            self._prediction.n_parts = max(self._prediction.n_parts, before.get("n_parts", 1))
            return
        # No graph, or one that was refused.
        self._graph, self._prediction = None, self._predict_as(self.passage.execution)
        self._prediction.n_parts = before.get("n_parts", 1)
        if not before and len(self._ways) > 1 and work.n_processes == 1 and left.is_long:
            self._prediction.n_parts = self._fastest_parts(left, work, is_conditional)

    def _described(self) -> str:
        shape = " x ".join(map(str, self.settings.image_shape))
        guided = " with guidance" if self.settings.guidance else ""
        chunk = f"{described(self._network)}{guided}, chunks of {self.settings.chunk_size:,} images of {shape}"
        return f"sampling from {chunk}, {where(self._device)}"

    def _fastest_parts(self, left: Left, work: Work, is_conditional: bool) -> int:
        """Into how many pieces a chunk is best divided: smaller ones stay in a processor's caches."""
        question = f"parts of a chunk, {self.passage.execution.name}, {left.of}"
        if chosen := {str(n_parts): n_parts for n_parts in _PARTS}.get(work.choice(question) or ""):
            return chosen
        chunk = self._new_chunk(self._prediction, self.settings.chunk_size)
        chunk.begin(0, self._untold(is_conditional))
        best, least = 1, math.inf
        for n_parts in _PARTS:
            self._prediction.n_parts = n_parts
            seconds = seconds_of(chunk.predicted, self._device)
            if n_parts == 1 and not left.is_much(seconds):
                return 1
            if is_clearly_less(seconds, least):
                best, least = n_parts, seconds
        return int(work.choose(question, str(best)))

    def _untold(self, is_conditional: bool) -> Tensor | None:
        """Classes for a trial."""
        n = self.settings.chunk_size
        return torch.zeros(n, dtype=torch.int64, device=self._device) if is_conditional else None

    def _predict_as(self, execution: Execution) -> Prediction:
        return Prediction(
            execution.frozen(self._network),
            guidance=self.settings.guidance,
            untold_class=self.settings.untold_class,
            channels_last=execution.channels_last,
        )

    def _probe(self, execution: Execution, is_conditional: bool) -> Probe:
        """What the network sees in a chunk of pure noise, half of the way down.

        Where a graph is wanted, also where two steps lead, noise included, and what would be drawn next.
        """
        if execution in self._launched:
            return self._launched.pop(execution)
        chunk = self._new_chunk(self._predict_as(execution), self.settings.chunk_size)
        classes = self._untold(is_conditional)
        if not execution.captured:
            self._probed_last = chunk
            return self._tried(chunk, classes)
        # The same kernels one by one: what the graph is measured against, while they are there.
        self._launched = {execution.uncaptured(): self._tried(chunk, classes)}
        self._probed_last = CapturedChunk(chunk, classes)
        return self._tried(self._probed_last, classes)

    def _tried(self, chunk: Chunk, classes: Tensor | None) -> Probe:
        half = chunk.n_steps // 2
        chunk.begin(0, classes, first=half)
        if not self.passage.execution.captured:
            return Probe(chunk.predicted())
        start, predicted = chunk.x.clone(), chunk.advance().clone()
        if half + 1 < chunk.n_steps:
            chunk.advance()
        # The way of two steps is little more than their noise.
        return Probe(predicted, effects={"the images": [chunk.x - start], "the next random numbers": [chunk.noise()]})
