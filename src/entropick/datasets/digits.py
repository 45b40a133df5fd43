"""scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from entropick.arrays import check_count
from entropick.datasets.base import Dataset, RealData, split
from entropick.datasets.reading import hash_files
from entropick.errors import InputError
from entropick.work import Work


@dataclass(kw_only=True)
class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels; ships with scikit-learn, needs no download.

    Parameters
    ----------
    n_images
        How many of them the loop starts from.
    n_reference
        How many are held out as the reference, the same ones whatever `n_images` is; None takes all others.
    """

    kind: ClassVar[str] = "digits"
    n_images: int = 1024
    n_reference: int | None = None

    def check(self) -> None:
        """Raise InputError unless at least 16 digits are left as the reference."""
        super().check()
        if self.n_reference is not None:
            check_count(self.n_reference, name="n_reference")
        if check_count(self.n_images, name="n_images", minimum=2) > 1781:
            raise InputError(f"n_images: expected at most 1781 of the 1797 digits, got {self.n_images}.")

    def load(self, *, work: Work | None = None) -> RealData:
        """The digits with their 17 grey levels spread over 0..255."""
        self.check()
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)
        labels, n_reference = digits.target.astype(np.int64), self.n_reference
        return split(images, labels, n_images=self.n_images, n_reference=n_reference, seed=self.split_seed)

    def fingerprint(self) -> str:
        """Hash of the file that scikit-learn ships, without importing scikit-learn, which takes a second."""
        spec = importlib.util.find_spec("sklearn")
        assert spec is not None and spec.origin is not None
        return hash_files([Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"])
