"""One training step: the same numbers as a plain loop's, nothing read back, everything written in place."""

from __future__ import annotations

import contextlib
import copy
from itertools import chain

import numpy as np
import pytest
import torch
from planted import IMAGES, LABELS
from tape import Unread, recorder
from torch import nn

from entropick.diffusion import execution
from entropick.diffusion.chunk import CapturedChunks, Chunks, Prediction
from entropick.diffusion.execution import Execution
from entropick.diffusion.networks import build_network
from entropick.diffusion.optimization import Schedule, _move_each, _move_together
from entropick.diffusion.process import AncestralTable, NoiseTable
from entropick.diffusion.step import DeviceData, Step, TrainingSettings
from entropick.errors import InputError

CPU, META = torch.device("cpu"), torch.device("meta")
BATCH = 12
SETTINGS = {
    "steps": 80,
    "learning_rate": 3e-3,
    "warmup_steps": 7,
    "weight_decay": 0.1,
    "clip_norm": 0.5,
    "ema": 0.9,
    "batch_size": BATCH,
    "timesteps": 1000,
    "flips": True,
    "label_dropout": 0.3,
}
DATA = DeviceData(torch.from_numpy(IMAGES), torch.from_numpy(LABELS), 3)


def network():
    torch.manual_seed(0)
    return build_network("mlp", width=16, depth=1, image_shape=(6, 6, 1), n_classes=3)


def new_step(*, dtype=torch.float32, part=slice(0, BATCH), **changes):
    settings = TrainingSettings(**{**SETTINGS, **changes})
    return Step(settings, network(), DATA, execution=Execution(CPU, dtype), part=part, seed=5)


def rows(step):
    return torch.from_numpy(np.random.default_rng(step).permutation(len(IMAGES))[:BATCH])


def plain_loop(n_steps):
    """The step as a plain loop takes it: numbers of the schedule in Python, an optimizer that knows of no graph."""
    settings, model = TrainingSettings(**SETTINGS), network()
    random, table = torch.Generator().manual_seed(5), NoiseTable.build(1000, CPU)
    parameters = list(model.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, betas=(0.95, 0.999), weight_decay=0.1, fused=True)
    for step in range(n_steps):
        chosen = rows(step)
        timestep = torch.randint(1000, (BATCH,), generator=random)
        noise = torch.randn(BATCH, 1, 6, 6, generator=random)
        flipped, untold = (torch.rand(BATCH, generator=random) < share for share in (0.5, 0.3))
        x = DATA.images[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
        told = torch.where(untold, 3, DATA.classes[chosen])
        predicted = model(table.add_noise(x, noise, timestep), timestep, told)
        optimizer.zero_grad()
        nn.functional.mse_loss(predicted, noise).backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.param_groups[0]["lr"] = settings.learning_rate_at(step)
        optimizer.step()
        decay = min(0.9, (step + 1) / (step + 11))
        for mean, parameter in zip(average, parameters, strict=True):
            mean.lerp_(parameter.detach(), 1.0 - decay)
    return parameters, average


def test_many_steps_are_those_of_a_plain_loop_bit_for_bit():
    step = new_step()
    for number in range(80):
        step(rows(number))
    parameters, average = plain_loop(80)
    for expected, found in zip(parameters, step.network.parameters(), strict=True):
        assert torch.equal(expected, found)
    for expected, found in zip(average, step.optimization.weights(), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_step_reads_nothing_back_to_the_host(dtype):
    step = new_step(dtype=dtype)
    with Unread():
        for number in range(3):
            step(rows(number))
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            float(step(rows(3)).loss)


def test_a_step_leaves_all_its_tensors_where_they_are():
    step = new_step(dtype=torch.float16)

    def places():
        parts = [part for parts in step.optimization.parts().values() for part in parts]
        schedule, scaler = step.optimization.schedule, step.optimization._scaler
        return [part.data_ptr() for part in (*parts, schedule.step, schedule.rate, scaler._scale)]

    before = places()
    for number in range(3):
        step(rows(number))
    step.restore(*copy.deepcopy(step.state()))
    assert places() == before
    weights = [parameter.data_ptr() for parameter in step.network.parameters()]
    assert weights == [weight.data_ptr() for weight in step.optimization.parts()["the weights"]]


def test_building_a_graph_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(execution, "record", recorder())
    step = new_step(dtype=torch.float16)
    for number in range(5):
        step(rows(number))
    before = copy.deepcopy(step.state())
    step.capture()
    np.testing.assert_equal(step.state(), before)


@pytest.mark.parametrize("part", [slice(0, 5), slice(5, BATCH)])
def test_where_gradients_are_added_up_the_graph_ends_there(monkeypatch, part):
    monkeypatch.setattr(execution, "record", recorder())
    plain, captured = new_step(part=part), new_step(part=part)
    captured.capture()

    def add_up(tensors):
        for tensor in tensors:
            tensor.mul_(2.5)

    for number in range(6):
        expected, found = plain(rows(number), add_up), captured(rows(number), add_up)
        assert torch.equal(expected.loss, found.loss)
    np.testing.assert_equal(captured.state(), plain.state())


def test_the_schedule_is_a_table_of_what_python_computes():
    settings = TrainingSettings(**SETTINGS)
    schedule = Schedule(settings, CPU)
    for step in range(settings.steps):
        schedule.step.fill_(step)
        schedule.read_rate()
        assert float(schedule.rate) == settings.learning_rate_at(step)
        assert float(schedule.share()) == np.float32(settings.average_moves_at(step))
    assert settings.average_moves_at(0) == 1.0 - 1 / 11 and settings.average_moves_at(1000) == 1.0 - 0.9


@pytest.mark.parametrize("share", [1 - 1 / 11, 0.5, 0.1, 0.0])
def test_the_average_moves_together_as_it_moves_tensor_by_tensor(share):
    weights, average = [torch.randn(5, 3), torch.randn(7)], [torch.randn(5, 3), torch.randn(7)]
    together = [tensor.clone() for tensor in average]
    _move_each(average, weights, torch.tensor(share))
    _move_together(together, weights, torch.tensor(share))
    torch.testing.assert_close(together, average, rtol=1e-5, atol=1e-6)


def test_random_numbers_of_another_kind_of_device_are_refused():
    step = new_step()
    arrays, state = copy.deepcopy(step.state())
    with pytest.raises(InputError, match=r"device: expected a checkpoint of a training on 'cpu'.*got one of 16: anoth"):
        step.restore({**arrays, "random": np.zeros(16, np.uint8)}, state)


@torch.no_grad()
def test_a_step_of_a_walk_reads_nothing_back_and_is_the_same_with_its_number_on_the_device(monkeypatch):
    monkeypatch.setattr(execution, "record", recorder())
    walk, predict, shape = AncestralTable.build(1000, 5, CPU), Prediction(network()), (4, 1, 6, 6)
    plain = Chunks(walk, predict, n=4, shape=shape, randoms=[torch.Generator()])
    classes = torch.tensor([0, 1, 2, 0])
    captured = CapturedChunks(Chunks(walk, predict, n=4, shape=shape, randoms=[torch.Generator()]), classes)
    for seed in (3, 4):
        plain.begin([seed], classes)
        captured.begin([seed], classes[:3])
        for _ in range(5):
            with Unread():
                expected, found = plain.advance(), captured.advance()
            assert torch.equal(expected, found) and torch.equal(plain.x, captured.x)


class Elsewhere(torch.Generator):
    """Says that it draws on another device."""

    def __new__(cls, device):
        return super().__new__(cls)

    @property
    def device(self):
        return META


@pytest.fixture
def elsewhere(monkeypatch):
    """A device that is not the processor, and whose tensors have no numbers: what asks for one fails."""
    monkeypatch.setattr(torch, "Generator", Elsewhere)
    monkeypatch.setattr(Execution, "autocast", lambda self: contextlib.nullcontext())


@pytest.mark.parametrize("kind", ["mlp", "unet"])
def test_on_another_device_a_step_mixes_none_and_asks_for_no_number(elsewhere, monkeypatch, kind):
    given = []
    # The one kernel that knows no tensors without numbers.
    monkeypatch.setattr(torch, "_fused_adamw_", lambda *tensors, lr, **more: given.extend([lr, *chain(*tensors)]))
    with META:
        model = build_network(kind, width=16, depth=1, image_shape=(6, 6, 1), n_classes=3)
        data = DeviceData(torch.zeros(31, 6, 6, 1, dtype=torch.uint8), torch.zeros(31, dtype=torch.int64), 3)
    execution = Execution(META, captured=True, channels_last=kind == "unet")
    step = Step(TrainingSettings(**SETTINGS), model, data, execution=execution, part=slice(0, BATCH), seed=5)
    found = step(torch.zeros(BATCH, dtype=torch.int64))
    assert found.loss.device == META and {gradient.device for gradient in found.of_parameters} == {META}
    # As CUDA's kernel reads them.
    assert {(tensor.device, tensor.dtype) for tensor in given} == {(META, torch.float32)}
    assert given[0] is step.optimization.schedule.rate and len(given) == 1 + 5 * len(list(model.parameters()))
    assert {part.device for parts in step.optimization.parts().values() for part in parts} == {META}


@torch.no_grad()
def test_on_another_device_a_walk_mixes_none_and_asks_for_no_number(elsewhere, monkeypatch):
    monkeypatch.setattr(execution, "record", lambda function, *randoms: (function, function()))
    chunk = Chunks(
        AncestralTable.build(1000, 5, META),
        Prediction(network().to(META)),
        n=4,
        shape=(4, 1, 6, 6),
        randoms=[torch.Generator(META)],
    )
    captured = CapturedChunks(chunk, torch.zeros(4, dtype=torch.int64, device=META))
    captured.begin([3], torch.zeros(3, dtype=torch.int64, device=META))
    assert captured.advance().device == captured.x.device == META
