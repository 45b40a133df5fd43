"""Kernel density estimate: a generator that fits in no time and copies by construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Floats, Images, check_count, check_images, check_real
from entropick.generators.base import Generator
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

_CHUNK = 1024
_LOSS_CHUNK = 64


@dataclass(kw_only=True)
class KDE(Generator):
    """Gaussian kernel density over pixels: a random training image plus noise of `bandwidth` grey levels.

    It is the simplest model that a loop can be run with: for tests, and as the extreme case of memorization.

    Parameters
    ----------
    bandwidth
        Standard deviation of the kernel, in grey levels of 0..255.

    Examples
    --------
    >>> images = np.zeros((10, 4, 4, 1), np.uint8)
    >>> KDE(bandwidth=2.0).fit(images).sample(3).shape
    (3, 4, 4, 1)
    """

    kind: ClassVar[str] = "kde"
    has_losses: ClassVar[bool] = True
    bandwidth: float = 8.0

    def check(self) -> None:
        """Raise InputError unless the bandwidth is positive."""
        check_real(self.bandwidth, name="bandwidth", above=0.0)

    def fit(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Self:
        """Keep the images."""
        self.check()
        self.images_ = np.array(check_images(images))
        return self

    def sample(self, n_images: int, *, stream: RandomStream | None = None, work: Work | None = None) -> Images:
        """Draw training images with replacement and add the kernel's noise, rounded and clipped to 0..255."""
        self._require_fitted("images_")
        check_count(n_images, name="n_images")
        stream, work = stream or RandomStream(stage="sample"), work or Work()
        sampled = np.empty((n_images, *self.images_.shape[1:]), np.uint8)
        for chunk, start in enumerate(range(0, n_images, _CHUNK)):
            part = sampled[start : start + _CHUNK]
            part[:] = self._sample_chunk(stream.rng(chunk))[: len(part)]
            work.progress(start + len(part), n_images)
        return sampled

    def losses(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Floats:
        """Negative log density of each image, in nats, but for a constant that all have in common."""
        self._require_fitted("images_")
        work, centres = work or Work(), self.images_.reshape(len(self.images_), -1).astype(np.float64)
        rows = check_images(images).reshape(len(images), -1).astype(np.float64)
        found = np.empty(len(rows))
        for start in range(0, len(rows), _LOSS_CHUNK):
            block = rows[start : start + _LOSS_CHUNK]
            squares = np.square(block[:, None] - centres).sum(axis=2) / (2 * self.bandwidth**2)
            nearest = squares.min(axis=1)
            found[start : start + len(block)] = nearest - np.log(np.exp(nearest[:, None] - squares).mean(axis=1))
            work.progress(start + len(block), len(rows))
        return found

    def _sample_chunk(self, rng: np.random.Generator) -> Images:
        centres = self.images_[rng.integers(len(self.images_), size=_CHUNK)]
        noise = rng.normal(0.0, self.bandwidth, size=centres.shape)
        return (centres + noise).round().clip(0, 255).astype(np.uint8)

    def state(self) -> tuple[Arrays, State]:
        """The kept images."""
        self._require_fitted("images_")
        return {"images": self.images_}, {}

    def restore(self, arrays: dict[str, NDArray[Any]], state: State) -> Self:
        """Take the kept images back."""
        self.images_ = check_images(arrays["images"])
        return self
