"""Sampling: chunks of images, each with its own random numbers, walked from noise to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from entropick.arrays import Images, Integers
from entropick.diffusion.chunk import CapturedChunks, Chunks, Prediction
from entropick.diffusion.execution import Execution, described, where
from entropick.diffusion.gate import Left, Passage, Probe, is_clearly_less, pass_gate, seconds_of
from entropick.diffusion.process import Walk
from entropick.errors import TrainingDiverged
from entropick.random_stream import RandomStream
from entropick.work import State, Work

_CHECKPOINT = "sampled"
# Pieces that a chunk may be computed in, and chunks that may be computed at once.
_PARTS, _AT_ONCE = (1, 2, 4, 8), (2, 4, 8, 16)


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
        self._graph: CapturedChunks | None = None
        self._at_once = 1
        self._probed_last: Chunks | None = None
        self._probed_as: Execution | None = None

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
        size = self.settings.chunk_size * self._at_once
        for first in range(n_done, n_images, size * work.n_processes):
            last = min(first + size * work.n_processes, n_images)
            start = min(first + size * work.rank, last)
            stop = min(start + size, last)
            told = None if classes is None else torch.tensor(classes[start:stop]).to(self._device)

            def tell(share: float, first: int = first, last: int = last) -> None:
                work.progress(first + int((last - first) * share), n_images)

            number = start // self.settings.chunk_size
            mine = self._images(stop - start, number, told, tell) if start < stop else sampled[:0]
            found = work.gather((mine, self._prediction.n_parts))
            sampled[first:last] = np.concatenate([images for images, _ in found])
            self._prediction.n_parts = max(n_parts for _, n_parts in found)
            if work.due() and last < n_images:
                state = {**self.passage.state(), "n_parts": self._prediction.n_parts, "at_once": self._at_once}
                work.save(_CHECKPOINT, {"images": sampled[:last]}, state)
        return sampled

    def values(self) -> State:
        """For the ledger: how it was computed, where that is not plain."""
        n_parts, at_once = self._prediction.n_parts, self._at_once
        return {
            **self.passage.values(),
            **({"computed_in_parts": n_parts} if n_parts > 1 else {}),
            **({"chunks_at_once": at_once} if at_once > 1 else {}),
        }

    # -- some chunks ------------------------------------------------------------------------------------------------

    def _images(self, n: int, number: int, classes: Tensor | None, tell: Callable[[float], None]) -> NDArray[np.uint8]:
        """The first `n` images from chunk `number` on."""
        chunk = self._graph or self._new_chunks(self._prediction, n)
        chunk.begin([self._stream.integer(number + place) for place in range(self._at_once)], classes)
        for step in range(chunk.n_steps):
            chunk.advance()
            tell((step + 1) / chunk.n_steps)
        if not torch.isfinite(chunk.x[:n]).all():
            number += _first_unusable(chunk.x[:n]) // self.settings.chunk_size
            raise TrainingDiverged(
                f"sampling: images of chunk {number} became NaN or infinite. Lower learning_rate or clip_norm, or set "
                "precision='float32', and train anew; or lower guidance."
            )
        pixels = ((chunk.x[:n].clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def _new_chunks(self, predict: Prediction, n: int | None = None) -> Chunks:
        """Chunks of which the first `n` images are asked for, or all."""
        randoms = [torch.Generator(self._device) for _ in range(self._at_once)]
        shape = self.settings.chunk_shape
        walk = self.settings.new_walk(randoms[0])
        return Chunks(walk, predict, n=self._at_once * shape[0] if n is None else n, shape=shape, randoms=randoms)

    # -- the gate ---------------------------------------------------------------------------------------------------

    def _pass_gate(self, before: State, work: Work, *, n_left: int, is_conditional: bool) -> None:
        def probe(execution: Execution) -> Probe:
            return self._probe(execution, is_conditional)

        def seconds() -> float:
            if self._probed_last is None:
                # The study has chosen a way that needs no trial.
                probe(self.passage.execution)
            chunk = self._probed_last
            assert chunk is not None
            return seconds_of(chunk.advance if isinstance(chunk, CapturedChunks) else chunk.predicted, self._device)

        walk = self.settings.new_walk(torch.Generator(self._device))
        n_chunks = -(-n_left // self.settings.chunk_size)
        left = Left(n_chunks * len(walk.timestep), seconds, self._described())
        self._at_once = before.get("at_once", 1)
        self.passage = pass_gate(self._ways, probe, what="sampling", before=before, work=work, left=left)
        if self.passage.execution.captured and self._probed_as != self.passage.execution:
            # Other processes have a plainer graph than the one that was tried last.
            probe(self.passage.execution)
        self._take_up(before.get("n_parts", 1))
        if before or len(self._ways) == 1 or work.n_processes > 1 or not left.is_long:
            return
        if _is_divided(self._device):
            self._prediction.n_parts = self._fastest_parts(left, work, is_conditional)
        elif walk.draws_noise:
            self._choose_at_once(left, n_chunks, probe, work)

    def _take_up(self, n_parts: int) -> None:
        """Sample as was decided."""
        if self.passage.execution.captured:
            assert isinstance(self._probed_last, CapturedChunks)
            self._graph, self._prediction = self._probed_last, self._probed_last.predict
            self._prediction.n_parts = max(self._prediction.n_parts, n_parts)
        else:  # no graph, or one that was refused
            self._graph, self._prediction = None, self._predict_as(self.passage.execution)
            self._prediction.n_parts = n_parts

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
        chunk = self._new_chunks(self._prediction)
        chunk.begin([0], self._untold(is_conditional))
        best, least = 1, math.inf
        for n_parts in _PARTS:
            self._prediction.n_parts = n_parts
            seconds = seconds_of(chunk.predicted, self._device)
            if n_parts == 1 and not left.is_much(seconds):
                return 1
            if is_clearly_less(seconds, least):
                best, least = n_parts, seconds
        return int(work.choose(question, str(best)))

    def _choose_at_once(self, left: Left, n_chunks: int, probe: Callable[[Execution], Probe], work: Work) -> None:
        """Compute several chunks side by side where that is clearly faster: a small one does not fill a GPU."""
        execution = self.passage.execution
        question = f"chunks at once, {execution.name}, {left.of}"
        known = {str(at_once): at_once for at_once in (1, *_AT_ONCE)}.get(work.choice(question) or "")
        # Each size is compiled anew, for a minute or two: only the one that is taken.
        trial = execution if known else execution.uncompiled()
        best, least = 1, math.inf
        if known is None:
            seconds = left.seconds()
            if not left.is_much(seconds):
                return
            if trial != execution:
                probe(trial)
                seconds = left.seconds()
            least = n_chunks * seconds
        for at_once in _AT_ONCE if known is None else (known,):
            if at_once == 1 or at_once > n_chunks or not self._passes_at_once(at_once, trial, probe):
                break
            if known is None:
                taken = -(-n_chunks // at_once) * left.seconds()
                if not is_clearly_less(taken, least):
                    break
                least = taken
            best = at_once
        best = best if known else int(work.choose(question, str(best)))
        # What is used is what was built last.
        is_built = trial == execution and self._at_once == best
        if trial != execution and best > 1:
            is_built = self._passes_at_once(best, execution, probe)
            best = best if is_built else 1
        if not is_built:
            self._at_once = best
            probe(execution)
        self._take_up(1)

    def _passes_at_once(self, at_once: int, execution: Execution, probe: Callable[[Execution], Probe]) -> bool:
        """Whether so many chunks at once, whose kernels may be others, are computed as one is."""
        self._at_once = at_once
        what = f"sampling, {at_once} chunks at once"
        passage = pass_gate((execution,), probe, what=what, before={}, work=Work())
        if execution.is_plain:
            probe(execution)
        return passage.execution == execution

    def _untold(self, is_conditional: bool) -> Tensor | None:
        """Classes for a trial."""
        n = self.settings.chunk_size * self._at_once
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
        # A graph keeps its memory, and there may be none for two.
        self._graph, self._probed_last, self._probed_as = None, None, execution
        chunk = self._new_chunks(self._predict_as(execution))
        classes = self._untold(is_conditional)
        if not execution.captured:
            self._probed_last = chunk
            return self._tried(chunk, classes)
        # The same kernels one by one: what the graph is measured against, while they are there.
        one_by_one = self._tried(chunk, classes)
        self._probed_last = CapturedChunks(chunk, classes)
        return replace(self._tried(self._probed_last, classes), one_by_one=one_by_one)

    def _tried(self, chunk: Chunks, classes: Tensor | None) -> Probe:
        half = chunk.n_steps // 2
        chunk.begin(range(self._at_once), classes, first=half)
        if not self.passage.execution.captured:
            return Probe(chunk.predicted())
        start, predicted = chunk.x.clone(), chunk.advance().clone()
        if half + 1 < chunk.n_steps:
            chunk.advance()
        # The way of two steps is little more than their noise.
        return Probe(predicted, effects={"the images": [chunk.x - start], "the next random numbers": [chunk.noise()]})


def _is_divided(device: torch.device) -> bool:
    """Whether long samples are tried in pieces of chunks, else in several chunks at once."""
    return device.type == "cpu"


def _first_unusable(x: Tensor) -> int:
    """The number of the first image with a NaN or an infinite pixel."""
    return int(torch.nonzero(~torch.isfinite(x).flatten(1).all(dim=1))[0, 0])
