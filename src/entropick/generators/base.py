"""The contract of a generator: fit images, sample images, and be written down between the two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Floats, Images, Integers
from entropick.component import Component
from entropick.errors import InputError
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work


@dataclass(kw_only=True)
class Generator(Component, ABC):
    """A model that learns images and makes new ones, always trained from scratch.

    All randomness comes from the `stream` given to `fit` and `sample`; all checkpoints and progress go through `work`.
    The fitted model is `state` (arrays and JSON-able numbers), from which `restore` makes a generator that samples
    exactly the same images.
    """

    divisible: ClassVar[bool] = False
    """Whether several processes that all call `fit` or `sample` compute parts of it each, as `Work` tells how."""

    has_losses: ClassVar[bool] = False
    """Whether the fitted model can tell `losses`."""

    @abstractmethod
    def fit(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Self:
        """Train on `images`, uint8 ``(n, h, w, c)``, and return self.

        Interrupted through `work`, the same call goes on from the last checkpoint and ends in the same model.
        """

    @abstractmethod
    def sample(self, n_images: int, *, stream: RandomStream | None = None, work: Work | None = None) -> Images:
        """Make `n_images` images, uint8 ``(n_images, h, w, c)``.

        Image i depends on the model, the stream and i alone: asking for more images leaves the first ones as they are
        (up to one grey level where a last, incomplete chunk is summed in another order).
        """

    @abstractmethod
    def state(self) -> tuple[Arrays, State]:
        """The fitted model as named arrays and JSON-able numbers."""

    @abstractmethod
    def restore(self, arrays: dict[str, NDArray[Any]], state: State) -> Self:
        """Become the fitted model that `state` described."""

    @property
    def needs_labels(self) -> bool:
        """Whether `fit` wants a label for every image; a loop gives labels to generators that do, and to no others."""
        return False

    def losses(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Floats:
        """How badly the fitted model knows each of the `images`, uint8 ``(n, h, w, c)``: ``(n,)``, lower is better.

        The loss that it was trained by, or a negative log likelihood. It depends on the model, the stream and the image
        (of a conditional model: its label) alone. Only for a generator that `has_losses`.
        """
        raise InputError(
            f"losses: expected a generator that can tell how well it knows an image, got "
            f"{self.kind or type(self).__name__!r}. Take another one."
        )

    def sample_labels(self, n_images: int, *, stream: RandomStream | None = None) -> Integers | None:
        """The labels of the images that `sample` makes of the same stream; None for a generator without classes."""
        return None

    def check_probes(self, probe_steps: Sequence[int]) -> None:
        """Raise InputError if the model cannot be looked at after these steps of its training.

        A generator that can is given ``fit(..., probe_steps=...)``, which must not change what it learns, and has the
        models in `probed` then.
        """
        raise InputError(
            f"probe_steps: expected a generator that learns step by step, got {self.kind or type(self).__name__!r}. "
            "Leave them out."
        )

    def check_training(self, n_images: int, probe_steps: Sequence[int] = ()) -> None:
        """Raise InputError if so many images are too few to learn from, or to be looked at after these steps.

        Called before the first training with the number of every training set, or the most that there may be.
        """

    def probed(self) -> dict[int, Arrays]:
        """By probe step, the arrays of the model as it was then; they fit the state that `state` has."""
        return {}

    def training_values(self) -> dict[str, Any]:
        """Numbers of the training for the ledger, such as the final loss."""
        return {}

    def sampling_values(self) -> dict[str, Any]:
        """What the ledger should know of the last sample, such as that memory ran out."""
        return {}

    def check_fits(self, image_shape: tuple[int, int, int]) -> None:
        """Raise InputError if images of this shape ``(h, w, c)`` cannot be learned; looks at no image."""

    def kept_bytes(self, image_shape: tuple[int, int, int]) -> int:
        """Bytes of the fitted model on the disk, at least; 0 where that is not known beforehand."""
        return 0

    def _require_fitted(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            raise InputError(f"this {type(self).__name__} is not fitted yet. Call fit(images) or restore(...) first.")
