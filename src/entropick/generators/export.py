"""A trained model as a folder that Diffusers' `DDPMPipeline.from_pretrained` loads, with a model card beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entropick.diffusion.diffusion import linear_betas
from entropick.diffusion.library import load_diffusers
from entropick.diffusion.networks import PaddedUNet
from entropick.errors import InputError, StorageError
from entropick.generators.ddpm import DDPM

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


def save_pipeline(model: DDPM, folder: Path, *, title: str, facts: Mapping[str, Any]) -> None:
    """Write `folder`: all of it or nothing.

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
    unet = _exportable(model)
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: expected a new or empty folder. Give another one.")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _pipeline(unet, model).save_pretrained(partial, safe_serialization=True)
        (partial / "README.md").write_text(_card(model, title, facts), encoding="utf-8")
        partial.replace(folder)
    except OSError as error:
        raise StorageError(f"could not write {folder}: {error.strerror or error}. Give another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exportable(model: DDPM) -> Any:
    """The Diffusers network inside a model; InputError if a plain pipeline cannot sample it."""
    model.state()  # refuses a model that is not fitted
    network = model.network_
    if not isinstance(network, PaddedUNet):
        raise InputError(
            f"network: expected 'unet', got {model.network!r}. Diffusers has no pipeline for a perceptron."
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
    return network.unet


def _pipeline(unet: Any, model: DDPM) -> Any:
    diffusers = load_diffusers()
    # Diffusers' own linear betas are those of 1000 timesteps; fewer take larger ones, which it must be told.
    betas = None if model.timesteps == 1000 else linear_betas(model.timesteps).tolist()
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=model.timesteps,
        beta_schedule="linear",
        trained_betas=betas,
        variance_type="fixed_small",
        clip_sample=True,
        prediction_type="epsilon",
    )
    return diffusers.DDPMPipeline(unet=unet, scheduler=scheduler)


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
