"""Vision encoders: DINOv2, the space in which the paper selects, and any other of timm or transformers."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from entropick import arrays
from entropick.component import require
from entropick.errors import InputError, shown
from entropick.features.network import (
    CONFIG,
    PROCESSOR,
    WEIGHTS,
    Checkpoint,
    Network,
    NetworkFeatures,
    find_checkpoint,
)

_WIDTHS = {"small": 384, "base": 768, "large": 1024, "giant": 1536}
_DINOV2_BY_PATH = '{{kind = "dinov2", size = "{}", path = "FOLDER"}}'
_PRECISIONS = ("float32", "bfloat16")
_EXTRAS = {"timm": "timm", "transformers": "dinov2"}
_NEEDED = {"timm": (CONFIG, WEIGHTS), "transformers": (CONFIG, PROCESSOR, WEIGHTS)}
# What only the configuration of a model of this library has.
_MARKS = {"timm": "architecture", "transformers": "model_type"}
_ENCODER_BY_PATH = '{kind = "encoder", model = "FOLDER"}'


@dataclass(kw_only=True)
class VisionEncoder(NetworkFeatures):
    """A trained encoder of images, whose matrix products may be coarser than float32 where one asks for it.

    Parameters
    ----------
    precision
        "float32", or "bfloat16" for products several times as fast on processors that have them (AMX, AVX-512 BF16,
        GPUs), with features that differ by about a per cent. They are features of their own: kept, and compared, apart
        from those in float32.
    """

    precision: str = "float32"

    def check(self) -> None:
        """Raise InputError for an unknown precision too."""
        arrays.check_choice(self.precision, _PRECISIONS, name="precision")
        super().check()

    def autocast(self) -> str | None:
        """The precision, unless that is float32."""
        return None if self.precision == "float32" else self.precision


@dataclass(kw_only=True)
class DINOv2(VisionEncoder):
    """The class token of DINOv2 (Oquab et al. 2023, arXiv 2304.07193), after the last layer norm.

    This is ``last_hidden_state[:, 0]`` of the transformers model, which its ``pooler_output`` repeats. Images are
    prepared by the checkpoint's own processor with Pillow: the shorter side to 256, the centre 224 x 224, so that the
    ends of a long image are not seen. Needs the package transformers: ``pip install '.[dinov2]'`` in a checkout.

    Parameters
    ----------
    size
        "small" (384 features, the paper's), "base" (768), "large" (1024) or "giant" (1536).
    path
        A folder with config.json, preprocessor_config.json and model.safetensors; None looks in the Hugging Face
        cache. Nothing is ever downloaded.
    precision
        "float32" or "bfloat16", see `VisionEncoder`.
    device
        "cpu", "cuda", or "auto" for a GPU where there is one.
    """

    kind: ClassVar[str] = "dinov2"
    size: str = field(default="small", kw_only=False)
    path: str | None = None

    @property
    def name(self) -> str:
        """``"dinov2-small"`` and the like."""
        return f"dinov2-{self.size}"

    def check(self) -> None:
        """Raise InputError for an unknown size or missing weights, MissingDependency without transformers."""
        arrays.check_choice(self.size, tuple(_WIDTHS), name="size")
        require("transformers", extra="dinov2", wanted_by=self.name)
        super().check()

    def weights(self) -> str:
        """A hash (hexadecimal) of weights, configuration and preprocessing."""
        return self._checkpoint().sha256()

    def width(self, shape: tuple[int, ...]) -> int:
        """As the size says, whatever the shape."""
        return _WIDTHS[self.size]

    def load(self, device: Any) -> Network:
        """The model and its processor."""
        folder = self._checkpoint().folder
        require("transformers", extra="dinov2", wanted_by=self.name)
        model, _ = _load_model(folder, device, who=self.name)
        forward = lambda pixels: model(pixel_values=pixels).last_hidden_state[:, 0]  # noqa: E731
        return Network(_prepared(_processor(folder)), forward)

    def _checkpoint(self) -> Checkpoint:
        arrays.check_choice(self.size, tuple(_WIDTHS), name="size")
        repo = f"facebook/{self.name}"
        found = find_checkpoint(
            self.name,
            repo=repo,
            path=self.path,
            needed=(CONFIG, PROCESSOR, WEIGHTS),
            by_path=_DINOV2_BY_PATH.format(self.size),
        )
        config = found.config()
        came = config.get("model_type"), config.get("hidden_size")
        if came != ("dinov2", _WIDTHS[self.size]):
            raise InputError(
                f"{self.name}: expected a model of type 'dinov2' with {_WIDTHS[self.size]} features in {found.folder}, "
                f"got type {shown(came[0])} with {came[1]}. Give its size, or use the kind 'encoder'."
            )
        return found


@dataclass(kw_only=True)
class Encoder(VisionEncoder):
    """A pretrained vision encoder of timm or transformers with its own preprocessing.

    Features of timm are those before the classifier, pooled as the model pools. Of transformers: the image embedding
    of a model of images and text; else the model's pooled output, if the checkpoint has its weights; else the first
    token, or the mean over a map. A model that gives other features for the same image again, because it masks at
    random, is refused.

    Parameters
    ----------
    model
        A name on the hub (``"facebook/dinov2-with-registers-small"``, or ``"vit_small_patch16_224.dino"`` for
        ``timm/...``), which is looked up in the Hugging Face cache, or a local folder. Nothing is ever downloaded.
        A name of timm without a tag stands for the weights that timm itself takes: ``"resnet50"`` for
        ``timm/resnet50.a1_in1k``.
    library
        "timm" or "transformers"; None reads it off the model's configuration.
    precision
        "float32" or "bfloat16", see `VisionEncoder`.
    device
        "cpu", "cuda", or "auto" for a GPU where there is one.
    """

    kind: ClassVar[str] = "encoder"
    model: str
    library: str | None = None

    @property
    def name(self) -> str:
        """The last part of the model's name or folder, fit for a key."""
        last = Path(self.model).expanduser().resolve().name if self._is_folder() else self.model.rpartition("/")[2]
        return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in last) or "encoder"

    def check(self) -> None:
        """Raise InputError for an unknown library or missing weights, MissingDependency for a missing package."""
        if self.library is not None:
            arrays.check_choice(self.library, tuple(_EXTRAS), name="library")
        super().check()
        self._require(self._library_of(self._checkpoint()))

    def weights(self) -> str:
        """A hash (hexadecimal) of weights, configuration and preprocessing."""
        return self._checkpoint().sha256()

    def load(self, device: Any) -> Network:
        """The model and its preprocessing."""
        checkpoint = self._checkpoint()
        library = self._library_of(checkpoint)
        self._require(library)
        network = {"timm": _timm, "transformers": _transformers}[library](checkpoint.folder, device, self.name)
        _check_repeats(network, device, self.name)
        return network

    def _is_folder(self) -> bool:
        return Path(self.model).expanduser().is_dir()

    def _checkpoint(self) -> Checkpoint:
        if not isinstance(self.model, str) or not self.model:
            raise InputError(f"model: expected a name on the hub or a folder, got {shown(self.model)}.")
        path = self.model if self._is_folder() or self.model.startswith((".", "/", "~")) else None
        name = self.model.removeprefix("timm/")
        is_timm = path is None and "/" not in name
        repo = self._timm_repo(name) if is_timm else self.model
        needed = _NEEDED[self.library or ("timm" if is_timm else "transformers")]
        if path is not None:
            # Which files are needed depends on what the folder is a checkpoint of.
            found = find_checkpoint("encoder", repo=repo, path=path, needed=(CONFIG,), by_path=_ENCODER_BY_PATH)
            needed = _NEEDED[self._library_of(found)]
        return find_checkpoint(f"encoder {self.model}", repo=repo, path=path, needed=needed, by_path=_ENCODER_BY_PATH)

    def _timm_repo(self, name: str) -> str:
        """Where the hub has a model of timm; of one that is named without a tag, timm knows."""
        if "." in name:
            return f"timm/{name}"
        timm = self._require("timm")
        known = timm.get_pretrained_cfg(name)
        if known is None:
            close = difflib.get_close_matches(name, timm.list_models(), n=3)
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise InputError(
                f"model: timm knows no {shown(name)}, and models of others have a name with a slash.{hint}"
            )
        return str(known.hf_hub_id or f"timm/{name}")

    def _library_of(self, checkpoint: Checkpoint) -> str:
        config = checkpoint.config()
        found = next((library for library, mark in _MARKS.items() if mark in config), None)
        if found is None or self.library not in (None, found):
            raise InputError(
                f"encoder: expected the configuration of a {self.library or 'timm or transformers'} model in "
                f"{checkpoint.folder / CONFIG}, got one of {found or 'neither'}."
            )
        return found

    def _require(self, library: str) -> Any:
        return require(library, extra=_EXTRAS[library], wanted_by=f"encoder {self.model}")


def _timm(folder: Path, device: Any, who: str) -> Network:
    import timm
    from PIL import Image

    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    except Exception as error:
        raise InputError(f"{who}: timm cannot load the model in {folder} ({error}).") from error
    model = model.eval().requires_grad_(False).to(device)
    transform: Callable[[Any], Any] = timm.data.create_transform(
        **timm.data.resolve_model_data_config(model), is_training=False
    )
    return Network(lambda image: transform(Image.fromarray(image)), model)


def _transformers(folder: Path, device: Any, who: str) -> Network:
    model, missing = _load_model(folder, device, who=who)
    has_pooler = not missing
    if missing and not all("pooler" in name for name in missing):
        raise InputError(f"{who}: expected weights for the whole model in {folder}, but {min(missing)} is missing.")

    def forward(pixels: Any) -> Any:
        if hasattr(model, "get_image_features"):
            return model.get_image_features(pixel_values=pixels).pooler_output
        found = model(pixel_values=pixels)
        if has_pooler and getattr(found, "pooler_output", None) is not None:
            return found.pooler_output.flatten(1)
        tokens = found.last_hidden_state
        return tokens[:, 0] if tokens.ndim == 3 else tokens.mean(dim=(2, 3))

    return Network(_prepared(_processor(folder)), forward)


def _check_repeats(network: Network, device: Any, who: str) -> None:
    import torch

    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    try:
        with torch.inference_mode():
            batch = network.prepare(image)[None].to(device)
            same = torch.equal(network.forward(batch), network.forward(batch))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{who}: expected a model whose own preprocessing fits an image of 64 x 64 pixels to it, but: {error}"
        ) from error
    if not same:
        raise InputError(f"{who}: expected the same features for the same image, but the model draws random numbers.")


def _load_model(folder: Path, device: Any, *, who: str) -> tuple[Any, set[str]]:
    """The model in evaluation mode, and the names of parameters that the checkpoint does not have."""
    import torch
    from transformers import AutoModel

    with _quiet():
        try:
            model, found = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:
            raise InputError(f"{who}: transformers cannot load the model in {folder} ({error}).") from error
    return model.eval().requires_grad_(False).to(device), set(found["missing_keys"])


def _processor(folder: Path) -> Any:
    """The checkpoint's own image processor, by Pillow, so that the features do not depend on what else is installed."""
    from transformers import AutoImageProcessor

    with _quiet():
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")


def _prepared(processor: Any) -> Callable[[arrays.Images], Any]:
    """From a uint8 image ``(h, w, 3)`` to the pixels that a model takes."""

    def prepare(image: arrays.Images) -> Any:
        # Said, not guessed: an image of 3 rows, or of 3 columns, could be taken for channels first.
        return processor(images=[image], return_tensors="pt", input_data_format="channels_last")["pixel_values"][0]

    return prepare


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no advice on standard error, which belongs to the command line."""
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
