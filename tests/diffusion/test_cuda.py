"""The engine on a real CUDA device: what is captured trains and samples as the same kernels do one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from interruptions import with_interruptions
from planted import IMAGES, LABELS, SAMPLE, TRAIN, fitted, tiny

from entropick.diffusion import kernels
from entropick.diffusion.execution import Captured, Execution
from entropick.diffusion.networks import build_network
from entropick.generators.cost import estimate_cost

pytestmark = pytest.mark.cuda
UNET = {"network": "unet", "width": 32, "depth": 1, "steps": 12, "batch_size": 16, "warmup_steps": 2}
WAYS = {
    "perceptron, float32": ({"precision": "float32"}, "float32, captured"),
    "perceptron, bfloat16": ({"precision": "bfloat16"}, "bfloat16, captured"),
    "perceptron, float16": ({"precision": "float16"}, "float16, captured"),
    "everything": ({"precision": "float32", "conditional": True, "flips": True, "ema": 0.9}, "float32, captured"),
}


def on_cuda(work=None, **changes):
    return fitted(work, LABELS, **{**changes, "device": "cuda"})


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_captured_and_passes_the_gate(way):
    changes, name = WAYS[way]
    model = on_cuda(**changes)
    model.sample(9, stream=SAMPLE)
    for values in (model.training_values(), model.sampling_values()):
        assert values["execution"] == name and values["refused"] == []


def test_a_unet_is_captured_in_bfloat16():
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    model = tiny(**UNET, precision="bfloat16", device="cuda").fit(images, stream=TRAIN)
    model.sample(5, stream=SAMPLE)
    assert model.training_values()["refused"] == [] and "captured" in model.training_values()["execution"]


LAYOUT = ", channels last, fused, captured"
UNETS = {
    "velocity": {"precision": "bfloat16", "predicts": "velocity"},
    "float16": {"precision": "float16"},
    "everything": {"precision": "bfloat16", "conditional": True, "patch": 2, "flips": True, "ema": 0.9},
}


@pytest.mark.parametrize("case", UNETS)
def test_every_unet_is_fused_and_passes_the_gate(case):
    pytest.importorskip("triton")
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    model = tiny(**UNET, **UNETS[case], device="cuda").fit(images, np.arange(40) % 3, stream=TRAIN)
    model.sample(5, stream=SAMPLE)
    for values in (model.training_values(), model.sampling_values()):
        assert values["refused"] == [] and values["execution"] == model.precision + LAYOUT


def test_a_training_that_stops_by_itself_and_what_it_knows_of_images():
    model = on_cuda(steps="auto", max_steps=100)
    assert model.training_values()["n_steps"] in (50, 100)
    assert np.isfinite(model.losses(IMAGES)).all()


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++"])
def test_a_preview_whose_scheduler_remembers_on_the_host(sampler):
    pytest.importorskip("diffusers")
    model = on_cuda(sampler=sampler)
    assert model.sample(9, stream=SAMPLE).shape == (9, 6, 6, 1)
    assert model.sampling_values().get("refused", []) == []


def test_a_plan_times_both_precisions():
    cost = estimate_cost(
        tiny(precision="auto", steps=2000, device="cuda"), image_shape=(6, 6, 1), n_training=31, n_generated=24
    )
    assert 0 < cost.least_seconds == cost.seconds < 2000


def test_a_caller_s_random_numbers_and_switches_stay_as_they_were():
    before = torch.cuda.get_rng_state(), torch.backends.cudnn.deterministic
    on_cuda().sample(3, stream=SAMPLE)
    assert torch.equal(torch.cuda.get_rng_state(), before[0]) and torch.backends.cudnn.deterministic == before[1]


def test_several_chunks_in_one_graph_are_those_of_one_after_another(monkeypatch):
    device = torch.device("cuda")
    ways = tuple(Execution(device, dtype, captured=True) for dtype in (torch.float32, torch.bfloat16))
    monkeypatch.setattr(Execution, "ways", lambda *others: ways)
    model = on_cuda()
    alone = model.sample(37, stream=SAMPLE).astype(int)
    for least in ("WORTH_TIMING", "WORTH_TRYING"):
        monkeypatch.setattr(f"entropick.diffusion.gate.{least}", 0)
    # The two ways; then one, two and four chunks of the five at once.
    times = iter([1.0, 1.0, 1.0, 1.2, 9.0])
    monkeypatch.setattr("entropick.diffusion.sampling.seconds_of", lambda *args: next(times))
    found = model.sample(37, stream=SAMPLE)
    assert model.sampling_values()["chunks_at_once"] == 2 and model.sampling_values()["refused"] == []
    assert np.abs(found - alone).max() <= 1


def test_float32_on_cuda_learns_what_the_processor_learns():
    there, here = on_cuda(precision="float32", steps=20), fitted(precision="float32", steps=20)
    # Other random numbers, the same losses up to their noise.
    assert there.final_loss_ == pytest.approx(here.final_loss_, rel=0.2)


def test_an_interrupted_training_goes_on_bit_for_bit():
    undisturbed = on_cuda(precision="float32", ema=0.9)
    model, n_stopped = with_interruptions(lambda work: on_cuda(work, precision="float32", ema=0.9), 7, 31)
    assert n_stopped == 2
    np.testing.assert_equal(model.state(), undisturbed.state())


def test_images_do_not_depend_on_how_many_are_asked_for():
    model = on_cuda(precision="float32")
    many = model.sample(24, stream=SAMPLE).astype(int)
    assert np.abs(model.sample(5, stream=SAMPLE) - many[:5]).max() <= 1


def test_a_graph_draws_the_numbers_of_its_generator():
    device = torch.device("cuda")
    random = torch.Generator(device)
    captured = Captured(lambda x: x + torch.randn(4, generator=random, device=device), torch.zeros(4), randoms=[random])
    random.manual_seed(3)
    found = [captured(torch.zeros(4)).clone() for _ in range(3)]
    random.manual_seed(3)
    expected = [torch.randn(4, generator=random, device=device) for _ in range(3)]
    for there, here in zip(found, expected, strict=True):
        assert torch.equal(there, here)
    assert not torch.equal(*found[:2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_paper_s_network_in_low_precision_is_near_float32(dtype):
    torch.manual_seed(0)
    network = build_network("unet", width=48, depth=2, image_shape=(32, 32, 3))
    x, timestep = torch.randn(4, 3, 32, 32, device="cuda"), torch.tensor([0, 3, 500, 999], device="cuda")
    device = torch.device("cuda")
    with torch.no_grad():
        expected = Execution(device).frozen(network)(x, timestep)
        for fused in (False, kernels.IS_HERE):
            way = Execution(device, dtype, channels_last=True, fused=fused)
            found = way.frozen(network)(x, timestep).float()
            assert float((found - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activated", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("shape", [(3, 48, 32, 32), (2, 144, 5, 7), (1, 384, 1, 1), (2, 288, 2, 2)])
def test_norm_shift_and_activation_in_one_kernel_are_those_of_float64(shape, shifted, activated, dtype):
    pytest.importorskip("triton")
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(16, shape[1]).cuda()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (torch.randn(shape, device="cuda") * 2 + 0.7).to(dtype).requires_grad_()
    shift = torch.randn(shape[:2], device="cuda").to(dtype).requires_grad_() if shifted else None
    y = kernels.normed(norm, x, shift, activated=activated)
    gradient = torch.randn(shape, device="cuda").to(dtype)
    given = [one for one in (x, shift, norm.weight, norm.bias) if one is not None]
    found = [y, *torch.autograd.grad(y, given, gradient)]
    exact = [one.detach().double().requires_grad_() for one in given]
    inner = exact[0] + exact[1][:, :, None, None] if shifted else exact[0]
    inner = torch.nn.functional.group_norm(inner, 16, exact[-2], exact[-1])
    inner = torch.nn.functional.silu(inner) if activated else inner
    expected = [inner, *torch.autograd.grad(inner, exact, gradient.double())]
    for here, there in zip(found, expected, strict=True):
        error = float((here.double() - there).norm() / there.norm())
        assert error < (1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("n_biases", [1, 2])
def test_sums_with_their_biases_are_those_of_float64(n_biases):
    pytest.importorskip("triton")
    torch.manual_seed(0)
    images = [torch.randn(3, 48, 5, 7, device="cuda", dtype=torch.bfloat16).requires_grad_() for _ in range(2)]
    biases = [torch.randn(48, device="cuda", dtype=torch.bfloat16).requires_grad_() for _ in range(n_biases)]
    y = kernels.joined(*images, *biases)
    exact = sum(image.double() for image in images) + sum(bias.double() for bias in biases)[:, None, None]
    assert float((y.double() - exact).norm() / exact.norm()) < 1e-2
    gradient = torch.randn_like(y)
    found = torch.autograd.grad(y, [*images, *biases], gradient)
    for one, of in zip(found, [gradient, gradient, *[gradient.double().sum((0, 2, 3))] * n_biases], strict=True):
        assert float((one.double() - of.double()).norm() / of.double().norm()) < 1e-2


def test_a_fused_unet_that_was_interrupted_goes_on_bit_for_bit():
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)

    def trained(work=None):
        return tiny(**UNET, precision="bfloat16", device="cuda").fit(images, stream=TRAIN, work=work)

    undisturbed = trained()
    model, n_stopped = with_interruptions(trained, 5)
    assert n_stopped == 1
    np.testing.assert_equal(model.state(), undisturbed.state())
