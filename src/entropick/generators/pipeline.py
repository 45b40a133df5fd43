"""Diffusers' pipelines: an existing one as a generator that only samples, and our models written as one."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from entropick.arrays import Images, check_choice, check_count
from entropick.diffusion.execution import PRECISIONS, Execution, check_precision
from entropick.diffusion.networks import PaddedUNet, UNet, Velocity
from entropick.diffusion.process import VELOCITY, SchedulerWalk, linear_betas
from entropick.diffusion.sampling import Sampling, SamplingSettings
from entropick.errors import InputError, StorageError, shown
from entropick.generators.base import Generator
from entropick.generators.ddpm import DDPM
from entropick.processes.hardware import usable_device
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

# Where Diffusers has what is loaded here: importing all of it takes seconds.
_MODULES = {
    "UNet2DModel": "diffusers.models.unets.unet_2d",
    "DDPMScheduler": "diffusers.schedulers.scheduling_ddpm",
    "DDIMScheduler": "diffusers.schedulers.scheduling_ddim",
    "DPMSolverMultistepScheduler": "diffusers.schedulers.scheduling_dpmsolver_multistep",
}
_SCHEDULERS = tuple(name for name in _MODULES if name != "UNet2DModel")
_CARD = """---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [diffusion, entropick]
---

# {title}

A denoising diffusion model trained from scratch by entropick in a self-consuming loop. It makes images of
{height} x {width} pixels with {channels} channel(s).

```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("FOLDER")
images = pipeline(batch_size=16, num_inference_steps={sampling_steps}).images
```

| fact | value |
| --- | --- |
{facts}

A model of a late iteration was trained on images that earlier models had made, and may copy its training images.
"""


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
        check_precision(self.precision, torch.device(usable_device(self.device, kinds=None)))
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
        unet, device = self._unet(), torch.device(usable_device(self.device, kinds=None))
        scheduler = self._load(self._scheduler_name(), "scheduler")
        settings = SamplingSettings(
            image_shape=_image_shape(unet),
            chunk_size=self.sampling_chunk,
            # A scheduler remembers its walk: each walk gets one of its own.
            new_walk=lambda random: SchedulerWalk(
                type(scheduler).from_config(scheduler.config), self.sampling_steps, random
            ),
        )
        # Another's network knows nothing of our kernels, and its scheduler remembers steps on the host.
        ways = [
            dataclasses.replace(way, fused=False, captured=False)
            for way in Execution.ways(device, self.precision, "unet")
        ]
        network = _Plain(unet).to(device)
        sampling = Sampling(settings, network, stream=stream or RandomStream(stage="sample"), ways=ways)
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
            raise InputError(f"{index}: expected an unconditional pipeline of Diffusers ({shown(error)}).") from None
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
        kind = getattr(importlib.import_module(_MODULES[name]), name)
        try:
            return kind.from_pretrained(self.path, subfolder=folder, local_files_only=True, **options)
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


def save_pipeline(model: DDPM, folder: Path, *, title: str, facts: Mapping[str, Any]) -> None:
    """Write a trained model as a folder that `DDPMPipeline.from_pretrained` loads, with a card: all of it or nothing.

    Parameters
    ----------
    model
        A fitted, unconditional U-Net for images whose sides its stages halve evenly.
    folder
        A folder that does not exist yet, or is empty.
    title, facts
        For the card.

    Raises
    ------
    InputError
        Diffusers' pipeline has no place for such a model, or the folder is not empty.
    StorageError
        The folder cannot be written.
    """
    network = _exportable(model)
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: expected a new or empty folder. Give another one.")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _pipeline(network, model).save_pretrained(partial, safe_serialization=True)
        (partial / "README.md").write_text(_card(model, title, facts), encoding="utf-8")
        partial.replace(folder)
    except OSError as error:
        raise StorageError(f"could not write {folder}: {error.strerror or error}. Give another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exportable(model: DDPM) -> PaddedUNet:
    """The U-Net of a model; InputError if a plain pipeline cannot sample it."""
    model.state()  # refuses a model that is not fitted
    network = model.network_.network if isinstance(model.network_, Velocity) else model.network_
    if not isinstance(network, PaddedUNet):
        raise InputError(
            f"network: expected 'unet', got {shown(model.network)}. Diffusers has no pipeline for a perceptron."
        )
    if model.patch > 1:
        raise InputError(
            f"patch: expected 1, got {model.patch}. Diffusers' DDPMPipeline does not cut images into patches."
        )
    if model.conditional:
        raise InputError(
            "conditional: Diffusers' DDPMPipeline tells a network no class. Export an unconditional model."
        )
    if any(side % network.multiple for side in model.image_shape_[:2]):
        raise InputError(
            f"image_shape: expected sides that are multiples of {network.multiple}, got {model.image_shape_}. This "
            "network pads its images inside, which a pipeline does not."
        )
    return network


def as_diffusers(unet: UNet, sample_size: tuple[int, int]) -> Any:
    """A `UNet2DModel` with these weights, for images of this height and width."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    n_stages = len(unet.widths)
    down = ["AttnDownBlock2D" if stage == n_stages - 2 else "DownBlock2D" for stage in range(n_stages)]
    up = ["AttnUpBlock2D" if stage == n_stages - 2 else "UpBlock2D" for stage in reversed(range(n_stages))]
    theirs: Any = UNet2DModel(
        sample_size=sample_size,
        in_channels=unet.conv_in.in_channels,
        out_channels=unet.conv_in.in_channels,
        layers_per_block=unet.depth,
        block_out_channels=unet.widths,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        norm_num_groups=unet.conv_norm_out.num_groups,
        num_class_embeds=unet.class_embedding.num_embeddings if unet.class_embedding else None,
    )
    theirs.load_state_dict(unet.state_dict())
    return theirs


def _pipeline(network: PaddedUNet, model: DDPM) -> Any:
    unet = as_diffusers(network.unet, model.image_shape_[:2])
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    # Diffusers' own linear betas are those of 1000 timesteps; fewer take larger ones, which it must be told.
    betas = None if model.timesteps == 1000 else linear_betas(model.timesteps).tolist()
    scheduler = DDPMScheduler(
        num_train_timesteps=model.timesteps,
        beta_schedule="linear",
        trained_betas=betas,
        variance_type="fixed_small",
        clip_sample=True,
        prediction_type="v_prediction" if model.predicts == VELOCITY else "epsilon",
    )
    return DDPMPipeline(unet=unet, scheduler=scheduler)


def _card(model: DDPM, title: str, facts: Mapping[str, Any]) -> str:
    height, width, channels = model.image_shape_
    rows = {**facts, **{f"`{name}`": value for name, value in model.describe().items()}}
    return _CARD.format(
        title=title,
        height=height,
        width=width,
        channels=channels,
        sampling_steps=model.sampling_steps,
        facts="\n".join(f"| {name} | {_cell(value)} |" for name, value in rows.items()),
    )


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
