"""Features from a trained network: where its weights are, and how it is run.

Weights come from a folder that was named or from the Hugging Face cache, never from the network. Images go through in
passes of one size, so that no row depends on its neighbours.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from entropick import arrays
from entropick.errors import InputError
from entropick.features.base import Features
from entropick.processes.hardware import usable_device
from entropick.run.files import hash_file

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
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

    has_resize: ClassVar[bool] = True
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
        import torch

        images = arrays.check_images(images)
        device = torch.device(usable_device(self.device))
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


@dataclass(frozen=True)
class Checkpoint:
    """A folder with ``config.json``, weights in safetensors and, for transformers, ``preprocessor_config.json``."""

    folder: Path

    def config(self) -> dict[str, Any]:
        """The content of ``config.json``; InputError if it cannot be read."""
        try:
            config: dict[str, Any] = dict(json.loads((self.folder / CONFIG).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self.folder / CONFIG}: expected the configuration of an encoder ({error}).") from error
        return config

    def sha256(self) -> str:
        """A hash (hexadecimal) of all that decides about the features: configuration, preprocessing, weights."""
        digest = hashlib.sha256()
        for path in sorted({*self.folder.glob("*config.json"), *self.folder.glob("*.safetensors")}):
            digest.update(f"{path.name}\0{hash_of(path)}\n".encode())
        return digest.hexdigest()


def find_checkpoint(who: str, *, repo: str, path: str | None, needed: tuple[str, ...], by_path: str) -> Checkpoint:
    """The checkpoint in the folder `path`, or else of `repo` in the Hugging Face cache.

    Parameters
    ----------
    who
        The feature space, for messages.
    repo
        ``organisation/name`` on the hub.
    needed
        Files without which it is none. ``model.safetensors`` may also be in several parts with their index.
    by_path
        How a folder is named on the command line, for messages.

    Raises
    ------
    InputError
        It is not there, or not whole; the message says which command fetches it where there is a network.
    """
    if path is not None:
        folder = Path(path).expanduser()
        if missing := _missing(folder, needed):
            raise InputError(f"{who}: expected a folder with {_listed(needed)} at {folder}, but {missing}.")
        return Checkpoint(folder)
    cached = _cached_folder(repo)
    if cached is None or _missing(cached, needed):
        came = f"the Hugging Face cache has no {repo}" if cached is None else f"in {cached} {_missing(cached, needed)}"
        raise InputError(
            f"{who}: its weights are needed, but {came}, and nothing is downloaded without being asked for. "
            f"Where there is a network, run\n  hf download {repo} {' '.join(needed)}\n"
            f"which fills the cache. For another machine add --local-dir FOLDER, and give that folder as "
            f"--features '{by_path}'."
        )
    return Checkpoint(cached)


def hash_of(path: Path) -> str:
    """The sha256 (hexadecimal) of a file's content; remembered while the file stays as it is."""
    status = path.stat()
    return _hash(path.resolve(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _hash(path: Path, size: int, modified: int) -> str:
    return hash_file(path).sha256


def _cached_folder(repo: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo, CONFIG)
    except HFValidationError as error:
        raise InputError(f"expected the name of a model on the hub, such as facebook/dinov2-small: {error}") from error
    return Path(config).parent if isinstance(config, str) else None


def _missing(folder: Path, needed: tuple[str, ...]) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    lacking = [name for name in needed if not (folder / name).is_file()]
    if WEIGHTS in lacking and (folder / _INDEX).is_file():
        lacking.remove(WEIGHTS)
        parts = set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        lacking += sorted(part for part in parts if not (folder / part).is_file())
    return f"{_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing" if lacking else ""


def _listed(names: tuple[str, ...] | list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
