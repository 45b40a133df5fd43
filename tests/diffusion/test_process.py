"""The arithmetic of diffusion against Diffusers' own scheduler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_cosine_schedule_with_warmup

from entropick.diffusion.optimization import OptimizationSettings
from entropick.diffusion.process import AncestralTable, NoiseTable, cumulative_alphas

CPU = torch.device("cpu")
SHAPE = (3, 1, 5, 4)


@pytest.fixture(scope="module")
def scheduler():
    """Diffusers' scheduler as the paper's code sets it, its table in float64 as ours is made."""
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=True)
    exact = torch.cumprod(1.0 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    torch.testing.assert_close(exact.float(), scheduler.alphas_cumprod, rtol=2e-5, atol=0)
    scheduler.alphas_cumprod, scheduler.one = exact, torch.tensor(1.0, dtype=torch.float64)
    return scheduler


def noise(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def test_noise_is_added_as_diffusers_adds_it(scheduler):
    table = NoiseTable.build(1000, CPU)
    x, eps = noise(0), noise(1)
    for t in range(0, 1000, 3):
        timestep = torch.tensor([t, 999 - t, (7 * t) % 1000])
        expected = scheduler.add_noise(x, eps, timestep)
        torch.testing.assert_close(table.add_noise(x, eps, timestep), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1000, 100, 50])
def test_every_ancestral_step_is_diffusers_step(scheduler, steps):
    table = AncestralTable.build(1000, steps, CPU)
    scheduler.set_timesteps(steps)
    assert table.timestep.tolist() == scheduler.timesteps.tolist()
    for index, t in enumerate(scheduler.timesteps):
        x, eps = noise(2 * index), noise(2 * index + 1)
        expected = scheduler.step(eps, t, x, generator=torch.Generator().manual_seed(7)).prev_sample.float()
        # At t = 0 the walk ends: Diffusers draws no noise there, and here its factor is 0.
        assert (table.sigma[index] == 0) == (t == 0)
        torch.testing.assert_close(table.step(index, x, eps, noise(7)), expected, rtol=1e-5, atol=1e-5)


def test_the_clip_of_the_estimate_matters_in_that_comparison(scheduler):
    table = AncestralTable.build(1000, 1000, CPU)
    x0 = table.from_x[0] * noise(0) - table.from_noise[0] * noise(1)
    assert x0.abs().max() > 1


@pytest.mark.parametrize("timesteps", [1000, 200, 50])
@pytest.mark.parametrize("steps", [1, 7, 30, 50, "all"])
def test_a_walk_descends_evenly_from_almost_pure_noise_to_the_image(timesteps, steps):
    steps = timesteps if steps == "all" else steps
    walk = AncestralTable.build(timesteps, steps, CPU).timestep
    assert len(walk) == steps
    assert walk[-1] == 0
    strides = -torch.diff(walk)
    if steps > 1:
        assert strides.min() >= 1
        assert strides.max() - strides.min() <= 1
        assert timesteps - walk[0] <= -(-timesteps // steps)
    assert cumulative_alphas(timesteps)[-1] < 1e-4


def test_a_longer_stride_is_the_exact_posterior():
    """Two steps of the full table in one, by the product of the two Gaussians of equation 4."""
    alphas = cumulative_alphas(1000)
    table = AncestralTable.build(1000, 100, CPU)
    t, s = alphas[500], alphas[490]
    index = table.timestep.tolist().index(500)
    precision = 1 / (1 - s) + (t / s) / (1 - t / s)
    assert float(table.sigma[index]) == pytest.approx(precision**-0.5, rel=1e-5)
    assert float(table.mean_x[index]) == pytest.approx(np.sqrt(t / s) / (1 - t / s) / precision, rel=1e-5)
    assert float(table.mean_x0[index]) == pytest.approx(np.sqrt(s) / (1 - s) / precision, rel=1e-5)


@pytest.mark.parametrize(("steps", "warmup"), [(300, 40), (50, 0), (20, 30), (1, 0)])
def test_the_learning_rate_is_diffusers_cosine_with_warmup(steps, warmup):
    settings = OptimizationSettings(
        steps=steps, warmup_steps=warmup, learning_rate=2e-3, weight_decay=0.0, clip_norm=1.0, ema=0.0
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    schedule = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps):
        assert settings.learning_rate_at(step) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9, abs=1e-15)
        optimizer.step()
        schedule.step()
