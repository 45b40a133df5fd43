"""The contract of a feature space: images in, one row of numbers per image out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from entropick import arrays
from entropick.component import Component
from entropick.errors import InputError, shown
from entropick.work import Arrays, State, Work

Prepare = Callable[[arrays.Images], Any]
"""One uint8 image ``(h, w, c)`` -> what goes on of it; called on several threads at once."""

Extract = Callable[[Sequence[Any]], arrays.Features]
"""What goes on of several images -> float32 ``(n, d)``."""


@dataclass(kw_only=True)
class Features(Component, ABC):
    """A way to turn images into points, in which distances are then measured.

    A subclass is decorated with ``@dataclass(kw_only=True)``, gives `kind`, `cheap`, `name` and `extract`. The row of
    an image must depend on that image and the `identity` only: not on the other images, their number, their order or
    an earlier call. So whoever extracts may do it in parts, and keep them.
    """

    cheap: ClassVar[bool] = False
    """Whether to extract again costs less than to store the features and read them back."""

    has_resize: ClassVar[bool] = False
    """Whether images of every size are brought to one that it was made for."""

    @property
    def at_once(self) -> int:
        """How many images are best extracted together; as many are read and prepared ahead of them."""
        return 64

    @property
    @abstractmethod
    def name(self) -> str:
        """What metric keys call the space, as in ``generalization_score/pixels``: never empty, no slash, no space."""

    @abstractmethod
    def extract(self, images: Any) -> arrays.Features:
        """Return the features of `images`, float32 ``(n, d)``, row i for image i.

        Parameters
        ----------
        images
            uint8 ``(n, h, w, c)`` with c = 1 or 3, or grey ``(n, h, w)``; see `entropick.arrays.check_images`.

        Raises
        ------
        InputError
            For anything else.
        """

    def in_two_steps(self) -> tuple[Prepare | None, Extract]:
        """`extract` in two steps, so that images can be prepared one by one, on threads, ahead of what is slow.

        A space that `has_resize` is given images of different sizes. None prepares nothing: images go on as they are.
        """
        return None, self._extract_each

    def _extract_each(self, images: Sequence[arrays.Images]) -> arrays.Features:
        if len({image.shape for image in images}) == 1:
            return self.extract(np.stack(images))
        return np.concatenate([self.extract(image[None]) for image in images])

    def identity(self) -> dict[str, Any]:
        """All that decides about the features besides the images, as plain data: what they are kept and shared by.

        The parameters, and where there are weights a hash of them: `describe` alone would not notice other weights in
        the same place.
        """
        return self.describe()

    def width(self, shape: tuple[int, ...]) -> int:
        """How many features an image of this shape ``(h, w, c)`` has."""
        return int(self.extract(np.zeros((1, *shape), np.uint8)).shape[1])


def extracted(space: Features, images: Any) -> arrays.Features:
    """`Features.extract`, whoever has written the space; InputError unless there is a row for each image."""
    return checked_rows(space, space.extract(images), len(images))


def checked_rows(space: Features, X: Any, n: int) -> arrays.Features:
    """What a space has extracted of `n` images, float32 ``(n, d)``; values are not looked at."""
    who = f"features {space.called}"
    found = arrays.check_features(X, name=f"{who}: what it extracted", finite=False)
    if len(found) != n:
        raise InputError(f"{who}: expected a row for each of {n} images, got shape {found.shape}. Mend its `extract`.")
    return found


def check_name(space: Features) -> None:
    """Raise InputError unless the name of a space can stand in the keys of measures."""
    name = space.name
    if not isinstance(name, str) or not name or "/" in name or len(name.split()) != 1 or name != name.strip():
        raise InputError(
            f"features {space.called}: expected a name without slash and space, which measures are told by, got "
            f"{shown(name)}. Mend its `name`."
        )


@dataclass(kw_only=True)
class LearnedFeatures(Features, ABC):
    """A space that is learned from labelled real images before it can extract; never from generated ones.

    A loop teaches it with the real images of iteration 0 and keeps what was learned. Elsewhere `path` says where
    labelled images are; in Python, call `fit`. What is learned must be a function of the parameters and the images.

    Parameters
    ----------
    path
        A ``.npz`` file with ``images`` and ``labels`` to learn from; None takes a loop's real images.
    """

    path: str | None = None

    def check(self) -> None:
        """Raise InputError if there is a path, but no such file there."""
        if self.path is not None and not (Path(self.path).suffix == ".npz" and Path(self.path).is_file()):
            raise InputError(f"path: expected a .npz file with images and labels, got {shown(self.path)}.")

    @property
    @abstractmethod
    def fitted(self) -> bool:
        """Whether it has learned."""

    @abstractmethod
    def check_lessons(self, images: Any, labels: Any) -> None:
        """Raise InputError if the space cannot be learned from these; fast, and before anything else is done."""

    @abstractmethod
    def fit(self, images: Any, labels: Any, *, work: Work | None = None) -> Self:
        """Learn from uint8 images ``(n, h, w, c)`` and integer labels ``(n,)``; InputError if that cannot be."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """What there is to tell of the fitted space, as numbers."""

    @abstractmethod
    def state(self) -> tuple[Arrays, State]:
        """What was learned, as arrays and JSON-able values."""

    @abstractmethod
    def restore(self, arrays: Arrays, state: State) -> Self:
        """Take back what `state` gave."""
