"""The contract of a feature space: images in, one row of numbers per image out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from entropick import arrays
from entropick.component import Component


@dataclass(kw_only=True)
class Features(Component, ABC):
    """A way to turn images into points, in which distances are then measured.

    A subclass is decorated with ``@dataclass(kw_only=True)``, gives `kind`, `cheap`, `name` and `extract`. The row of
    an image must depend on that image and the parameters only: not on the other images, their number, their order or
    an earlier call.
    """

    cheap: ClassVar[bool] = False
    """Whether to extract again costs less than to store the features and read them back."""

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
