"""The plan's numbers against those counted by hand for the paper."""

from __future__ import annotations

import weakref

import pytest
import torch
from planted import LABELS, tiny

from entropick.diffusion.training import Training
from entropick.generators import DDPM
from entropick.generators.cost import estimate_cost


def test_the_papers_network_has_the_papers_counts():
    n_parameters, flops = DDPM().size((32, 32, 3))
    assert n_parameters == pytest.approx(16.0e6, rel=5e-3)
    assert flops == pytest.approx(1.095e9, rel=2e-2)


def test_an_iteration_costs_what_was_counted_by_hand():
    model = tiny(steps=100, sampling_steps=7, batch_size=10)
    cost = estimate_cost(model, image_shape=(6, 6, 1), n_training=31, n_generated=20)
    # Two flops per weight and image: entry, exit, and two blocks of two square matrices and one for the timestep.
    per_image = 2 * (36 * 32 * 2 + 2 * (32 * 32 * 2 + 64 * 32))
    assert cost.training_flops == 3 * per_image * 100 * 10
    assert cost.sampling_flops == per_image * 7 * 20
    assert (cost.n_steps, cost.seconds > 0) == (100, True)


def test_guidance_asks_the_network_twice():
    sizes = {"image_shape": (6, 6, 1), "n_training": len(LABELS), "n_generated": 8}
    plain = estimate_cost(tiny(conditional=True), **sizes)
    guided = estimate_cost(tiny(conditional=True, guidance=2.0), **sizes)
    assert guided.sampling_flops == 2 * plain.sampling_flops


def test_a_budget_by_rule_has_bounds():
    sizes = {"image_shape": (6, 6, 1), "n_training": 31, "n_generated": 8}
    cost = estimate_cost(tiny(steps="auto", max_steps=50_000), **sizes)
    assert (cost.least_steps, cost.n_steps) == (1100, 50_000)
    assert 0 < cost.least_seconds < cost.seconds
    given = estimate_cost(tiny(steps=100), **sizes)
    assert (given.least_steps, given.least_seconds) == (given.n_steps, given.seconds)


def test_what_computes_alike_is_measured_once():
    sizes = {"image_shape": (6, 6, 1), "n_training": 31, "n_generated": 20}
    paces = {}
    few, many = (estimate_cost(tiny(steps=steps), **sizes, paces=paces) for steps in (100, 1100))
    assert len(paces) == 1
    step_seconds = next(iter(paces.values()))[0]
    assert many.seconds - few.seconds == pytest.approx(1000 * step_seconds)
    estimate_cost(tiny(steps=100, width=64), **sizes, paces=paces)
    assert len(paces) == 2


def test_short_steps_are_timed_until_that_tells(monkeypatch):
    trained = []
    fit = DDPM.fit
    monkeypatch.setattr(
        DDPM, "fit", lambda model, *args, **named: (trained.append(model.steps), fit(model, *args, **named))[1]
    )
    estimate_cost(tiny(steps=100), image_shape=(6, 6, 1), n_training=31, n_generated=20)
    assert trained[0] == 4
    assert 4 < trained[1] <= 66


def test_what_was_built_for_a_plan_is_gone_before_a_gpu_s_memory_is_given_back(monkeypatch):
    built, alive, begin = [], [], Training._begin

    def watched(training, execution):
        built.append(weakref.ref(training))
        begin(training, execution)

    monkeypatch.setattr(Training, "_begin", watched)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append([one() for one in built]))
    paces = {}
    for _ in range(2):
        # What is known needs no memory.
        estimate_cost(tiny(), image_shape=(6, 6, 1), n_training=31, n_generated=8, paces=paces)
    assert alive == [[None] * len(built)]
