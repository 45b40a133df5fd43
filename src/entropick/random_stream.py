"""Random numbers that depend on what they are for, and on nothing else."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomStream:
    """The random numbers of one stage: a pure function of (seed, iteration, stage, chunk).

    There is no global state, so a resumed run, a run in another order or one split over processes draws the same
    numbers.

    Examples
    --------
    >>> a = RandomStream(0, iteration=2, stage="sample")
    >>> bool(a.rng(chunk=5).integers(1000) == a.rng(chunk=5).integers(1000))
    True
    >>> a.integer() == RandomStream(0, iteration=3, stage="sample").integer()
    False
    """

    seed: int = 0
    iteration: int = 0
    stage: str = ""

    def _sequence(self, chunk: int) -> np.random.SeedSequence:
        # crc32 rather than hash(): the latter changes from process to process.
        return np.random.SeedSequence(self.seed, spawn_key=(self.iteration, zlib.crc32(self.stage.encode()), chunk))

    def rng(self, chunk: int = 0) -> np.random.Generator:
        """A NumPy generator for this chunk of the stage."""
        return np.random.default_rng(self._sequence(chunk))

    def integer(self, chunk: int = 0) -> int:
        """A seed below 2**63 for another library's generator, for instance ``torch.Generator().manual_seed``."""
        return int(self._sequence(chunk).generate_state(1, np.uint64)[0] >> np.uint64(1))
