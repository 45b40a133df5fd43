"""Features from a trained network: batches of one size, so that no row depends on its neighbours."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropick import arrays
from entropick.errors import InputError
from entropick.features.base import Features

# Rows per pass through the network. Every pass has exactly so many, the last one padded: kernels for matrices choose
# their order of additions by shape, and the same image must give the same bits wherever it stands.
_BATCH = {"cpu": 4, "cuda": 64}
# Networks that stay loaded; a loop that selects in one space and measures in two others needs three.
_KEPT = 4
_loaded: dict[str, Forward] = {}

Forward = Callable[[arrays.Images], Any]
"""uint8 images ``(b, h, w, 3)`` -> a torch tensor ``(b, d)``."""


@dataclass(kw_only=True)
class NetworkFeatures(Features, ABC):
    """A network with fixed weights: a subclass gives `name`, `weights`, and `load`, the pass from pixels to features.

    Grey images become RGB by repetition. All is computed in float32, also where TF32 or an autocast is on around it.

    Parameters
    ----------
    device
        "cpu", "cuda", or "auto" for a GPU where there is one.
    """

    device: str = "auto"

    def check(self) -> None:
        """Raise InputError for an unknown device or missing weights, MissingDependency for a missing package."""
        arrays.check_choice(self.device, ("auto", "cpu", "cuda"), name="device")
        self.weights()

    @abstractmethod
    def weights(self) -> str:
        """A hash (hexadecimal) of the weights and all that comes with them; InputError if they are not there."""

    @abstractmethod
    def load(self, device: Any) -> Forward:
        """Load the network onto the torch device."""

    def identity(self) -> dict[str, Any]:
        """`describe`, and a hash of the weights."""
        return {**self.describe(), "weights": self.weights()}

    def extract(self, images: Any) -> arrays.Features:
        """Return float32 ``(n, d)``, row i for image i; the same bits whatever the other images are.

        Raises
        ------
        InputError
            For unusable images, or if the weights are not there.
        MissingDependency
            A package is missing.
        """
        images = arrays.check_images(images)
        device = _device(self.device)
        forward = self._forward(device)
        with _plain_float32(device):
            X = in_batches(forward, images, size=_BATCH[device.type])
        return arrays.check_features(X, name=f"features of {self.name}")

    def _forward(self, device: Any) -> Forward:
        key = json.dumps([type(self).__qualname__, self.identity(), str(device)])
        if key not in _loaded:
            while len(_loaded) >= _KEPT:
                del _loaded[next(iter(_loaded))]
            _loaded[key] = self.load(device)
        return _loaded[key]


def in_batches(forward: Forward, images: arrays.Images, *, size: int) -> arrays.Features:
    """All rows of `forward`, in passes of exactly `size` images; the last one is filled up with its last image."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            fill = np.repeat(batch[-1:], size - len(batch), axis=0)
            rows = forward(np.concatenate([batch, fill]))
            parts.append(rows[: len(batch)].to("cpu", torch.float32).numpy())
    return np.concatenate(parts)


def as_rgb(images: arrays.Images) -> arrays.Images:
    """Grey images with their channel three times, others as they are."""
    return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


def _device(name: str) -> Any:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device: expected a GPU for 'cuda', but torch finds none. Use 'cpu' or 'auto'.")
    is_gpu = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if is_gpu else "cpu")


@contextlib.contextmanager
def _plain_float32(device: Any) -> Iterator[None]:
    """No TF32, no autocast, and convolutions by the same algorithm every time."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    try:
        with exact, torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
