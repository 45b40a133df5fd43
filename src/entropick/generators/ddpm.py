"""Denoising diffusion: the paper's generator, trained from scratch and sampled by the full ancestral walk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from entropick.arrays import Images, check_choice, check_count, check_images, check_real
from entropick.errors import InputError
from entropick.generators.base import Generator
from entropick.generators.diffusion import AncestralTable
from entropick.generators.networks import build_network, check_network, unet_stages
from entropick.generators.training import Training
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

_NETWORKS = ("unet", "mlp")
_PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(kw_only=True)
class DDPM(Generator):
    """Denoising diffusion probabilistic model (Ho et al. 2020) with the settings of Shi et al. 2025, section 5.

    Epsilon-prediction, linear betas, AdamW, cosine learning rate with warm-up, ancestral sampling. The defaults are the
    paper's CIFAR-10 settings; a small image set on a CPU wants ``network="mlp"`` and far fewer steps.

    Parameters
    ----------
    network
        ``"unet"``: Diffusers' `UNet2DModel` in the paper's layout; ``"mlp"``: a residual perceptron over pixels.
    width
        Channels of the U-Net's first stage, or the width of the perceptron.
    depth
        Layers per U-Net stage, or residual blocks of the perceptron.
    steps
        Gradient steps; the same budget at every training-set size.
    batch_size, learning_rate, warmup_steps, weight_decay, clip_norm
        Optimisation; `clip_norm` bounds the norm of the whole gradient.
    ema
        Decay of the exponential moving average of the weights that is sampled from; 0 samples the last weights, as the
        paper does.
    timesteps, sampling_steps
        Noise levels in training, and how many of them the sampler visits (all of them in the paper).
    sampling_chunk
        Images that share one random stream; part of the result's identity, unlike the memory it takes.
    precision
        ``"float32"``, ``"bfloat16"`` (autocast), or ``"auto"``: bfloat16 on CUDA and on processors with matrix tiles
        (AMX), else float32.
    device
        A torch device, or ``"auto"``: CUDA where there is one.

    Examples
    --------
    >>> images = np.zeros((32, 8, 8, 1), np.uint8)
    >>> model = DDPM(network="mlp", width=16, depth=1, steps=2, sampling_steps=2).fit(images)
    >>> model.sample(5).shape
    (5, 8, 8, 1)
    """

    kind: ClassVar[str] = "ddpm"
    network: str = "unet"
    width: int = 48
    depth: int = 2
    steps: int = 128_000
    batch_size: int = 128
    learning_rate: float = 1e-4
    warmup_steps: int = 500
    weight_decay: float = 1e-6
    clip_norm: float = 1.0
    ema: float = 0.0
    timesteps: int = 1000
    sampling_steps: int = 1000
    sampling_chunk: int = 256
    precision: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_choice(self.network, _NETWORKS, name="network")
        check_choice(self.precision, _PRECISIONS, name="precision")
        for name in ("width", "depth", "steps", "batch_size", "timesteps", "sampling_steps", "sampling_chunk"):
            check_count(getattr(self, name), name=name)
        check_count(self.warmup_steps, name="warmup_steps", minimum=0)
        for name in ("learning_rate", "clip_norm"):
            check_real(getattr(self, name), name=name, above=0.0)
        check_real(self.weight_decay, name="weight_decay", above=-1e-300)
        check_real(self.ema, name="ema", above=-1e-300, below=1.0)
        if self.sampling_steps > self.timesteps:
            raise InputError(
                f"sampling_steps: expected at most timesteps = {self.timesteps}, got {self.sampling_steps}."
            )
        check_network(self.network, width=self.width)
        self._device()

    def check_fits(self, image_shape: tuple[int, int, int]) -> None:
        """Raise InputError if the network cannot take images of this shape."""
        if self.network == "unet":
            unet_stages(image_shape)

    def fit(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Self:
        """Train on uint8 images ``(n, h, w, c)``; see `Generator.fit`.

        Raises
        ------
        TrainingDiverged
            The loss became NaN or infinite.
        """
        self.check()
        images = check_images(images)
        stream, work = stream or RandomStream(stage="train"), work or Work()
        self.image_shape_ = images.shape[1:]
        self.check_fits(self.image_shape_)
        device = self._device()
        network = self._build(stream.integer(chunk=0)).to(device)
        training = Training(self, network, torch.tensor(images).to(device), stream=stream, autocast=self._autocast())
        training.run(work)
        self.network_, self.final_loss_ = training.averaged_network(), training.final_loss
        return self

    def sample(self, n_images: int, *, stream: RandomStream | None = None, work: Work | None = None) -> Images:
        """Walk from noise to images; see `Generator.sample`."""
        self._require_fitted("network_")
        check_count(n_images, name="n_images")
        stream, work = stream or RandomStream(stage="sample"), work or Work()
        sampled = np.empty((n_images, *self.image_shape_), np.uint8)
        if saved := work.load("sampled"):
            sampled[: len(saved[0]["images"])] = saved[0]["images"]
        n_done = len(saved[0]["images"]) if saved else 0
        for chunk, start in self._chunks(n_done, n_images):
            part = sampled[start : start + self.sampling_chunk]
            part[:] = self._sample_chunk(len(part), stream.integer(chunk), work, done=start, total=n_images)
            if work.due() and start + len(part) < n_images:
                work.save("sampled", {"images": sampled[: start + len(part)]}, {})
        return sampled

    def state(self) -> tuple[Arrays, State]:
        """The weights that are sampled from, and the image shape."""
        self._require_fitted("network_")
        weights = {name: value.cpu().numpy() for name, value in self.network_.state_dict().items()}
        return weights, {"image_shape": list(self.image_shape_)}

    def restore(self, arrays: dict[str, NDArray[Any]], state: State) -> Self:
        """Build the network and take the weights."""
        height, width, channels = state["image_shape"]
        self.image_shape_ = (height, width, channels)
        network = self._build(0)
        network.load_state_dict({name: torch.tensor(value) for name, value in arrays.items()})
        self.network_ = network.to(self._device()).eval().requires_grad_(False)
        return self

    def training_values(self) -> dict[str, Any]:
        """Steps, parameters and the final loss (mean over the last steps)."""
        n_parameters = sum(parameter.numel() for parameter in self.network_.parameters())
        return {"n_steps": self.steps, "n_parameters": n_parameters, "final_loss": self.final_loss_}

    def _chunks(self, n_done: int, n_images: int) -> Iterator[tuple[int, int]]:
        """(chunk number, first image) of the chunks that are still to be sampled."""
        starts = range(n_done, n_images, self.sampling_chunk)
        return ((start // self.sampling_chunk, start) for start in starts)

    @torch.inference_mode()
    def _sample_chunk(self, n: int, seed: int, work: Work, *, done: int, total: int) -> NDArray[np.uint8]:
        device = self._device()
        table = AncestralTable.build(self.timesteps, self.sampling_steps, device)
        random = torch.Generator(device).manual_seed(seed)
        height, columns, channels = self.image_shape_

        def draw() -> Tensor:
            # A whole chunk of noise is always drawn, so that image i is the same however many are asked for.
            return torch.randn(self.sampling_chunk, channels, height, columns, generator=random, device=device)[:n]

        x = draw()
        for index in range(len(table)):
            with self._autocast():
                predicted = self.network_(x, table.timestep[index].expand(n))
            is_last = index + 1 == len(table)
            x = table.step(index, x, predicted.float(), torch.zeros_like(x) if is_last else draw())
            work.progress(done + n * (index + 1) // len(table), total)
        pixels = ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def _build(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_network(self.network, width=self.width, depth=self.depth, image_shape=self.image_shape_)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            return torch.empty(0, device=self.device).device
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"device: expected a usable torch device or 'auto', got {self.device!r} ({error})."
            ) from None

    def _autocast(self) -> torch.autocast:
        device = self._device()
        has_tiles = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
        use_bfloat16 = self.precision == "bfloat16" or (self.precision == "auto" and has_tiles)
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bfloat16)
