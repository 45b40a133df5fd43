"""No fast path is used that does not compute what eager float32 computes: faults are planted, and must be found."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
from interruptions import with_interruptions
from planted import (
    IMAGES,
    LABELS,
    SAMPLE,
    fitted,
    tiny,
    wrong_gradient_of_layer_norm,
    wrong_layer_norm,
)

from entropick.diffusion import gate, kernels
from entropick.diffusion.execution import Execution
from entropick.diffusion.gate import Left, Probe, pass_gate, relative_error
from entropick.diffusion.training import Training
from entropick.errors import EntropickWarning, InputError
from entropick.generators import ddpm
from entropick.work import Work

CPU = torch.device("cpu")
LOW = Execution(CPU, torch.bfloat16)
CAPTURED = dataclasses.replace(LOW, captured=True, channels_last=True)


def probe(scale, gradient=1.0):
    return Probe(torch.ones(3) * scale, [torch.ones(2) * gradient, torch.ones(5)])


def test_the_plain_path_needs_no_proof():
    passage = pass_gate([Execution(CPU)], lambda execution: 1 / 0, what="training", before={}, work=Work())
    assert (passage.execution.is_plain, passage.refused, passage.values()) == (True, (), {})


def test_a_path_that_agrees_is_used_and_written_down():
    passage = pass_gate([LOW], lambda execution: probe(1.02), what="training", before={}, work=Work())
    assert passage.values() == {"execution": "bfloat16, eager", "refused": []}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (probe(1.1), "outputs differ by 0.1 from eager float32, 0.06 is allowed"),
        (probe(float("nan")), "outputs differ by inf"),
        (probe(1.0, gradient=1.5), "gradients differ by 0.27"),
    ],
)
def test_what_differs_is_refused_for_the_next_plainer_path(wrong, reason):
    def compute(execution):
        return wrong if execution.captured else probe(1.0)

    with pytest.warns(EntropickWarning, match=f"training: not computed as bfloat16, channels last, captured: {reason}"):
        passage = pass_gate([CAPTURED], compute, what="training", before={}, work=Work())
    assert passage.execution == dataclasses.replace(CAPTURED, captured=False)
    assert len(passage.refused) == 1 and reason in passage.refused[0]


def test_a_path_that_cannot_be_built_is_refused():
    def compute(execution):
        if not execution.is_plain:
            raise RuntimeError("no such kernel\nand a long trace")
        return probe(1.0)

    with pytest.warns(EntropickWarning, match=r"it could not be built \(no such kernel\)"):
        passage = pass_gate([CAPTURED], compute, what="sampling", before={}, work=Work())
    assert passage.execution.is_plain and len(passage.refused) == 2


def test_after_an_interruption_the_same_path_is_tried_first():
    before = {"execution": "bfloat16, channels last, eager", "refused": ["as it was"]}
    tried = []

    def compute(execution):
        tried.append(execution.name)
        return probe(1.0)

    passage = pass_gate([CAPTURED], compute, what="training", before=before, work=Work())
    assert tried == ["float32, eager", "bfloat16, channels last, eager"]
    assert passage.state() == before


class Shared(Work):
    """The work of three processes; what the two others answer is known."""

    n_processes = 3

    def __init__(self, *others):
        self._others = others

    def gather(self, part):
        return [part, *self._others]


def test_processes_that_share_a_work_take_the_plainest_of_their_paths():
    def passed(*others):
        return pass_gate([CAPTURED], lambda execution: probe(1.0), what="training", before={}, work=Shared(*others))

    assert passed((0, ()), (0, ())).state() == {"execution": CAPTURED.name, "refused": []}
    passage = passed((1, ("captured: a", "x")), (2, ("captured: a", "b")))
    assert passage.execution.is_plain and passage.refused == ("captured: a", "x", "b")
    assert passed((0, ()), (1, ("captured: a",))).execution == CAPTURED.uncaptured()


def test_errors_are_relative_to_the_whole():
    assert relative_error([torch.tensor([3.0, 4.5])], [torch.tensor([3.0, 4.0])]) == pytest.approx(0.1)
    assert relative_error([torch.zeros(2)], [torch.zeros(2)]) == 0.0
    assert relative_error([torch.ones(2)], [torch.zeros(2)]) == float("inf")


def test_bfloat16_passes_for_a_perceptron_and_is_written_down():
    model = fitted(precision="bfloat16")
    model.sample(3, stream=SAMPLE)
    assert model.training_values()["execution"] == model.sampling_values()["execution"] == "bfloat16, eager"
    assert fitted().sampling_values() == {} and "execution" not in fitted().training_values()


@pytest.mark.parametrize("kernel", [wrong_layer_norm, wrong_gradient_of_layer_norm])
def test_a_wrong_kernel_in_training_trips_the_gate(monkeypatch, kernel):
    plain = fitted()
    monkeypatch.setattr(torch.nn.functional, "layer_norm", kernel)
    with pytest.warns(EntropickWarning, match="training: not computed as bfloat16, eager") as warned:
        model = fitted(precision="bfloat16")
    assert len(warned) == 1 and "differ" in str(warned[0].message)
    values = model.training_values()
    assert values["execution"] == "float32, eager" and len(values["refused"]) == 1
    np.testing.assert_equal(model.state(), plain.state())


def test_a_wrong_kernel_in_sampling_trips_the_gate(monkeypatch):
    plain = fitted(steps=300, learning_rate=3e-3)
    expected = plain.sample(11, stream=SAMPLE)
    monkeypatch.setattr(torch.nn.functional, "layer_norm", wrong_layer_norm)
    model = tiny(precision="bfloat16").restore(*plain.state())
    with pytest.warns(EntropickWarning, match="sampling: not computed as bfloat16, eager"):
        sampled = model.sample(11, stream=SAMPLE)
    np.testing.assert_array_equal(sampled, expected)
    assert model.sampling_values()["execution"] == "float32, eager"


def test_a_fallback_survives_an_interruption(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "layer_norm", wrong_layer_norm)
    with pytest.warns(EntropickWarning):
        undisturbed = fitted(precision="bfloat16")
    with pytest.warns(EntropickWarning):
        model, n_stopped = with_interruptions(lambda work: fitted(work, precision="bfloat16"), 1, 31)
    assert n_stopped == 2
    np.testing.assert_equal(model.state(), undisturbed.state())
    assert model.training_values() == undisturbed.training_values()


def test_what_a_graph_leaves_behind_is_compared_with_the_same_kernels_uncaptured():
    def compute(execution):
        left = {LOW.plain(): 9.0, LOW: 2.0, dataclasses.replace(LOW, captured=True): 2.8}[execution]
        return dataclasses.replace(probe(1.0), effects={"the weights": [torch.full((3,), left)], "the average": []})

    with pytest.warns(EntropickWarning, match=r"captured: two steps leave the weights 0.4 off .*, 0.35 is allowed"):
        wanted = dataclasses.replace(LOW, captured=True)
        passage = pass_gate([wanted], compute, what="training", before={}, work=Work())
    assert passage.execution == LOW


@pytest.mark.parametrize("error", [ValueError("no"), AssertionError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_whatever_keeps_a_path_from_being_built_a_plainer_one_is_used(error):
    def compute(execution):
        if execution.captured:
            raise error
        return probe(1.0)

    with pytest.warns(EntropickWarning, match=rf"could not be built \({str(error) or 'AssertionError'}\)"):
        assert pass_gate([CAPTURED], compute, what="training", before={}, work=Work()).execution.captured is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_where_there_is_no_cuda_a_graph_is_refused_not_fatal(monkeypatch):
    monkeypatch.setattr(Execution, "ways", lambda *args: (Execution(CPU, captured=True),))
    with pytest.warns(EntropickWarning, match="it could not be built"):
        assert fitted().training_values()["execution"] == "float32, eager"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_float16_is_for_cuda():
    with pytest.raises(InputError, match="precision: float16 needs a CUDA device, got device 'cpu'"):
        fitted(precision="float16")


@pytest.fixture
def float16_anywhere(monkeypatch):
    """Float16 on the processor, slow but there, so that loss scaling can be tested without CUDA."""
    monkeypatch.setattr(ddpm, "check_precision", lambda *args: None)


def test_float16_trains_with_a_scaled_loss_and_resumes_bit_for_bit(float16_anywhere):
    half, plain = fitted(precision="float16"), fitted()
    assert half.training_values()["execution"] == "float16, eager"
    assert half.final_loss_ == pytest.approx(plain.final_loss_, rel=2e-3)
    model, _ = with_interruptions(lambda work: fitted(work, precision="float16"), 1, 40)
    np.testing.assert_equal(model.state(), half.state())
    assert model.training_values() == half.training_values()


def test_a_float16_step_that_overflows_is_left_out(float16_anywhere, monkeypatch):
    # So large a first scale overflows until it has been halved often enough.
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *args, **more: scaler(*args, **more, init_scale=2.0**40))
    model = fitted(precision="float16")
    assert all(np.isfinite(array).all() for array in model.state()[0].values())
    assert model.final_loss_ < 1.2


def test_the_ways_depend_on_device_precision_and_network_alone(monkeypatch):
    def ways(device, precision="auto", network="unet"):
        return [way.name for way in Execution.ways(torch.device(device), precision, network)]

    # Triton comes with torch's builds for GPUs.
    monkeypatch.setattr(kernels, "IS_HERE", True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert ways("cuda") == ["float32, channels last, captured", "float32, captured"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert ways("cuda") == [
        "bfloat16, channels last, fused, captured",
        "bfloat16, captured",
        "float32, channels last, captured",
        "float32, captured",
    ]
    monkeypatch.setattr(kernels, "IS_HERE", False)
    assert ways("cuda", "bfloat16") == ["bfloat16, channels last, captured"]
    assert ways("cuda", network="mlp") == ["bfloat16, captured", "float32, captured"]
    assert ways("cuda", "float16") == ["float16, channels last, captured"]
    plain = ["float32, eager", "float32, channels last, eager"]
    for instruction in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        assert ways("cpu") == plain and ways("cpu", network="mlp") == plain[:1]
        monkeypatch.setattr(torch.cpu, instruction, lambda: True)
        assert ways("cpu") == [*plain, "bfloat16, eager", "bfloat16, channels last, eager"]
        assert ways("cpu", network="mlp") == ["float32, eager", "bfloat16, eager"]
    assert ways("cpu", "bfloat16") == ["bfloat16, eager"]


def test_the_images_are_left_alone_by_the_gate():
    before = IMAGES.copy()
    fitted(precision="bfloat16")
    np.testing.assert_array_equal(IMAGES, before)


FLOAT32_LAID_OUT = Execution(CPU, channels_last=True)
WAYS = (Execution(CPU), FLOAT32_LAID_OUT, LOW)


class Together(Work):
    """The work of one of several arms: what one has chosen is there for the others."""

    def __init__(self):
        self.chosen = {}

    def choice(self, question):
        return self.chosen.get(question)

    def choose(self, question, answer):
        return self.chosen.setdefault(question, answer)


def timed(seconds, *, steps=1000, work=None, before=None, wrong=(), ways=WAYS):
    """What comes through the gate where a step of each way takes so long; and which ways were probed, in order."""
    probed = []

    def compute(way):
        probed.append(way)
        return probe(1.2 if way in wrong else 1.0)

    left = Left(steps, lambda: seconds[probed[-1]], "the arm")
    return pass_gate(ways, compute, what="training", before=before or {}, work=work or Work(), left=left), probed


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [
        ((1.0, 0.9, 0.5), LOW),
        ((1.0, 0.5, 0.9), FLOAT32_LAID_OUT),
        ((1.0, 0.5, 0.49), FLOAT32_LAID_OUT),  # no faster than noise
        ((1.0, 0.96, 0.97), WAYS[0]),
    ],
)
def test_long_work_takes_what_is_clearly_fastest_and_writes_the_times_down(seconds, taken):
    passage, probed = timed(dict(zip(WAYS, seconds, strict=True)))
    assert passage.execution == taken
    assert passage.values()["step_seconds"] == {way.name: n for way, n in zip(WAYS, seconds, strict=True)}
    # What is used is what was built last.
    assert probed[-1] == taken


@pytest.mark.parametrize(("steps", "second"), [(999, 1.0), (1000, 0.02)])
def test_short_work_takes_the_first_way_and_binds_no_longer_work(steps, second):
    work, seconds = Together(), dict.fromkeys(WAYS, second) | {LOW: second / 10}
    passage, probed = timed(seconds, steps=steps, work=work)
    assert passage.execution == WAYS[0] and passage.values() == {} and LOW not in probed and work.chosen == {}
    assert timed(seconds, steps=100_000, work=work)[0].execution == LOW


def test_what_is_faster_but_wrong_is_refused():
    with pytest.warns(EntropickWarning, match="training: not computed as bfloat16, eager: outputs differ by 0.2"):
        passage, probed = timed({WAYS[0]: 1.0, FLOAT32_LAID_OUT: 0.8, LOW: 0.1}, wrong=[LOW])
    assert passage.execution == FLOAT32_LAID_OUT == probed[-1]
    assert list(passage.timed) == [WAYS[0].name, FLOAT32_LAID_OUT.name] and len(passage.refused) == 1


def test_what_is_fallen_back_to_is_timed_itself():
    seconds = {WAYS[0]: 1.0, FLOAT32_LAID_OUT: 0.7, LOW: 0.1}
    with pytest.warns(EntropickWarning, match="bfloat16, eager: outputs differ"):
        passage, probed = timed(seconds, wrong=[LOW], ways=(LOW, FLOAT32_LAID_OUT))
    assert dict(passage.timed) == {WAYS[0].name: 1.0, FLOAT32_LAID_OUT.name: 0.7}
    assert passage.execution == FLOAT32_LAID_OUT == probed[-1]


def test_what_one_arm_has_chosen_the_others_take_untimed():
    work = Together()
    timed({WAYS[0]: 1.0, FLOAT32_LAID_OUT: 0.5, LOW: 0.8}, work=work)
    assert work.chosen == {"the arm": FLOAT32_LAID_OUT.name}
    passage, probed = timed({}, work=work)
    assert passage.execution == FLOAT32_LAID_OUT and passage.timed == {} and LOW not in probed
    # Who was timing at the same moment takes it too.
    work.choice = lambda question: None
    passage, probed = timed({WAYS[0]: 1.0, FLOAT32_LAID_OUT: 0.5, LOW: 0.2}, work=work)
    assert passage.execution == FLOAT32_LAID_OUT == probed[-1]


def test_what_was_interrupted_goes_on_as_it_began_untimed():
    chosen, _ = timed({WAYS[0]: 1.0, FLOAT32_LAID_OUT: 0.9, LOW: 0.1})
    passage, _ = timed({}, before=chosen.state())
    assert passage == chosen and passage.execution == LOW
    plain, _ = timed(dict.fromkeys(WAYS, 1.0))
    assert timed({}, before=plain.state()) == (plain, [])


def test_a_choice_that_is_none_of_the_ways_is_not_heeded():
    work = Together()
    work.choose("the arm", "on an abacus")
    passage, _ = timed(dict.fromkeys(WAYS, 1.0), work=work)
    assert passage.execution == WAYS[0]


def on_this_processor(monkeypatch, times=None):
    """Any work is long, on a processor with bfloat16; its steps take these times one after the other, or their own."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for least in ("WORTH_TIMING", "WORTH_TRYING"):
        monkeypatch.setattr(gate, least, 0)
    if times is not None:
        given = iter(times)
        for module in ("training", "sampling"):
            monkeypatch.setattr(f"entropick.diffusion.{module}.seconds_of", lambda *args: next(given))


def test_a_model_trains_and_samples_in_the_fastest_way_and_resumes_in_it(monkeypatch):
    low = fitted(precision="bfloat16")
    on_this_processor(monkeypatch, [1.0, 0.5])
    model, n_stopped = with_interruptions(lambda work: fitted(work, precision="auto"), 1, 31)
    assert n_stopped == 2
    assert model.training_values()["execution"] == "bfloat16, eager"
    assert model.training_values()["step_seconds"] == {"float32, eager": 1.0, "bfloat16, eager": 0.5}
    np.testing.assert_equal(model.state(), low.state())


def test_the_shortest_training_can_be_timed(monkeypatch):
    plain, low = fitted(steps=3, precision="float32"), fitted(steps=3, precision="bfloat16")
    on_this_processor(monkeypatch)
    model = fitted(steps=3, precision="auto")
    values = model.training_values()
    assert min(values["step_seconds"].values()) > 0 and len(values["step_seconds"]) == 2
    chosen = plain if values["execution"] == "float32, eager" else low
    np.testing.assert_equal(model.state(), chosen.state())


def test_a_chunk_is_computed_in_as_many_pieces_as_are_fastest(monkeypatch):
    model = fitted(precision="float32")
    whole = model.sample(11, stream=SAMPLE)
    # Two ways, and then one, two, four and eight pieces.
    on_this_processor(monkeypatch, [1.0, 1.0, 1.0, 0.99, 0.5, 0.49])
    assert fitted(precision="float32").sample(11, stream=SAMPLE).tolist() == whole.tolist()
    parts = tiny(precision="auto").restore(*model.state())
    work = Together()
    found = parts.sample(11, stream=SAMPLE, work=work)
    assert parts.sampling_values()["computed_in_parts"] == 4
    assert np.abs(found.astype(int) - whole).max() <= 1
    (first, way), (second, answer) = work.chosen.items()
    assert (way, answer) == ("float32, eager", "4") and second == f"parts of a chunk, float32, eager, {first}"
    parts.sample(11, stream=SAMPLE, work=work)
    assert parts.sampling_values() == {"computed_in_parts": 4}


@pytest.mark.parametrize("conditional", [False, True])
def test_as_many_chunks_are_computed_at_once_as_are_fastest(monkeypatch, conditional):
    """Small ones do not fill a GPU; here the processor is taken for one."""
    more = {"conditional": True, "guidance": 1.0} if conditional else {}
    model = fitted(labels=LABELS if conditional else None, precision="float32", **more)
    alone = model.sample(37, stream=SAMPLE).astype(int)
    monkeypatch.setattr("entropick.diffusion.sampling._is_divided", lambda device: False)
    # Two ways; then one, two and four chunks of the five at once, in as many steps as they need together.
    on_this_processor(monkeypatch, [1.0, 1.0, 1.0, 1.2, 1.7])
    several = tiny(precision="auto", **more).restore(*model.state())
    work = Together()
    found = several.sample(37, stream=SAMPLE, work=work)
    assert several.sampling_values()["chunks_at_once"] == 4
    assert np.abs(found - alone).max() <= 1 and (found != alone).mean() < 0.02
    (first, _), (second, answer) = work.chosen.items()
    assert answer == "4" and second == f"chunks at once, float32, eager, {first}"
    # Who shares the study takes it untimed, but never more than there are chunks.
    assert several.sample(37, stream=SAMPLE, work=work).tolist() == found.tolist()
    assert several.sampling_values() == {"chunks_at_once": 4}
    several.sample(24, stream=SAMPLE, work=work)
    assert "chunks_at_once" not in several.sampling_values()


def test_a_trial_is_gone_before_the_next_one_is_built(monkeypatch):
    """On a GPU each holds a graph, and there may be no memory for two."""
    on_this_processor(monkeypatch, [1.0, 0.5, 0.8])
    built, alive, build = [], [], Training._new_step

    def watched(self, network, execution):
        gc.collect()
        alive.append(sum(trial() is not None for trial in built))
        step = build(self, network, execution)
        built.append(weakref.ref(step))
        return step

    monkeypatch.setattr(Training, "_new_step", watched)
    fitted(precision="auto")
    assert alive == [0] * len(alive) and len(alive) > 2


def test_chunks_are_computed_at_once_where_the_study_has_chosen_the_plain_way(monkeypatch):
    model = fitted(precision="float32")
    monkeypatch.setattr("entropick.diffusion.sampling._is_divided", lambda device: False)
    on_this_processor(monkeypatch, [1.0, 1.2, 9.0])
    work = Together()
    work.choice = lambda question: None if question.startswith("chunks at once") else "float32, eager"
    several = tiny(precision="auto").restore(*model.state())
    several.sample(37, stream=SAMPLE, work=work)
    assert several.sampling_values()["chunks_at_once"] == 2


def test_chunks_that_are_not_faster_together_are_computed_one_by_one(monkeypatch):
    model = fitted(precision="float32")
    alone = model.sample(37, stream=SAMPLE)
    monkeypatch.setattr("entropick.diffusion.sampling._is_divided", lambda device: False)
    on_this_processor(monkeypatch, [1.0, 1.0, 1.0, 1.6])
    one = tiny(precision="auto").restore(*model.state())
    np.testing.assert_array_equal(one.sample(37, stream=SAMPLE), alone)
    assert "chunks_at_once" not in one.sampling_values()


def test_chunks_at_once_survive_an_interruption(monkeypatch):
    model = fitted(precision="float32")
    monkeypatch.setattr("entropick.diffusion.sampling._is_divided", lambda device: False)
    on_this_processor(monkeypatch, [1.0, 1.0, 1.0, 1.2, 9.0] * 2)
    several = tiny(precision="auto").restore(*model.state())
    expected = several.sample(60, stream=SAMPLE)
    found, n_stopped = with_interruptions(lambda work: several.sample(60, stream=SAMPLE, work=work), 1, 2)
    assert n_stopped == 2 and several.sampling_values()["chunks_at_once"] == 2
    np.testing.assert_array_equal(found, expected)
