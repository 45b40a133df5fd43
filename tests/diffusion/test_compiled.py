"""A network through torch.compile: eager float32 by the gate's measure, chosen by time, refused where it is wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from interruptions import Interrupting
from planted import SAMPLE, TRAIN, tiny
from tape import recorder

from entropick.diffusion import execution, gate
from entropick.diffusion.execution import Execution, Twin
from entropick.diffusion.gate import TOLERANCE, Left, Probe, pass_gate, relative_error, roughen
from entropick.diffusion.networks import Velocity, build_network
from entropick.diffusion.step import DeviceData, Step, TrainingSettings
from entropick.errors import BudgetSpent, EntropickWarning
from entropick.work import Work

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(
    steps=80,
    learning_rate=1e-3,
    warmup_steps=1,
    weight_decay=0.1,
    clip_norm=0.5,
    ema=0.9,
    batch_size=4,
    timesteps=1000,
    flips=True,
    label_dropout=0.3,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
UNET = {"network": "unet", "width": 32, "depth": 1, "steps": 6, "batch_size": 4, "sampling_steps": 3}
GRAPH = Execution(CPU, torch.float32, channels_last=True, captured=True, fused=True)
COMPILED = dataclasses.replace(GRAPH, compiled=True)


@pytest.fixture(autouse=True)
def without_inductor(monkeypatch):
    """What torch.compile traces, computed operator by operator: Inductor takes minutes."""
    monkeypatch.setattr(execution, "COMPILER", "aot_eager")
    torch.compiler.reset()


def new_step(way, **changes):
    torch.manual_seed(0)
    network = build_network("unet", width=32, depth=1, image_shape=(16, 16, 3))
    roughen(network)
    network = Velocity(network, SETTINGS.timesteps) if changes else network
    data = DeviceData(torch.from_numpy(IMAGES), None, 0)
    settings = dataclasses.replace(SETTINGS, **changes)
    return Step(settings, network, data, execution=way, part=slice(0, 4), seed=5)


@pytest.mark.parametrize("changes", [{}, {"predicts": "velocity"}], ids=["noise", "velocity"])
@pytest.mark.parametrize(
    ("dtype", "is_compiled"), [(torch.float32, True), (torch.float32, False), (torch.bfloat16, False)]
)
def test_it_is_eager_float32_by_the_gate_s_measure_forward_gradients_and_two_steps(dtype, is_compiled, changes):
    eager, compiled = (
        new_step(Execution(CPU), **changes),
        new_step(Execution(CPU, dtype, channels_last=True, fused=True, compiled=is_compiled), **changes),
    )
    before = [weight.detach().clone() for weight in eager.network.parameters()]
    for number in range(2):
        expected, found = eager(torch.arange(4) + number), compiled(torch.arange(4) + number)
        assert relative_error([found.predicted], [expected.predicted]) < TOLERANCE[dtype]
        assert relative_error(found.of_parameters, expected.of_parameters) < TOLERANCE[dtype]
        assert {gradient.dtype for gradient in found.of_parameters} == {torch.float32}
    moved = [
        [now.detach() - then for now, then in zip(step.network.parameters(), before, strict=True)]
        for step in (compiled, eager)
    ]
    assert relative_error(*moved) < gate._EFFECTS


def test_a_twin_shares_all_weights_but_those_of_products():
    network = build_network("unet", width=32, depth=1, image_shape=(16, 16, 3), n_classes=3)
    twin = Twin(network, torch.bfloat16)
    for (name, theirs), ours in zip(network.named_parameters(), twin.network.parameters(), strict=True):
        is_shared = "norm" in name or "class_embedding" in name
        assert (theirs is ours) == is_shared
        assert ours.dtype == (torch.float32 if is_shared else torch.bfloat16)
    with torch.no_grad():
        network.unet.conv_in.weight.fill_(3.0)
    twin.refresh()
    assert (twin.network.unet.conv_in.weight == 3.0).all()
    assert all(
        a is b for a, b in zip(network.parameters(), Twin(network, torch.float32).network.parameters(), strict=True)
    )


def on_a_gpu(monkeypatch, *, seconds):
    """Captured by a tape; each graph takes as long as the next number says, and is worth compiling."""
    given = iter(seconds)
    # Nothing is compiled while a tape records.
    monkeypatch.setattr(Twin, "compiled", lambda twin: twin.network)
    monkeypatch.setattr(execution, "record", recorder())
    monkeypatch.setattr(Execution, "ways", lambda *args: (GRAPH,))
    for least in ("WORTH_TIMING", "WORTH_COMPILING"):
        monkeypatch.setattr(gate, least, 0)
    for module in ("training", "sampling"):
        monkeypatch.setattr(f"entropick.diffusion.{module}.seconds_of", lambda *args: next(given))


def fitted(work=None):
    return tiny(**{**UNET, "network": "unet"}).fit(IMAGES, stream=TRAIN, work=work)


def test_what_is_faster_is_taken_and_written_down(monkeypatch):
    on_a_gpu(monkeypatch, seconds=[2.0, 1.0, 1.0, 2.0])
    model = fitted()
    assert model.training_values()["execution"] == COMPILED.name and not model.training_values()["refused"]
    model.sample(5, stream=SAMPLE)
    assert model.sampling_values()["execution"] == GRAPH.name


def test_of_chunks_at_once_only_the_number_that_is_taken_is_compiled(monkeypatch):
    # Of training; then two ways and the first one compiled; then one chunk uncompiled, two and four at once.
    on_a_gpu(monkeypatch, seconds=[2.0, 1.0, 2.0, 9.0, 1.0, 1.0, 2.0, 2.4, 9.0])
    model = fitted()
    monkeypatch.setattr(Execution, "ways", lambda *args: (GRAPH, dataclasses.replace(GRAPH, fused=False)))
    monkeypatch.setattr(gate, "WORTH_TRYING", 0)
    monkeypatch.setattr("entropick.diffusion.sampling._is_divided", lambda device: False)
    built, frozen = [], Execution.frozen

    def watched(way, network):
        built.append(way)
        return frozen(way, network)

    monkeypatch.setattr(Execution, "frozen", watched)
    several = tiny(**UNET, precision="auto").restore(*model.state())
    several.sample(37, stream=SAMPLE)
    assert several.sampling_values()["chunks_at_once"] == 2
    assert several.sampling_values()["execution"] == COMPILED.name
    # By the gate, and with two chunks.
    assert built.count(COMPILED) == 2 and built[-1] == COMPILED


def test_a_resumed_training_keeps_its_way_and_measures_nothing(monkeypatch):
    on_a_gpu(monkeypatch, seconds=[2.0, 1.0])
    work = Interrupting(3)
    with pytest.raises(BudgetSpent):
        fitted(work)
    model = fitted(work)
    assert model.training_values()["execution"] == COMPILED.name


def probe(scale):
    tensor = torch.linspace(-1, 1, 50)
    return Probe(tensor * scale, [tensor * scale], {"the weights": [tensor * scale]})


@pytest.mark.parametrize(
    ("left", "seconds", "taken"), [(999, [], GRAPH), (1000, [0.2], GRAPH), (1000, [5.0, 1.0], COMPILED)]
)
def test_only_long_trainings_are_worth_it(left, seconds, taken):
    given = iter(seconds)
    passage = pass_gate(
        [GRAPH],
        lambda way: probe(1.0),
        what="training",
        before={},
        work=Work(),
        left=Left(left, lambda: next(given)),
    )
    assert passage.execution == taken


@pytest.mark.filterwarnings("ignore::entropick.errors.EntropickWarning")
@pytest.mark.parametrize("fault", [1.2, None])
def test_a_wrong_or_impossible_compilation_is_refused(fault):
    computed = []

    def compute(way):
        computed.append(way)
        if way.compiled and fault is None:
            raise RuntimeError("the compiler broke off\nsomewhere")
        return probe(fault if way.compiled else 1.0)

    passage = pass_gate([GRAPH], compute, what="training", before={}, work=Work(), left=Left(1000, lambda: 5.0))
    assert passage.execution == GRAPH and len(passage.refused) == 1
    assert passage.refused[0].startswith("float32, channels last, compiled, captured: ")
    # The graph that is used is the last that was built.
    assert computed[-1] == GRAPH


def test_a_fault_in_a_compiled_network_is_found(monkeypatch):
    on_a_gpu(monkeypatch, seconds=[2.0, 1.0])

    def wrong(twin):
        right = twin.network.unet.forward
        twin.network.unet.forward = lambda *given: right(*given) * 1.2
        return twin.network

    monkeypatch.setattr(Twin, "compiled", wrong)
    with pytest.warns(EntropickWarning, match="not computed as float32, channels last, compiled, captured"):
        model = fitted()
    assert model.training_values()["execution"] == GRAPH.name


def test_a_fused_step_is_written_down_weight_by_weight_and_stays_where_it_is():
    plain, fused = new_step(Execution(CPU)), new_step(Execution(CPU, torch.bfloat16, channels_last=True, fused=True))
    for number in range(2):
        plain(torch.arange(4) + number)
    arrays, state = plain.state()
    places = [part.data_ptr() for parts in fused.optimization.parts().values() for part in parts]
    fused.restore(arrays, state)
    found, told = fused.state()
    assert told == state
    np.testing.assert_equal(found, arrays)
    for ours, theirs in zip(fused.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    fused(torch.arange(4))
    # Weights, moments and average are two long tensors each: what is shared, and what is cast.
    assert places == [part.data_ptr() for parts in fused.optimization.parts().values() for part in parts]
    assert len(places) == 8
    moved = dict(zip(("found", "before"), (fused.state()[0], arrays), strict=True))
    assert all((moved["found"][name] != moved["before"][name]).any() for name in arrays if name.endswith(".average"))


def test_ways_fall_back_to_ever_plainer_ones():
    names = [way.name for way in dataclasses.replace(COMPILED, dtype=torch.bfloat16).fallbacks()]
    assert names == [
        "bfloat16, channels last, compiled, captured",
        "bfloat16, channels last, fused, captured",
        "bfloat16, channels last, captured",
        "bfloat16, channels last, eager",
        "float32, eager",
    ]
