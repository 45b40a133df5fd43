"""The ways from noise to an image: which timesteps a sampler visits, and what it does at each."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from entropick.diffusion.diffusion import linear_betas
from entropick.diffusion.library import load_diffusers

SAMPLERS = ("ddpm", "ddim", "dpm-solver++")


class Walk(Protocol):
    """A descending walk over timesteps. The paper's is `diffusion.AncestralTable`."""

    @property
    def timestep(self) -> Tensor:
        """int64 ``(steps,)``, the noisiest first, on the device of sampling."""

    @property
    def draws_noise(self) -> bool:
        """Whether `step` wants noise, and is a pure function of its arguments that a graph can hold."""

    def step(self, index: Any, x: Tensor, predicted_noise: Tensor, noise: Any) -> Tensor:
        """The images after step `index`, from 0, which a graph gives as a tensor; shapes are those of a whole chunk."""


class SchedulerWalk:
    """A walk of one of Diffusers' schedulers, which remember the last steps: one object for one walk."""

    draws_noise: ClassVar[bool] = False

    def __init__(self, scheduler: Any, steps: int, random: torch.Generator) -> None:
        with warnings.catch_warnings():
            # Diffusers hands tensors to NumPy in a way that NumPy no longer likes; the numbers are right.
            warnings.simplefilter("ignore", DeprecationWarning)
            scheduler.set_timesteps(steps)
        self._scheduler = scheduler
        self._random = random
        self._timesteps = [int(timestep) for timestep in scheduler.timesteps]
        self.timestep = torch.tensor(self._timesteps, device=random.device)

    def step(self, index: int, x: Tensor, predicted_noise: Tensor, noise: Tensor | None) -> Tensor:
        """One step as the scheduler takes it, with noise of its own if it wants any."""
        timestep = self._timesteps[index]
        stepped: Tensor = self._scheduler.step(predicted_noise, timestep, x, generator=self._random).prev_sample
        return stepped


def preview_scheduler(sampler: str, timesteps: int) -> Any:
    """Diffusers' DDIM (eta 0) or DPM-Solver++ (2M) for the betas that we train with.

    Both take far fewer steps and draw from another distribution than the ancestral walk: for a look, not for a result.
    """
    diffusers = load_diffusers()
    settings = {"num_train_timesteps": timesteps, "trained_betas": linear_betas(timesteps)}
    if sampler == "ddim":
        return diffusers.DDIMScheduler(**settings, clip_sample=True)
    return diffusers.DPMSolverMultistepScheduler(**settings, solver_order=2, algorithm_type="dpmsolver++")
