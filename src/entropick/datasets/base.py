"""The contract of a dataset: real images, and which of them are held out as the reference."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from entropick.arrays import Images, Integers, check_count, check_images, check_labels
from entropick.component import Component
from entropick.errors import InputError, counted, shown
from entropick.random_stream import RandomStream
from entropick.work import Work

_DEFAULT_SHARE = 0.8
BY_SEED = "seed"


@dataclass(frozen=True)
class RealData:
    """Real images, split once and for all.

    Attributes
    ----------
    images, labels
        uint8 ``(n, h, w, c)`` and int64 ``(n,)`` or None: what iteration 1 is trained on.
    reference
        uint8 ``(m, h, w, c)``: held-out real images that no model ever sees.
    stock, stock_labels
        uint8 ``(s, h, w, c)`` and int64 ``(s,)`` or None: what is left, in random order; paradigms that let new real
        images in take them from here. A dataset may have none.
    """

    images: Images
    labels: Integers | None
    reference: Images
    stock: Images | None = None
    stock_labels: Integers | None = None


@dataclass(kw_only=True)
class Dataset(Component, ABC):
    """The contract: `load` the images, tell by a `fingerprint` whether they are still the same.

    Parameters
    ----------
    split_seed
        Which random choice of real, reference and stock images is made: a number, or ``"seed"``, the seed of the loop,
        so that the seeds of a study differ in their images too, and intervals speak of other images. 0, one choice for
        all, unless told otherwise.
    """

    split_seed: int | Literal["seed"] = 0

    def at_seed(self, seed: int) -> Self:
        """The dataset as a loop with this seed has it."""
        return dataclasses.replace(self, split_seed=seed) if self.split_seed == BY_SEED else self

    def describe(self) -> dict[str, Any]:
        """The parameters as plain data; some only where they were given, so that older results keep their names."""
        usual = {"split_seed": 0, "bit_depth": None}
        return {name: value for name, value in super().describe().items() if name not in usual or value != usual[name]}

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        if isinstance(self.split_seed, str) and self.split_seed != BY_SEED:
            raise InputError(f'split_seed: expected a whole number, or "{BY_SEED}", got {shown(self.split_seed)}.')
        check_count(0 if self.split_seed == BY_SEED else self.split_seed, name="split_seed", minimum=0)

    @abstractmethod
    def load(self, *, work: Work | None = None) -> RealData:
        """Read, check and split the images; the split depends on the data and the parameters alone."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash (hexadecimal) of the content, cheaper than `load` where that can be."""


def load_checked(dataset: Dataset, work: Work) -> RealData:
    """Load the images of a dataset, whoever has written it, made regular; InputError unless they are `RealData`."""
    loaded = dataset.load(work=work)
    who = f"dataset {dataset.called}"
    if not isinstance(loaded, RealData):
        raise InputError(f"{who}: expected RealData from its `load`, got {shown(loaded)}. Mend its `load`.")
    images = check_images(loaded.images, name=f"{who}: images")
    labels = check_labels(loaded.labels, len(images), name=f"{who}: labels")
    if loaded.reference is None:
        raise InputError(f"{who}: expected held-out images as the reference, got None. Mend its `load`.")
    reference = check_images(loaded.reference, name=f"{who}: reference")
    stock = loaded.stock
    if stock is not None and len(stock):
        stock = check_images(stock, name=f"{who}: stock")
    stock_labels = None if stock is None else check_labels(loaded.stock_labels, len(stock), name=f"{who}: stock_labels")
    for name, others in (("reference", reference), ("stock", stock)):
        if others is not None and len(others) and others.shape[1:] != images.shape[1:]:
            raise InputError(
                f"{who}: expected a {name} of the shape of its images, {images.shape[1:]}, got {others.shape[1:]}. "
                "Mend its `load`."
            )
    return RealData(images, labels, reference, stock, stock_labels)


def split(
    images: Images,
    labels: Integers | None,
    *,
    n_images: int | None,
    reference: Images | None = None,
    n_reference: int | None = None,
    seed: int | Literal["seed"] = 0,
    place: str = "the dataset",
) -> RealData:
    """Choose the real training images, the reference and the stock, always the same for the same arguments.

    All images are brought into one random order: the first `n_images` are the real data, so that fewer are a subset of
    more; the last `n_reference` are the reference, unless it is given; what lies between is the stock. Another `seed`
    is another order; outside of a loop ``"seed"`` is 0. `place` is where the images are, for messages.

    Raises
    ------
    InputError
        More images were asked for than there are, or nothing is left for the reference.
    """
    images = check_images(images)
    reference = None if reference is None else check_images(reference, name="reference")
    n = len(images)
    n_real = n_images or (n if reference is not None else max(1, int(n * _DEFAULT_SHARE)))
    if n_real > n or (reference is None and n_real == n):
        kept, advice = "", "Lower n_images (--images)"
        if reference is None:
            kept, advice = ", some of which must be left as the reference", f"{advice}, or give a reference of its own"
        raise InputError(f"n_images: {n_real} were asked for, but {place} has {counted(n, 'image')}{kept}. {advice}.")
    order = RandomStream(0 if seed == BY_SEED else int(seed), stage="split").rng().permutation(n)
    n_left = n - n_real if reference is None else len(reference)
    n_held_out = n_reference or n_left
    if n_held_out > n_left:
        advice = "Lower n_reference, or n_images (--images)" if reference is None else "Lower n_reference"
        raise InputError(
            f"n_reference: {n_held_out} were asked for, but {place} leaves {counted(n_left, 'image')} for it. {advice}."
        )
    n_used = n if reference is not None else n - n_held_out
    held_out = images[np.sort(order[n_used:])] if reference is None else reference[:n_held_out]
    if held_out.shape[1:] != images.shape[1:]:
        raise InputError(f"reference: expected images of shape {images.shape[1:]}, got {held_out.shape[1:]}.")
    chosen, rest = np.sort(order[:n_real]), order[n_real:n_used]
    real_labels, stock_labels = (None, None) if labels is None else (labels[chosen], labels[rest])
    return RealData(images[chosen], real_labels, held_out, images[rest], stock_labels)
