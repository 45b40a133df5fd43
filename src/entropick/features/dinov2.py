"""DINOv2: the space in which the paper selects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from entropick import arrays
from entropick.component import require
from entropick.errors import InputError
from entropick.features.checkpoint import CONFIG, PROCESSOR, WEIGHTS, Checkpoint, find_checkpoint
from entropick.features.network import Forward, NetworkFeatures
from entropick.features.transformers_model import load_model, load_processor, prepared

_WIDTHS = {"small": 384, "base": 768, "large": 1024, "giant": 1536}


_BY_PATH = '{{kind = "dinov2", size = "{}", path = "FOLDER"}}'


@dataclass(kw_only=True)
class DINOv2(NetworkFeatures):
    """The class token of DINOv2 (Oquab et al. 2023, arXiv 2304.07193), after the last layer norm.

    This is ``last_hidden_state[:, 0]`` of the transformers model, which its ``pooler_output`` repeats. Images are
    prepared by the checkpoint's own processor with Pillow: the shorter side to 256, the centre 224 x 224, so that the
    ends of a long image are not seen. Needs the package transformers: ``pip install 'entropick[dinov2]'``.

    Parameters
    ----------
    size
        "small" (384 features, the paper's), "base" (768), "large" (1024) or "giant" (1536).
    path
        A folder with config.json, preprocessor_config.json and model.safetensors; None looks in the Hugging Face
        cache. Nothing is ever downloaded.
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

    def load(self, device: Any) -> Forward:
        """The model and its processor."""
        folder = self._checkpoint().folder
        require("transformers", extra="dinov2", wanted_by=self.name)
        model, _ = load_model(folder, device, who=self.name)
        prepare = prepared(load_processor(folder), device)
        return lambda images: model(pixel_values=prepare(images)).last_hidden_state[:, 0]

    def _checkpoint(self) -> Checkpoint:
        arrays.check_choice(self.size, tuple(_WIDTHS), name="size")
        repo = f"facebook/{self.name}"
        found = find_checkpoint(
            self.name,
            repo=repo,
            path=self.path,
            needed=(CONFIG, PROCESSOR, WEIGHTS),
            by_path=_BY_PATH.format(self.size),
        )
        config = found.config()
        came = config.get("model_type"), config.get("hidden_size")
        if came != ("dinov2", _WIDTHS[self.size]):
            raise InputError(
                f"{self.name}: expected a model of type 'dinov2' with {_WIDTHS[self.size]} features in {found.folder}, "
                f"got type {came[0]!r} with {came[1]}. Give its size, or use the kind 'encoder'."
            )
        return found
