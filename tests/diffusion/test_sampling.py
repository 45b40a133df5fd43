"""Sampling: walks against Diffusers' own, memory that runs out, and what a sample does not depend on."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from interruptions import with_interruptions
from planted import SAMPLE, fitted, tiny

from entropick.diffusion.chunk import Prediction
from entropick.diffusion.networks import ResidualMLP
from entropick.errors import EntropickWarning

BETAS = np.linspace(1e-4, 0.02, 1000)
THEIRS = {
    "ddpm": lambda: DDPMScheduler(1000, trained_betas=BETAS, clip_sample=True),
    "ddim": lambda: DDIMScheduler(1000, trained_betas=BETAS, clip_sample=True),
    "dpm-solver++": lambda: DPMSolverMultistepScheduler(1000, trained_betas=BETAS, solver_order=2),
}


@pytest.fixture(scope="module")
def model():
    return fitted(steps=200)


def plain_loop(model, scheduler, steps, seed, n):
    """Sampling as Diffusers' pipelines do it, the noise drawn in the order in which we draw."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn((n, 1, 6, 6), generator=random)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        predicted = model.network_(x, t.expand(n))
        x = scheduler.step(predicted, t, x, generator=random).prev_sample
    return ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("sampler", THEIRS)
def test_every_sampler_gives_the_images_of_a_plain_diffusers_loop(model, sampler):
    ours = tiny(sampler=sampler, sampling_steps=25).restore(*model.state()).sample(8, stream=SAMPLE)
    theirs = plain_loop(model, THEIRS[sampler](), 25, SAMPLE.integer(0), 8)
    # Their tables are float32 all along, ours float64 until the end.
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.1


def test_the_samplers_differ_and_the_description_names_them(model):
    sampled = {}
    for sampler in THEIRS:
        generator = tiny(sampler=sampler).restore(*model.state())
        sampled[sampler] = generator.sample(8, stream=SAMPLE).tobytes()
        assert generator.describe()["sampler"] == sampler
    assert len(set(sampled.values())) == 3


@pytest.mark.parametrize("sampler", THEIRS)
@pytest.mark.parametrize("n", [1, 13])
def test_image_i_does_not_depend_on_how_many_are_asked_for(model, sampler, n):
    generator = tiny(sampler=sampler).restore(*model.state())
    many = generator.sample(24, stream=SAMPLE).astype(int)
    assert np.abs(generator.sample(n, stream=SAMPLE) - many[:n]).max() <= 1


def small_memory(monkeypatch, most, error):
    """Let the perceptron take no more than `most` images at a time."""
    forward, sizes = ResidualMLP.forward, []

    def limited(self, x, *args):
        if len(x) > most:
            raise error
        sizes.append(len(x))
        return forward(self, x, *args)

    monkeypatch.setattr(ResidualMLP, "forward", limited)
    return sizes


OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "processor": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
}


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_when_memory_runs_out_a_chunk_is_computed_in_parts(model, monkeypatch, error):
    expected = model.sample(21, stream=SAMPLE).astype(int)
    sizes = small_memory(monkeypatch, 3, OUT_OF_MEMORY[error])
    with pytest.warns(EntropickWarning, match="out of memory; a chunk is computed in 4 parts"):
        sampled = model.sample(21, stream=SAMPLE)
    assert max(sizes) == 2 and model.sampling_values() == {"computed_in_parts": 4}
    assert np.abs(sampled - expected).max() <= 1
    assert (sampled != expected).mean() < 0.02


def test_parts_survive_an_interruption(model, monkeypatch):
    small_memory(monkeypatch, 3, OUT_OF_MEMORY["cuda"])
    with pytest.warns(EntropickWarning):
        expected = model.sample(40, stream=SAMPLE)
        sampled, _ = with_interruptions(lambda work: model.sample(40, stream=SAMPLE, work=work), 1, 3)
    np.testing.assert_array_equal(sampled, expected)
    assert model.sampling_values() == {"computed_in_parts": 4}


def test_where_not_even_one_image_fits_that_is_the_end_of_it(model, monkeypatch):
    small_memory(monkeypatch, 0, OUT_OF_MEMORY["cuda"])
    with pytest.raises(torch.OutOfMemoryError):
        model.sample(8, stream=SAMPLE)


def test_another_error_is_not_taken_for_want_of_memory(model, monkeypatch):
    small_memory(monkeypatch, 3, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        model.sample(8, stream=SAMPLE)


def test_guidance_is_equation_6_of_ho_and_salimans():
    def network(x, timestep, classes):
        return x * 0 + classes.view(-1, 1, 1, 1).float()

    x, classes = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 4])
    for w in (0.0, 0.5, 3.0):
        predicted = Prediction(network, guidance=w, untold_class=9)(x, torch.tensor(5), classes)
        expected = (1 + w) * classes - w * 9
        torch.testing.assert_close(predicted, expected.view(-1, 1, 1, 1).float().expand(3, 1, 2, 2))


@pytest.mark.parametrize("n_parts", [2, 3, 64])
def test_guided_parts_are_the_whole(n_parts):
    torch.manual_seed(0)
    network = ResidualMLP(n_pixels=4, width=16, n_blocks=1, n_classes=3).requires_grad_(False)
    network.exit.weight.normal_()
    x, classes = torch.randn(7, 1, 2, 2), torch.arange(7) % 3
    whole = Prediction(network, guidance=2.0, untold_class=3)(x, torch.tensor(5), classes)
    parts = Prediction(network, guidance=2.0, untold_class=3, n_parts=n_parts)(x, torch.tensor(5), classes)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)
