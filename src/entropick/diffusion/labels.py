"""Class labels of a conditional generator: which there are, and which are asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np

from entropick.arrays import Integers
from entropick.errors import InputError
from entropick.random_stream import RandomStream
from entropick.work import State

LABEL_SHARES = ("balanced", "training")


@dataclass(frozen=True)
class Classes:
    """The labels of a training set, in rising order, and how many images have each.

    A network counts them 0 .. n - 1, and n stands for an image whose class it is not told.
    """

    labels: Integers
    counts: Integers

    @classmethod
    def of(cls, labels: Integers | None) -> Self:
        """The classes of a training set; InputError where an image has none."""
        if labels is None or (labels < 0).any():
            n_unknown = "all" if labels is None else f"{int((labels < 0).sum())} of {len(labels)}"
            raise InputError(
                f"labels: a conditional generator expected a label of at least 0 for every image; {n_unknown} have "
                "none. Use images with labels, or conditional=False."
            )
        return cls(*np.unique(labels, return_counts=True))

    def __len__(self) -> int:
        return len(self.labels)

    def numbers(self, labels: Integers) -> Integers:
        """Labels as class numbers."""
        return np.searchsorted(self.labels, labels).astype(np.int64)

    def draw(self, n: int, *, shares: str, chunk_size: int, stream: RandomStream) -> Integers:
        """Labels to ask for, int64 ``(n,)``: in turn, or drawn with the shares of the training set.

        Label i does not depend on how many there are.
        """
        if shares == "balanced":
            return self.labels[np.arange(n) % len(self)]
        stream = dataclasses.replace(stream, stage=f"{stream.stage}/labels")
        chunks = range(-(-n // chunk_size))
        share = self.counts / self.counts.sum()
        return np.concatenate([stream.rng(chunk).choice(self.labels, chunk_size, p=share) for chunk in chunks])[:n]

    def state(self) -> State:
        """As plain data."""
        return {"labels": self.labels.tolist(), "label_counts": self.counts.tolist()}

    @classmethod
    def restore(cls, state: State) -> Self:
        """What `state` described."""
        return cls(np.array(state["labels"], np.int64), np.array(state["label_counts"], np.int64))
