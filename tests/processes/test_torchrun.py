"""``torchrun``: the same images and, up to rounding, the same training in any number of processes; none of them counts.

Several processes add gradients in another order than one does, so trainings differ by rounding. A chunk of images is
computed by one process as ever, so images from the same weights are the same bit for bit.
"""

from __future__ import annotations

import ast
import os
import signal
import time

import engine
import numpy as np
import pytest
from torchrun import Torchrun, finished, wait_until

from entropick.cli import main
from entropick.features import Classifier
from entropick.generators import DDPM
from entropick.processes.hardware import limited_threads
from entropick.random_stream import RandomStream
from entropick.run import History
from entropick.work import Work

# Training moves a weight by up to 0.04; rounding by a hundredth of that at most, and bfloat16's by a tenth.
TOLERANCE = {"mlp": 1e-5, "everything": 1e-5, "bfloat16": 4e-3, "unet": 4e-3}
STUDY = """
name = "tiny"
checkpoint_seconds = 0.02
n_images = 64
[loop]
n_iterations = 1
n_generated = 250
dataset = "digits"
features = { kind = "classifier", steps = 40 }
selector = "greedy"
[loop.generator]
kind = "ddpm"
network = "mlp"
width = 32
depth = 1
steps = 400
batch_size = 31
warmup_steps = 5
learning_rate = 1e-3
conditional = true
sampling_steps = 100
sampling_chunk = 10
precision = "float32"
device = "cpu"
[arms.one]
"""


@pytest.fixture(autouse=True)
def one_thread():
    with limited_threads(1):
        yield


@pytest.fixture(scope="module")
def alone():
    with limited_threads(1):
        return {name: engine.made(model) for name, model in engine.MODELS.items()}


@pytest.mark.parametrize("n", [2, 3])
def test_models_are_those_of_one_process(tmp_path, alone, n):
    assert finished(n, engine.__file__, tmp_path) == (0, "")
    for name, model in engine.MODELS.items():
        found, stopped = (dict(np.load(tmp_path / f"{name}{how}.npz")) for how in ("", "-stopped"))
        np.testing.assert_equal(stopped, found)
        weights, state, _, numbers = alone[name]
        for key, array in weights.items():
            np.testing.assert_allclose(found[key], array, rtol=0, atol=TOLERANCE[name], err_msg=f"{name} {key}")
        own = engine.sampled(model, {key: found[key] for key in weights}, state, engine.N_SAMPLED, work=Work())
        np.testing.assert_array_equal(found["images"], own, err_msg=name)
        told = ast.literal_eval(str(found["numbers"]))
        assert told.pop("n_processes") == n
        assert told == {**numbers, "final_loss": pytest.approx(numbers["final_loss"], rel=1e-3)}


@pytest.fixture
def study(tmp_path):
    """The study's file, and its directory to be."""
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path / "tiny.toml", tmp_path / "out"


def command(study, *flags):
    return ("-m", "entropick", "run", study[0], "--out", study[1], *flags)


def end_at(study, n, checkpoint, end):
    """Start the command, and end it in some way when the next checkpoint of that name is there; return what it said."""
    pattern = f"work/*/{checkpoint}-*.safetensors"
    before = set(study[1].glob(pattern))
    with Torchrun(n, *command(study)) as run:
        wait_until(lambda: set(study[1].glob(pattern)) - before or run.process.poll() is not None)
        assert run.process.poll() is None
        end(run)
        code, said = run.ended()
    assert code != 0
    assert said.count("entropick: ") <= 1, said
    return said


def kill_rank(rank):
    return lambda run: os.kill(run.ranks()[rank], signal.SIGKILL)


def test_ended_in_any_way_it_goes_on_in_any_number_of_processes(study):
    """In the order in which a run goes on: a spent budget, then training and sampling, interrupted and killed."""
    code, said = finished(2, *command(study, "--budget", "0.3s"))
    assert code == 1 and said.count("entropick: the time budget is spent") == 1
    # torchrun has a code of its own, and tells that of the processes.
    assert "(exitcode: 75)" in said
    end_at(study, 2, "training", kill_rank(1))
    said = end_at(study, 3, "training", lambda run: run.process.send_signal(signal.SIGINT))
    assert said.count("entropick: interrupted. What was finished is kept; repeat the same command to go on.") == 1
    end_at(study, 2, "training", kill_rank(0))
    end_at(study, 2, "sampled", lambda run: run.process.send_signal(signal.SIGTERM))
    end_at(study, 2, "sampled", lambda run: run.process.kill())
    code, said = finished(2, *command(study))
    assert code == 0, said
    assert said.count("1 at a time, each by 2 processes") == said.count("page: ") == 1
    assert main(["verify", str(study[1])]) == 0
    assert main(["run", str(study[0]), "--out", str(study[1])]) == 0

    # What came out is what one process makes that nothing disturbs.
    undisturbed = (study[0], study[1].with_name("undisturbed"))
    assert main(list(map(str, command(undisturbed)[2:]))) == 0
    ours, theirs = (History(out / "arms" / "one" / "seed-0") for _, out in (study, undisturbed))
    assert [entry.key for entry in ours.entries[:5]] == [entry.key for entry in theirs.entries[:5]]
    assert ours.entries[4].stage == "train"
    weights, state = ours.load(1, "model.safetensors"), ours.load(1, "model.json")
    for name, array in theirs.load(1, "model.safetensors").items():
        np.testing.assert_allclose(weights[name], array, rtol=0, atol=1e-2, err_msg=name)
    model = DDPM(**{key: value for key, value in ours.config["generator"].items() if key != "kind"})
    images = model.restore(weights, state).sample(250, stream=RandomStream(0, 1, "sample"))
    np.testing.assert_array_equal(ours.load(1, "generated.npy"), images)
    space = Classifier(steps=40).restore(ours.load(0, "space-0.safetensors"), ours.load(0, "space-0.json"))
    # Features are kept by the content of each image, whatever set it is of.
    kept = {row.tobytes() for parts in kept_features(study[1]) for part in parts for row in np.load(part)}
    for images in (ours.load(0, "real.npy"), ours.load(0, "reference.npy"), ours.load(1, "generated.npy")):
        assert all(row.tobytes() in kept for row in space.extract(images))


def kept_features(out):
    return [list(folder.glob("*.npy")) for folder in out.glob("work/features/*")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_the_leader_saves_a_checkpoint_and_ends_all_in_time(study, number):
    """As a scheduler sends it to every process; torchrun itself ends with 1, and names the code in its report."""

    def ask(run):
        started.append(time.monotonic())
        for rank in run.ranks().values():
            os.kill(rank, number)

    started = []
    said = end_at(study, 2, "training", ask)
    assert time.monotonic() - started[0] < 30
    assert said.count(f"entropick: stopped by {number.name}") == 1 and "(exitcode: 75)" in said
    assert list(study[1].glob("work/*/training-*.safetensors")) and main(["verify", str(study[1])]) == 0


def test_a_second_signal_ends_at_once_although_another_process_is_stopped(study):
    """The leader waits for it within a library, where no handler of Python is called."""

    def ask(run):
        leader, other = run.ranks()[0], run.ranks()[1]
        os.kill(other, signal.SIGSTOP)
        time.sleep(1.0)
        started = time.monotonic()
        os.kill(leader, signal.SIGTERM)
        time.sleep(0.5)
        os.kill(leader, signal.SIGUSR1)
        wait_until(lambda: 0 not in run.ranks())
        assert time.monotonic() - started < 10
        os.kill(other, signal.SIGCONT)

    said = end_at(study, 2, "training", ask)
    assert f"(exitcode: {128 + signal.SIGUSR1})" in said and main(["verify", str(study[1])]) == 0


def test_stopped_and_continued_killed_while_stopped_and_gone_on_with(study):
    """SIGSTOP of a process: the other waits for it, and goes on once it does; killed while stopped it is missed."""

    def stop(run, rank):
        os.kill(run.ranks()[rank], signal.SIGSTOP)
        time.sleep(1.0)
        assert run.process.poll() is None and len(run.ranks()) == 2

    def stop_and_continue(run):
        for rank in (0, 1):
            stop(run, rank)
            before = set(study[1].glob("work/*/*-*.safetensors"))
            os.kill(run.ranks()[rank], signal.SIGCONT)
            wait_until(lambda before=before: set(study[1].glob("work/*/*-*.safetensors")) - before)
        stop(run, 1)
        os.kill(run.ranks()[1], signal.SIGKILL)

    end_at(study, 2, "training", stop_and_continue)
    code, said = finished(2, *command(study))
    assert code == 0, said
    assert main(["verify", str(study[1])]) == 0


def test_a_mistake_and_a_failed_arm_are_told_once_and_the_other_arms_go_on(study):
    code, said = finished(2, *command(study, "--workers", "2"))
    assert code == 1 and said.count("each arm is shared by 2 processes already") == said.count("entropick: ") == 1
    with study[0].open("a") as file:
        file.write("[arms.diverging]\ngenerator = { learning_rate = 1e30, clip_norm = 1e30 }\n")
        file.write('[arms.kde]\ngenerator = "kde"\n')
    code, said = finished(2, *command(study, "--arms", "diverging", "kde"))
    assert code == 1 and said.count("1 of 2 arm runs failed; the others are done.") == said.count("entropick: ") == 1
    assert said.count("TrainingDiverged") == 1 and "(exitcode: 2)" in said
    assert History(study[1] / "arms" / "kde" / "seed-0").n_iterations_done == 1
