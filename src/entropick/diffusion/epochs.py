"""Which training images each batch holds: consecutive pieces of an endless row of permutations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropick.random_stream import RandomStream

# Chunks 0 and 1 of the stream are the first weights and the noise.
_FIRST_CHUNK = 2


@dataclass(frozen=True)
class Epochs:
    """Batches of `batch_size` rows of `n_images`, always full; each permutation is a function of its number."""

    n_images: int
    batch_size: int
    stream: RandomStream

    def batches(self, first: int, last: int) -> Iterator[NDArray[np.int64]]:
        """The rows of each batch from number `first`, from 0, until before `last`."""
        epoch, row = divmod(first * self.batch_size, self.n_images)
        order = self._order(epoch)
        for _ in range(first, last):
            batch = order[row : row + self.batch_size]
            row += self.batch_size
            while len(batch) < self.batch_size:
                epoch, row = epoch + 1, self.batch_size - len(batch)
                order = self._order(epoch)
                batch = np.concatenate([batch, order[:row]])
            yield batch

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return self.stream.rng(chunk=_FIRST_CHUNK + epoch).permutation(self.n_images)
