"""Features from a trained network: where its weights are, and how it is run.

Weights come from a folder that was named or from the Hugging Face cache, never from the network. Images go through in
passes of one size, so that no row depends on its neighbours.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tomllib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from entropick import arrays
from entropick.errors import EntropickWarning, InputError, cut
from entropick.features.base import Extract, Features, Prepare
from entropick.processes.hardware import full_precision, usable_device
from entropick.run.files import hash_file

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
# Rows per pass through the network. Every pass has exactly so many, the last one padded: kernels for matrices choose
# their order of additions by shape, and the same image must give the same bits wherever it stands. 16 is where more
# made two cores no faster that mattered (docs/benchmarks.md); 4 took twice as long per image. Less than some hundreds
# do not fill a GPU.
_PASS = {"cpu": 16, "cuda": 256}
# Networks that stay loaded; a loop that selects in one space and measures in two others needs three.
_KEPT = 4
_loaded: dict[str, Network] = {}
# Rows per pass of those networks that do not fit into their device's memory with the usual number.
_smaller: dict[str, int] = {}


class Network(NamedTuple):
    """A network on its device, and how one image is prepared for it.

    Attributes
    ----------
    prepare
        One uint8 image ``(h, w, 3)`` of any size -> a tensor in the main memory, of one shape for all images.
    forward
        A tensor ``(b, ...)`` of such on the device -> a tensor ``(b, d)``.
    """

    prepare: Callable[[arrays.Images], Any]
    forward: Callable[[Any], Any]


@dataclass(kw_only=True)
class NetworkFeatures(Features, ABC):
    """A network with fixed weights: a subclass gives `name`, `weights`, and `load`, the way from pixels to features.

    Grey images become RGB by repetition. All is computed in float32, also where TF32 or an autocast is on around it,
    unless a subclass has another `precision`.

    Parameters
    ----------
    device
        "cpu", "cuda", or "auto" for a GPU where there is one.
    """

    has_resize: ClassVar[bool] = True
    device: str = "auto"

    @property
    def at_once(self) -> int:
        """A pass of a GPU, or what keeps a processor's threads busy."""
        return max(super().at_once, _PASS[usable_device(self.device)])

    def check(self) -> None:
        """Raise InputError for an unknown device or missing weights, MissingDependency for a missing package."""
        arrays.check_choice(self.device, ("auto", "cpu", "cuda"), name="device")
        usable_device(self.device)
        self.weights()

    @abstractmethod
    def weights(self) -> str:
        """A hash (hexadecimal) of the weights and all that comes with them; InputError if they are not there."""

    @abstractmethod
    def load(self, device: Any) -> Network:
        """Load the network onto the torch device."""

    def autocast(self) -> str | None:
        """The precision of matrix products, by its name in torch, where that is not float32."""
        return None

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
        prepare, extract = self.in_two_steps()
        blocks = (images[start : start + self.at_once] for start in range(0, len(images), self.at_once))
        return np.concatenate([extract([prepare(image) for image in block]) for block in blocks])

    def in_two_steps(self) -> tuple[Prepare, Extract]:
        """The model's own preprocessing, of an image of any size, and the passes through the network."""
        import torch

        device = torch.device(usable_device(self.device))
        network = self._network(device)

        def prepare(image: arrays.Images) -> Any:
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                return network.prepare(as_rgb(image))

        def extract(prepared: Sequence[Any]) -> arrays.Features:
            shapes = {tuple(one.shape) for one in prepared}
            if len(shapes) > 1:
                listed = " and ".join(map(str, sorted(shapes)[:2]))
                raise InputError(
                    f"{self.name}: expected a model that brings all images to one size, but they came as {listed}. "
                    "Give images of one size, or --resize N (resize=N)."
                )

            def forward(batch: list[Any]) -> Any:
                shape, dtype = (len(batch), *batch[0].shape), batch[0].dtype
                stacked = torch.empty(shape, dtype=dtype, device="cpu", pin_memory=device.type == "cuda")
                return network.forward(torch.stack(batch, out=stacked).to(device, non_blocking=True))

            with exact_arithmetic(device, self.autocast()):
                while (X := self._in_passes(forward, prepared, device)) is None:
                    pass
            return arrays.check_features(X, name=f"features of {self.name}")

        return prepare, extract

    def _in_passes(
        self, forward: Callable[[list[Any]], Any], prepared: Sequence[Any], device: Any
    ) -> arrays.Features | None:
        """All rows; None where a pass has not fitted into memory, and the next ones have half as many."""
        import torch

        key = self._key(device)
        size = _smaller.get(key, _PASS[device.type])
        try:
            return in_batches(forward, prepared, size=size)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        _smaller[key] = size // 2
        warnings.warn(
            f"{self.name}: out of memory on {device}; {size // 2} images go through the network at once instead of "
            f"{size}, from here on. Features of images before and after it may differ by rounding.",
            EntropickWarning,
            stacklevel=2,
        )
        return None

    def width(self, shape: tuple[int, ...]) -> int:
        """How many features an image has, whatever its shape ``(h, w, c)``."""
        import torch

        device = torch.device(usable_device(self.device))
        network = self._network(device)
        with exact_arithmetic(device, self.autocast()), torch.inference_mode():
            return int(network.forward(network.prepare(np.zeros((8, 8, 3), np.uint8))[None].to(device)).shape[1])

    def _network(self, device: Any) -> Network:
        key = self._key(device)
        if key not in _loaded:
            while len(_loaded) >= _KEPT:
                del _loaded[next(iter(_loaded))]
            _loaded[key] = self.load(device)
        return _loaded[key]

    def _key(self, device: Any) -> str:
        return json.dumps([type(self).__qualname__, self.identity(), str(device)])


@contextlib.contextmanager
def exact_arithmetic(device: Any, precision: str | None = None) -> Iterator[None]:
    """No TF32, no autocast but to `precision`, and convolutions by the same algorithm every time."""
    import torch

    dtype = None if precision is None else getattr(torch, precision)
    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    # Not `cudnn.flags`: it fails where a caller has used the newer switches, and leaves TF32 on that all of them have.
    settings: tuple[tuple[Any, str, Any], ...] = (
        (cudnn, "enabled", True),
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (cudnn.conv, "fp32_precision", "ieee"),  # type: ignore[attr-defined]
        (mkldnn.conv, "fp32_precision", "ieee"),  # type: ignore[attr-defined]
    )
    before = [getattr(of, name) for of, name, _ in settings]
    try:
        for of, name, value in settings:
            setattr(of, name, value)
        with full_precision, torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype is not None):
            yield
    finally:
        for (of, name, _), value in zip(settings, before, strict=True):
            setattr(of, name, value)


def in_batches(
    forward: Callable[[list[Any]], Any], items: Sequence[Any] | arrays.Images, *, size: int
) -> arrays.Features:
    """All rows of `forward`, in passes of exactly `size` items; the last one is filled up with its last."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(items), size):
            batch = list(items[start : start + size])
            rows = forward(batch + batch[-1:] * (size - len(batch)))
            parts.append(rows[: len(batch)].float())
        # Only here a GPU is waited for.
        found: arrays.Features = torch.cat(parts).cpu().numpy()
    return found


def as_rgb(image: arrays.Images) -> arrays.Images:
    """A grey image with its channel three times, another as it is."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)


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
            f"--features '{by_path}' (features={tomllib.loads(f'of = {by_path}')['of']})."
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
        lacking += sorted(part for part in _parts_of(folder / _INDEX) if not (folder / part).is_file())
    return f"{_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing" if lacking else ""


def _parts_of(index: Path) -> set[str]:
    """The files of weights beside their index; InputError for one that says nothing of such."""
    try:
        parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if any(Path(part).name != part for part in parts):
            raise ValueError("a part lies elsewhere")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = cut(error) or type(error).__name__
        raise InputError(f"{index}: expected an index of weights in parts beside it ({reason}).") from error
    return parts


def _listed(names: tuple[str, ...] | list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
