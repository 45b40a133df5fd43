"""An existing Diffusers pipeline as a generator that only samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from entropick.arrays import Images, check_choice, check_count
from entropick.diffusion.execution import PRECISIONS, Execution, check_precision, find_device
from entropick.diffusion.library import load_diffusers
from entropick.diffusion.sampling import Sampling, SamplingSettings
from entropick.diffusion.walks import SchedulerWalk
from entropick.errors import InputError
from entropick.generators.base import Generator
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")


@dataclass(kw_only=True)
class Pipeline(Generator):
    """An unconditional pipeline folder of Diffusers (`UNet2DModel` and a scheduler), trained by whomever.

    It samples with the streams, chunks and checkpoints of every generator here; `fit` refuses. Only safetensors are
    read, only from this folder.

    Parameters
    ----------
    path
        The folder, as `save_pretrained` or ``entropick export`` writes it.
    sampling_steps
        Steps of the folder's own scheduler.
    sampling_chunk, precision, device
        As in `DDPM`.
    """

    kind: ClassVar[str] = "pipeline"
    divisible: ClassVar[bool] = True
    path: str
    sampling_steps: int = 1000
    sampling_chunk: int = 256
    precision: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable or the folder holds another kind of pipeline."""
        for name in ("sampling_steps", "sampling_chunk"):
            check_count(getattr(self, name), name=name)
        check_choice(self.precision, PRECISIONS, name="precision")
        check_precision(self.precision, find_device(self.device))
        self._scheduler_name()

    def check_fits(self, image_shape: tuple[int, int, int]) -> None:
        """Raise InputError: a pipeline learns no images of any shape."""
        self._refuse()

    def fit(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        *,
        stream: RandomStream | None = None,
        work: Work | None = None,
    ) -> Self:
        """Raise InputError: a loop trains its generators from scratch."""
        self._refuse()

    def sample(self, n_images: int, *, stream: RandomStream | None = None, work: Work | None = None) -> Images:
        """Images as the pipeline makes them; see `Generator.sample`."""
        self.check()
        check_count(n_images, name="n_images")
        unet, device = self._unet(), find_device(self.device)
        scheduler = self._load(self._scheduler_name(), "scheduler")
        settings = SamplingSettings(
            image_shape=_image_shape(unet),
            chunk_size=self.sampling_chunk,
            # A scheduler remembers its walk: each walk gets one of its own.
            new_walk=lambda random: SchedulerWalk(
                type(scheduler).from_config(scheduler.config), self.sampling_steps, random
            ),
        )
        width = unet.config.block_out_channels[0]
        execution = Execution.choose(device, self.precision, "unet", width).uncaptured()
        network = _Plain(unet).to(device)
        sampling = Sampling(settings, network, stream=stream or RandomStream(stage="sample"), execution=execution)
        images = sampling.run(n_images, work or Work())
        self.sampling_values_ = sampling.values()
        return images

    def state(self) -> tuple[Arrays, State]:
        """Where the model is: there is nothing fitted to write down."""
        return {}, {"path": str(self.path)}

    def restore(self, arrays: dict[str, NDArray[Any]], state: State) -> Self:
        """Nothing to take: the folder is the model."""
        return self

    def sampling_values(self) -> dict[str, Any]:
        """How the last sample was computed, if not plainly."""
        return getattr(self, "sampling_values_", {})

    def _refuse(self) -> NoReturn:
        raise InputError(
            "generator: a pipeline only samples, but here one was to be trained. Use DDPM for loops, and "
            "Pipeline(path=...).sample(n) to sample what others have trained."
        )

    def _scheduler_name(self) -> str:
        """The folder's scheduler; InputError unless the folder is what is expected."""
        index = Path(self.path) / "model_index.json"
        try:
            parts = json.loads(index.read_text(encoding="utf-8"))
            unet, scheduler = parts["unet"], parts["scheduler"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{index}: expected an unconditional pipeline of Diffusers ({error!r}).") from None
        if unet != ["diffusers", "UNet2DModel"] or scheduler not in [["diffusers", name] for name in _SCHEDULERS]:
            raise InputError(
                f"{index}: expected a UNet2DModel and one of {', '.join(_SCHEDULERS)}, got {unet} and {scheduler}."
            )
        return str(scheduler[1])

    def _unet(self) -> Any:
        unet = self._load("UNet2DModel", "unet")
        if unet.class_embedding is not None or unet.config.in_channels != unet.config.out_channels:
            raise InputError(
                f"{self.path}: expected a network of images alone; this one wants classes or other inputs."
            )
        return unet

    def _load(self, name: str, folder: str) -> Any:
        options = {"use_safetensors": True, "low_cpu_mem_usage": False} if folder == "unet" else {}
        try:
            return getattr(load_diffusers(), name).from_pretrained(
                self.path, subfolder=folder, local_files_only=True, **options
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{Path(self.path) / folder}: expected a {name} in safetensors ({error}).") from None


class _Plain(nn.Module):
    """A `UNet2DModel` as the sampler asks it."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, timestep: Tensor, classes: Tensor | None = None) -> Tensor:
        """The noise in `x`."""
        predicted: Tensor = self.unet(x.to(self.unet.dtype), timestep, return_dict=False)[0]
        return predicted


def _image_shape(unet: Any) -> tuple[int, int, int]:
    size = unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width), int(unet.config.in_channels)
