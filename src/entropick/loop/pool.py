"""The pool: images and what is known of each, as aligned columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entropick.arrays import Images, Integers, check_images, check_labels, check_sources
from entropick.errors import InputError

UNLABELLED = -1


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
    """

    images: Images
    source: Integers
    row: Integers
    labels: Integers

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: Images, *, source: int, labels: Integers | None = None, first_row: int = 0) -> Pool:
        """Images of one source, whose rows are numbered from `first_row`."""
        images = check_images(images)
        n = len(images)
        known = check_labels(labels, n)
        return cls(
            images=images,
            source=np.full(n, source, np.int64),
            row=np.arange(first_row, first_row + n, dtype=np.int64),
            labels=np.full(n, UNLABELLED, np.int64) if known is None else known,
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
        return cls(**{name: np.concatenate([getattr(pool, name) for pool in pools]) for name in columns})

    def take(self, indices: Integers) -> Pool:
        """The rows at `indices`, in that order."""
        indices = check_sources(indices, len(indices), name="indices")
        return Pool(self.images[indices], self.source[indices], self.row[indices], self.labels[indices])

    def content_hash(self) -> str:
        """sha256 (hexadecimal) of shape, pixels and labels: equal for equal training sets, whatever their source."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()
