"""The pool: images and what is known of each, as aligned columns; and the features of their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from entropick.arrays import Features as FeatureMatrix
from entropick.arrays import Images, Integers, check_images, check_labels, check_sources
from entropick.errors import InputError
from entropick.features.base import Features, extracted
from entropick.features.cache import FeatureCache
from entropick.work import Work

UNLABELLED = -1


@dataclass(frozen=True)
class Emitted:
    """All that an iteration emitted, and its hash: iteration 0 emitted the real images."""

    images: Images
    sha256: str


@dataclass(frozen=True)
class Pool:
    """Rows of images with their provenance.

    Attributes
    ----------
    images
        uint8 ``(n, h, w, c)``.
    source
        int64 ``(n,)``: the iteration each row was born in, 0 for real images.
    row
        int64 ``(n,)``: its row among the images of that iteration.
    labels
        int64 ``(n,)``: its class, -1 where unknown.
    emitted
        What is known of whole sources; their features are extracted once and kept.
    """

    images: Images
    source: Integers
    row: Integers
    labels: Integers
    emitted: Mapping[int, Emitted] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(
        cls,
        images: Images,
        *,
        source: int,
        labels: Integers | None = None,
        first_row: int = 0,
        sha256: str | None = None,
    ) -> Pool:
        """Images of one source, whose rows are numbered from `first_row`.

        `sha256` is of all that the source emitted, where `images` is all of it.
        """
        images = check_images(images)
        n = len(images)
        known = check_labels(labels, n)
        return cls(
            images=images,
            source=np.full(n, source, np.int64),
            row=np.arange(first_row, first_row + n, dtype=np.int64),
            labels=np.full(n, UNLABELLED, np.int64) if known is None else known,
            emitted={} if sha256 is None else {source: Emitted(images, sha256)},
        )

    @classmethod
    def concatenate(cls, pools: Sequence[Pool]) -> Pool:
        """The rows of several pools, one after another; their images must have one shape."""
        shapes = {pool.images.shape[1:] for pool in pools}
        if len(shapes) != 1:
            raise InputError(f"expected images of one shape in all sources, got {sorted(shapes)}.")
        if len(pools) == 1:
            return pools[0]
        columns = ("images", "source", "row", "labels")
        emitted = {source: known for pool in pools for source, known in pool.emitted.items()}
        return cls(
            **{name: np.concatenate([getattr(pool, name) for pool in pools]) for name in columns}, emitted=emitted
        )

    def take(self, indices: Integers) -> Pool:
        """The rows at `indices`, in that order."""
        indices = check_sources(indices, len(indices), name="indices")
        images, labels = self.images[indices], self.labels[indices]
        return Pool(images, self.source[indices], self.row[indices], labels, self.emitted)

    @property
    def is_planted(self) -> np.ndarray:
        """Which rows are garbage: those numbered after all that their iteration emitted. Fresh real images are not."""
        planted = np.zeros(len(self), bool)
        for source, known in self.emitted.items():
            if source:
                planted |= (self.source == source) & (self.row >= len(known.images))
        return planted

    @cached_property
    def _digest(self) -> Any:
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest

    def images_hash(self) -> str:
        """sha256 (hexadecimal) of shape and pixels: equal for equal images, whatever their source and labels."""
        return str(self._digest.hexdigest())

    def content_hash(self) -> str:
        """sha256 (hexadecimal) of shape, pixels and labels: equal for equal training sets, whatever their source."""
        digest = self._digest.copy()
        digest.update(np.ascontiguousarray(self.labels).data)
        return str(digest.hexdigest())

    def features(self, space: Features, kept: FeatureCache, work: Work) -> FeatureMatrix:
        """Features (n, d) of the images; of what an iteration emitted they are extracted once, unless that is cheap.

        Where they come from makes no difference: a row of features depends on its image alone.
        """
        if space.cheap:
            return extracted(space, self.images)
        X = None
        todo = np.ones(len(self), bool)
        for source in np.unique(self.source).tolist():
            if (known := self.emitted.get(source)) is None:
                continue
            whole = kept.matrix(space, known.images, work, f"{space.name} of iteration {source}")
            X = np.empty((len(self), whole.shape[1]), np.float32) if X is None else X
            rows = (self.source == source) & (self.row < len(known.images))
            X[rows] = whole[self.row[rows]]
            todo &= ~rows
        if X is None:
            return extracted(space, self.images)
        # Fresh real images and planted garbage are numbered after what their iteration emitted.
        if todo.any():
            X[todo] = extracted(space, self.images[todo])
        return X
