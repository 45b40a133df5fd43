"""The process that a denoising diffusion model reverses: how noise is added, and the ways back from it to an image.

Ho, Jain, Abbeel: "Denoising Diffusion Probabilistic Models", NeurIPS 2020; equation numbers below are theirs. Every
coefficient is computed once, in float64.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SAMPLERS = ("ddpm", "ddim", "dpm-solver++")
# What a network may tell of an image between noise and x_0.
PREDICTIONS = NOISE, VELOCITY = "noise", "velocity"
_FIRST_BETA, _LAST_BETA = 1e-4, 0.02


def linear_betas(timesteps: int) -> NDArray[np.float64]:
    """The variance that each timestep adds, float64 ``(timesteps,)``, rising linearly from 1e-4 to 0.02.

    Fewer than 1000 timesteps take proportionally larger betas, so that the last one is still almost pure noise.
    """
    betas = np.linspace(_FIRST_BETA, _LAST_BETA, timesteps) * (1000 / timesteps)
    return np.minimum(betas, 0.999).astype(np.float64)


def cumulative_alphas(timesteps: int) -> NDArray[np.float64]:
    """alpha-bar of each timestep, float64 ``(timesteps,)``."""
    return np.cumprod(1.0 - linear_betas(timesteps)).astype(np.float64)


@dataclass(frozen=True)
class NoiseTable:
    """Coefficients of q(x_t | x_0), equation 4: float32 ``(timesteps,)`` each, on the device of training."""

    signal: Tensor
    noise: Tensor

    @classmethod
    def build(cls, timesteps: int, device: torch.device | None = None) -> NoiseTable:
        """The table of all timesteps, on torch's device of the moment if none is given."""
        alphas = cumulative_alphas(timesteps)
        return cls(_float32(np.sqrt(alphas), device), _float32(np.sqrt(1.0 - alphas), device))

    def add_noise(self, x: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """x_t for images ``(b, c, h, w)``. Always float32: half precision would lose the noise of the first steps."""
        shape = (-1, 1, 1, 1)
        return self.signal[timestep].view(shape) * x + self.noise[timestep].view(shape) * noise


class Walk(Protocol):
    """A descending walk over timesteps. The paper's is `AncestralTable`."""

    @property
    def timestep(self) -> Tensor:
        """int64 ``(steps,)``, the noisiest first, on the device of sampling."""

    @property
    def draws_noise(self) -> bool:
        """Whether `step` wants noise, and is a pure function of its arguments that a graph can hold."""

    def step(self, index: Any, x: Tensor, predicted_noise: Tensor, noise: Any) -> Tensor:
        """The images after step `index`, from 0, which a graph gives as a tensor; shapes are those of a whole chunk."""


@dataclass(frozen=True)
class AncestralTable:
    """Coefficients of p(x_s | x_t) for a descending walk over timesteps, equations 7, 11 and 15; float32 ``(steps,)``.

    Fewer steps than timesteps are spread as evenly as can be, and each is the exact posterior of its longer stride.
    """

    draws_noise: ClassVar[bool] = True

    timestep: Tensor
    from_x: Tensor
    from_noise: Tensor
    mean_x0: Tensor
    mean_x: Tensor
    sigma: Tensor

    @classmethod
    def build(cls, timesteps: int, steps: int, device: torch.device) -> AncestralTable:
        """The table for `steps` evenly spaced timesteps, the last of them 0."""
        walk = (np.arange(steps) * timesteps // steps)[::-1]
        alphas = cumulative_alphas(timesteps)
        alpha = alphas[walk]
        before = np.append(alphas[walk[1:]], 1.0)
        kept = alpha / before
        variance = (1.0 - before) / (1.0 - alpha) * (1.0 - kept)
        columns = (
            np.sqrt(1.0 / alpha),
            np.sqrt(1.0 / alpha - 1.0),
            np.sqrt(before) * (1.0 - kept) / (1.0 - alpha),
            np.sqrt(kept) * (1.0 - before) / (1.0 - alpha),
            np.sqrt(variance),
        )
        timestep = torch.from_numpy(walk.copy()).to(device)
        return cls(timestep, *(_float32(column, device) for column in columns))

    def __len__(self) -> int:
        return len(self.timestep)

    def step(self, index: int | Tensor, x: Tensor, predicted_noise: Tensor, noise: Tensor) -> Tensor:
        """One ancestral step of the walk; the estimate of x_0 is clipped to [-1, 1], as the paper's sampler does.

        `index` counts steps, 0 being the noisiest; on a GPU a tensor ``(1,)``, so that nothing waits for the host.
        """
        x0 = (self.from_x[index] * x - self.from_noise[index] * predicted_noise).clamp_(-1.0, 1.0)
        return self.mean_x0[index] * x0 + self.mean_x[index] * x + self.sigma[index] * noise


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
    settings = {"num_train_timesteps": timesteps, "trained_betas": linear_betas(timesteps)}
    if sampler == "ddim":
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        return DDIMScheduler(**settings, clip_sample=True)
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(**settings, solver_order=2, algorithm_type="dpmsolver++")


def _float32(values: NDArray[np.float64], device: torch.device | None) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)
