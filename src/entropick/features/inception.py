"""The Inception network of the original FID."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from entropick import arrays
from entropick.component import require
from entropick.errors import InputError
from entropick.features.network import Network, NetworkFeatures, hash_of

_FILE = "weights-inception-2015-12-05-6726825d.pth"
# Of the weights that TensorFlow's graph of 2015-12-05 was converted to; the file's name has its first digits.
_ORIGINAL = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_LAYER = "2048"
_PACKAGE = "torch_fidelity"
_ADVICE = (
    'Where there is a network, run\n  python -c "from torch_fidelity.feature_extractor_inceptionv3 import '
    "FeatureExtractorInceptionV3 as F; F('inception', ['2048'])\"\n"
    f"which puts {_FILE} into torch's cache. For another machine bring that file over, and give it as "
    '--features \'{kind = "inception", path = "FILE"}\' (features={"kind": "inception", "path": "FILE"}).'
)


@dataclass(kw_only=True)
class Inception(NetworkFeatures):
    """The 2048 pooled features of the InceptionV3 that FID was defined with (Heusel et al. 2017, arXiv 1706.08500).

    Network, weights and the resize to 299 x 299 in TensorFlow's manner are those of the package torch-fidelity:
    ``pip install '.[fid]'`` in a checkout. A Frechet distance may be called FID in this space only, and only with the
    original weights: with others, `name` says so.

    Parameters
    ----------
    path
        The file of weights in torch-fidelity's format; None looks in torch's cache. Nothing is ever downloaded.
        It is read as tensors only: a file that wants to run code is refused.
    device
        "cpu", "cuda", or "auto" for a GPU where there is one.
    """

    kind: ClassVar[str] = "inception"
    path: str | None = None

    @property
    def name(self) -> str:
        """``"inception"`` for the original weights, ``"inception-"`` and a hash for others."""
        try:
            sha256 = self.weights()
        except InputError:
            return "inception"
        return "inception" if sha256 == _ORIGINAL else f"inception-{sha256[:8]}"

    def check(self) -> None:
        """Raise InputError for missing weights, MissingDependency without torch-fidelity."""
        _extractor()
        super().check()

    def weights(self) -> str:
        """The sha256 (hexadecimal) of the file of weights."""
        return hash_of(self._file())

    def width(self, shape: tuple[int, ...]) -> int:
        """2048, whatever the shape."""
        return int(_LAYER)

    def load(self, device: Any) -> Network:
        """torch-fidelity's extractor."""
        import torch

        file = self._file()
        extractor = _extractor()
        try:
            # torch-fidelity unpickles what it is given. So it is given what was read as tensors only.
            safe = io.BytesIO()
            torch.save(torch.load(file, map_location="cpu", weights_only=True), safe)
            safe.seek(0)
            model = extractor("inception", [_LAYER], feature_extractor_weights_path=safe)
        except Exception as error:
            raise InputError(
                f"inception: expected torch-fidelity's weights in {file}, but {error}. {_ADVICE}"
            ) from error
        model = model.to(device)
        resize = require(f"{_PACKAGE}.interpolate_compat_tensorflow", extra="fid", wanted_by="inception")
        side = model.INPUT_IMAGE_SIZE

        def prepare(image: arrays.Images) -> Any:
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(torch.float32)
            return resize.interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(side, side), align_corners=False)[0]

        def forward(batch: Any) -> Any:
            # The extractor takes bytes, of one size, and resizes them itself. These are resized, so they are put in
            # where its first convolution begins, in the place of what it makes of the bytes.
            bytes_of_one = torch.zeros((1, 3, side, side), dtype=torch.uint8, device=batch.device)
            ready = model.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, given: ((batch - 128) / 128,))
            try:
                return model(bytes_of_one)[0]
            finally:
                ready.remove()

        return Network(prepare, forward)

    def _file(self) -> Path:
        import torch

        cached = Path(torch.hub.get_dir()) / "checkpoints" / _FILE
        file = cached if self.path is None else Path(self.path).expanduser()
        if not file.is_file():
            raise InputError(f"inception: expected the weights at {self.path or cached}, but there is none. {_ADVICE}")
        return file


def _extractor() -> Any:
    module = require(f"{_PACKAGE}.feature_extractor_inceptionv3", extra="fid", wanted_by="inception")
    return module.FeatureExtractorInceptionV3
