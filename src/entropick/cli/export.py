"""``entropick export``: a trained model of a run as a Diffusers pipeline folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from entropick.cli.flags import check_directory
from entropick.config import build
from entropick.errors import ConfigError
from entropick.run import Entry, History


@dataclass
class Export:
    """Write a trained model as a folder that Diffusers loads.

    DDPMPipeline.from_pretrained reads the folder. A model card lies beside it.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run directory, such as runs/NAME/arms/ARM/seed-0."""
    iteration: int
    """Which iteration's model."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder to write; new or empty."""

    def execute(self) -> int:
        """Write and say where."""
        check_directory(self.out, flag="--out")
        history = History(self.run)
        train = history.find(self.iteration, "train")
        if train is None:
            raise ConfigError(f"--iteration: {self.run} has no trained model of iteration {self.iteration}.")
        generator = build("generator", history.config["generator"], where="generator")
        from entropick.generators import DDPM, save_pipeline

        if not isinstance(generator, DDPM):
            raise ConfigError(f"{self.run}: expected a run with generator 'ddpm', got {generator.kind!r}.")
        generator.set_params(device="cpu")
        model = generator.restore(
            *(history.load(self.iteration, f"model.{suffix}") for suffix in ("safetensors", "json"))
        )
        save_pipeline(model, self.out, title=f"Iteration {self.iteration}", facts=_facts(history, train))
        Console(soft_wrap=True, highlight=False, markup=False).print(f"pipeline: {self.out}")
        return 0


def _facts(history: History, train: Entry) -> dict[str, Any]:
    """What the ledger knows of the model."""
    select, measure = (history.find(train.iteration, stage) for stage in ("select", "measure"))
    return {
        "iteration of the loop": train.iteration,
        "training images": train.values["n_images"],
        "share of real images": select.values["shares"].get("0", 0.0) if select else "unknown",
        "seed": history.config["seed"],
        **{name.replace("_", " "): value for name, value in train.values.items() if name != "n_images"},
        "ledger seal": train.check,
        **(measure.values["metrics"] if measure else {}),
    }
