"""The captured path, played on a tape: it computes what the eager path computes, and what it does not is refused."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interruptions import Interrupting, with_interruptions
from planted import IMAGES, LABELS, SAMPLE, fitted, tiny
from tape import Broken, SameNoise, Tape, WrongNumbers, forgetting, recorder
from test_sampling import small_memory

from entropick.diffusion import execution
from entropick.diffusion.execution import Captured, Execution, launching_on
from entropick.diffusion.step import Step
from entropick.errors import BudgetSpent, EntropickWarning, TrainingDiverged
from entropick.generators import ddpm

CPU = torch.device("cpu")
BUILT = ["warm-up"] * 3 + ["capture"]
# Of the gate: at two places of the schedule or the walk.
TRIALS = 2
CASES = {
    "plain": {},
    "average": {"ema": 0.95},
    "bfloat16": {"precision": "bfloat16", "ema": 0.95},
    "float16": {"precision": "float16", "ema": 0.95},
    "everything": {"conditional": True, "guidance": 1.0, "flips": True, "ema": 0.95, "weight_decay": 0.1},
    "unet": {"network": "unet", "width": 16, "depth": 1, "steps": 6, "batch_size": 4},
    "few": {"steps": 1, "sampling_steps": 1, "warmup_steps": 0},
}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Every path captured, by a tape; returns what happened."""
    monkeypatch.setattr(ddpm, "check_precision", lambda *args: None)

    def use(tape=Tape):
        def chosen(device, precision, *others):
            return (Execution(CPU, getattr(torch, precision), captured=True),)

        log = []
        monkeypatch.setattr(Execution, "ways", chosen)
        monkeypatch.setattr(execution, "record", recorder(tape, log))
        return log

    return use


@pytest.fixture
def float16_anywhere(monkeypatch):
    monkeypatch.setattr(ddpm, "check_precision", lambda *args: None)


@pytest.mark.parametrize("case", CASES)
def test_it_trains_and_samples_the_same_bit_for_bit_one_replay_for_each_step(float16_anywhere, as_on_a_gpu, case):
    settings = {**tiny().get_params(), **CASES[case]}
    plain = fitted(labels=LABELS, **CASES[case])
    expected = plain.sample(16, stream=SAMPLE)
    log = as_on_a_gpu()
    model = fitted(labels=LABELS, **CASES[case])
    np.testing.assert_equal(model.state(), plain.state())
    assert model.final_loss_ == plain.final_loss_
    assert log == BUILT + ["replay"] * (TRIALS + settings["steps"])
    log.clear()
    np.testing.assert_array_equal(model.sample(16, stream=SAMPLE), expected)
    steps = settings["sampling_steps"]
    assert log == BUILT + ["replay"] * (min(TRIALS, steps) + 2 * steps)
    name = f"{settings['precision']}, captured"
    assert model.training_values()["execution"] == model.sampling_values()["execution"] == name


@pytest.mark.parametrize("n", [1, 13])
def test_image_i_depends_on_neither_how_many_are_asked_for_nor_what_came_before(as_on_a_gpu, n):
    as_on_a_gpu()
    model = fitted(conditional=True, labels=LABELS)
    many = model.sample(24, stream=SAMPLE)
    np.testing.assert_array_equal(model.sample(n, stream=SAMPLE), many[:n])
    again, n_stopped = with_interruptions(lambda work: model.sample(24, stream=SAMPLE, work=work), 1, 2)
    assert n_stopped == 2
    np.testing.assert_array_equal(again, many)


@pytest.mark.parametrize("case", ["everything", "float16"])
def test_it_resumes_bit_for_bit(float16_anywhere, as_on_a_gpu, case):
    plain = fitted(labels=LABELS, **CASES[case])
    as_on_a_gpu()
    model, n_stopped = with_interruptions(lambda work: fitted(work, LABELS, **CASES[case]), 1, 29, 31)
    assert n_stopped == 3
    np.testing.assert_equal(model.state(), plain.state())
    assert model.final_loss_ == plain.final_loss_


def test_a_checkpoint_of_a_graph_goes_on_without_one(as_on_a_gpu, monkeypatch):
    plain, work = fitted(ema=0.95), Interrupting(30)
    ways, record = Execution.ways, execution.record
    as_on_a_gpu()
    with pytest.raises(BudgetSpent):
        fitted(work, ema=0.95)
    monkeypatch.setattr(Execution, "ways", ways)
    monkeypatch.setattr(execution, "record", record)
    np.testing.assert_equal(fitted(work, ema=0.95).state(), plain.state())


def test_a_checkpoint_without_a_graph_holds_the_same_and_goes_on_as_it_began(as_on_a_gpu):
    plain, work, captured = fitted(ema=0.95), Interrupting(30), Interrupting(30)
    with pytest.raises(BudgetSpent):
        fitted(work, ema=0.95)
    as_on_a_gpu()
    with pytest.raises(BudgetSpent):
        fitted(captured, ema=0.95)
    (arrays, state), (found, told) = work.kept["training"], captured.kept["training"]
    np.testing.assert_equal(found, arrays)
    assert told == {**state, "execution": "float32, captured"}
    assert set(state) == {"step", "taken", "loss_scaling", "losses", "execution", "refused"}
    model = fitted(work, ema=0.95)
    np.testing.assert_equal(model.state(), plain.state())
    assert "execution" not in model.training_values()


FAULTS = {
    "gradients differ": WrongNumbers,
    "gradients differ by 1": SameNoise,
    "two steps leave the weights 1 off": forgetting("_fused_adamw"),
    "two steps leave the average 1 off": forgetting("_foreach_lerp"),
    "two steps leave the weights 0.4": forgetting("index_select"),
    "two steps leave the step's number 1 off": forgetting("add_"),
    "gradients differ by [0-9.]+ ": forgetting("_foreach_mul"),
    "it could not be built .CUDA out of memory": Broken,
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_graph_that_forgets_or_breaks_is_refused_and_leaves_no_trace_in_the_training(as_on_a_gpu, reason):
    settings = {"ema": 0.95, "clip_norm": 0.05}
    plain = fitted(**settings)
    log = as_on_a_gpu(FAULTS[reason])
    with pytest.warns(EntropickWarning, match=f"training: not computed as float32, captured: {reason}"):
        model = fitted(**settings)
    np.testing.assert_equal(model.state(), plain.state())
    assert model.final_loss_ == plain.final_loss_
    values = model.training_values()
    assert values["execution"] == "float32, eager" and len(values["refused"]) == 1
    assert log.count("replay") <= TRIALS


WALKING = {
    "outputs differ": WrongNumbers,
    "two steps leave the next random numbers": SameNoise,
    "two steps leave the images": forgetting("copy_"),
    "it could not be built .CUDA out of memory": Broken,
}


@pytest.mark.parametrize("reason", WALKING)
def test_a_walk_that_forgets_or_breaks_is_refused(as_on_a_gpu, reason):
    plain = fitted(steps=300, learning_rate=3e-3)
    expected = plain.sample(19, stream=SAMPLE)
    as_on_a_gpu(WALKING[reason])
    model = tiny(sampling_steps=6).restore(*plain.state())
    with pytest.warns(EntropickWarning, match=f"sampling: not computed as float32, captured: {reason}"):
        sampled = model.sample(19, stream=SAMPLE)
    np.testing.assert_array_equal(sampled, expected)
    assert model.sampling_values()["execution"] == "float32, eager"


def test_a_refused_graph_leaves_the_same_precision_uncaptured(as_on_a_gpu):
    plain = fitted(precision="bfloat16")
    as_on_a_gpu(forgetting("_fused_adamw"))
    with pytest.warns(EntropickWarning, match="training: not computed as bfloat16, captured: two steps leave the weig"):
        model = fitted(precision="bfloat16")
    assert model.training_values()["execution"] == "bfloat16, eager"
    np.testing.assert_equal(model.state(), plain.state())


def test_a_walk_whose_memory_runs_out_while_it_is_recorded_is_recorded_in_parts(as_on_a_gpu, monkeypatch):
    model = fitted(steps=200)
    expected = model.sample(16, stream=SAMPLE).astype(int)
    as_on_a_gpu()
    small_memory(monkeypatch, 3, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.warns(EntropickWarning, match="out of memory; a chunk is computed in 4 parts"):
        sampled = model.sample(16, stream=SAMPLE)
    assert np.abs(sampled - expected).max() <= 1
    assert model.sampling_values() == {"execution": "float32, captured", "refused": [], "computed_in_parts": 4}


def test_weights_that_become_nan_inside_of_a_graph_end_the_training_at_the_last_good_checkpoint(
    as_on_a_gpu, monkeypatch
):
    as_on_a_gpu()
    call, n_calls = Step.__call__, []

    def spoilt(self, rows, *others):
        n_calls.append(1)
        if len(n_calls) == 60:
            self.optimization.weights()[0].fill_(float("nan"))
        return call(self, rows, *others)

    monkeypatch.setattr(Step, "__call__", spoilt)
    work = Interrupting()
    with pytest.raises(TrainingDiverged, match=r"The checkpoint of step \d+ is the last good one"):
        fitted(work)
    assert all(np.isfinite(array).all() for array in work.kept["training"][0].values())


def test_a_captured_function_sees_its_inputs_in_fixed_places_and_answers_in_fixed_places(monkeypatch):
    log = []
    monkeypatch.setattr(execution, "record", recorder(log=log))
    total = torch.zeros(3)

    def add(x):
        total.add_(x)
        return total * 2

    captured = Captured(add, torch.ones(3), randoms=[torch.Generator()])
    assert log == BUILT and total.tolist() == [3.0] * 3  # What warming up has done is for the caller to put back.
    total.zero_()
    first = captured(torch.full((3,), 4.0))
    assert first.tolist() == [8.0] * 3
    assert captured(torch.full((3,), 1.0)) is first and first.tolist() == [10.0] * 3


class PretendedCuda:
    """As much of `torch.cuda` as `execution.record` asks for; tells in which order."""

    def __init__(self):
        self.told = []

    def context(self, name):
        @contextlib.contextmanager
        def entered(*args, **named):
            self.told.append(f"{name} in")
            try:
                yield
            finally:
                self.told.append(f"{name} out")

        return entered

    def graph(self):
        tell = self.told.append
        return SimpleNamespace(
            register_generator_state=lambda random: tell("registered"), replay=lambda: tell("replayed")
        )

    def stream(self):
        return SimpleNamespace(wait_stream=lambda other: self.told.append("waited"))


@pytest.fixture
def pretended(monkeypatch):
    cuda = PretendedCuda()
    for name in ("device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, cuda.context(name))
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, cuda.stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", cuda.graph)
    return cuda.told


CALLS = ["device in", "registered", "waited", "stream in", "called", "called", "called", "graph in", "called"]


def test_a_graph_is_recorded_on_a_stream_of_its_own_after_its_generator_is_registered(pretended):
    replay, result = execution.record(lambda: pretended.append("called") or 5, torch.Generator())
    assert pretended == [*CALLS, "graph out", "stream out", "waited", "device out"] and result == 5
    replay()
    assert pretended[-1] == "replayed"


def test_a_capture_that_breaks_off_leaves_its_stream(pretended):
    def function():
        pretended.append("called")
        if "graph in" in pretended:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        execution.record(function, torch.Generator())
    assert pretended == [*CALLS, "graph out", "stream out", "device out"]


def test_on_a_gpu_cudnn_is_held_to_kernels_that_repeat_their_bits(pretended):
    with pytest.raises(KeyError), launching_on(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic
        raise KeyError
    assert pretended == ["device in", "device out"] and not torch.backends.cudnn.deterministic


def test_the_images_of_the_training_are_not_written(as_on_a_gpu):
    before = IMAGES.copy()
    as_on_a_gpu()
    fitted(flips=True)
    np.testing.assert_array_equal(IMAGES, before)


@pytest.fixture
def fast_together(as_on_a_gpu, monkeypatch):
    """Two captured ways on what is taken for a GPU, where chunks are fastest two at once."""

    def use(record=None):
        log = as_on_a_gpu()
        ways = (Execution(CPU, captured=True), Execution(CPU, torch.bfloat16, captured=True))
        monkeypatch.setattr(Execution, "ways", lambda *others: ways)
        monkeypatch.setattr("entropick.diffusion.sampling._is_divided", lambda device: False)
        for least in ("WORTH_TIMING", "WORTH_TRYING"):
            monkeypatch.setattr(f"entropick.diffusion.gate.{least}", 0)
        times = iter([1.0, 1.0, 1.0, 1.2, 9.0])
        monkeypatch.setattr("entropick.diffusion.sampling.seconds_of", lambda *args: next(times))
        if record is not None:
            monkeypatch.setattr(execution, "record", record(execution.record))
        return log

    return use


def test_a_graph_of_several_chunks_draws_the_noise_of_each(fast_together):
    model = fitted()
    alone = model.sample(37, stream=SAMPLE).astype(int)
    fast_together()
    several = tiny(precision="auto").restore(*model.state())
    found = several.sample(37, stream=SAMPLE)
    assert several.sampling_values()["chunks_at_once"] == 2
    assert np.abs(found - alone).max() <= 1 and (found != alone).mean() < 0.02


def test_several_chunks_whose_graph_cannot_be_built_are_computed_one_by_one(fast_together):
    def failing(record):
        def until_there_are_two(function, *randoms):
            if len(randoms) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return record(function, *randoms)

        return until_there_are_two

    model = fitted()
    alone = model.sample(37, stream=SAMPLE)
    fast_together(failing)
    one = tiny(precision="auto").restore(*model.state())
    with pytest.warns(
        EntropickWarning, match="sampling, 2 chunks at once: not computed as float32, captured: it could"
    ):
        found = one.sample(37, stream=SAMPLE)
    np.testing.assert_array_equal(found, alone)
    assert "chunks_at_once" not in one.sampling_values()
