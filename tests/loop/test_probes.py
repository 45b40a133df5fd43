"""Looks into a training: they change nothing in it, and see the model as a training that ends there has it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from interruptions import with_interruptions
from loop_parts import CountedPace, entries, make_loop, tiny_ddpm, write_images

from entropick import Study
from entropick.datasets import ArrayFile
from entropick.errors import BudgetSpent, InputError
from entropick.generators import DDPM
from entropick.loop.plan import plan_study
from entropick.random_stream import RandomStream
from entropick.report import read_table, write_page
from entropick.run import History, verify_run
from entropick.selectors import Random

STEPS = (10, 60, 120)


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    path = write_images(tmp_path_factory.mktemp("data") / "images.npz")
    return make_loop(path, generator=tiny_ddpm(ema=0.9), probe_steps=STEPS, n_iterations=2)


@pytest.fixture(scope="module")
def probed(loop, tmp_path_factory):
    return loop.run(tmp_path_factory.mktemp("run") / "probed")


def test_they_change_nothing(loop, probed, tmp_path):
    plain = dataclasses.replace(loop, probe_steps=()).run(tmp_path / "plain")
    assert "probe_steps" not in plain.config and probed.config["probe_steps"] == list(STEPS)
    for n in (1, 2):
        for stage, name in (("train", "model.safetensors"), ("sample", "generated.npy"), ("measure", "examples.npy")):
            assert probed.digest(n, stage, name) == plain.digest(n, stage, name)
        assert probed.values(n, "measure") == plain.values(n, "measure")


def test_the_last_step_is_seen_as_the_iteration_is(probed):
    for n in (1, 2):
        measured, seen = probed.values(n, "measure"), probed.values(n, "probe-120")
        assert {name: seen[name] for name in measured} == measured and seen["step"] == 120
        np.testing.assert_equal(probed.load(n, "probe-000120/pairs.npy"), probed.load(n, "pairs.npy"))
        assert probed.values(n, "probe-10")["metrics"] != measured["metrics"]


def test_a_probe_is_the_model_of_that_many_steps():
    """The learning rate follows all steps; where it is the same, so are the weights."""
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    stream = RandomStream(0, 1, "train")
    settings = {"warmup_steps": 1000, "ema": 0.9}
    long = tiny_ddpm(steps=120, **settings).fit(images, stream=stream, probe_steps=[40, 120])
    short = tiny_ddpm(steps=40, **settings).fit(images, stream=stream)
    np.testing.assert_equal(long.probed()[40], short.state()[0])
    np.testing.assert_equal(long.probed()[120], long.state()[0])
    assert short.probed() == {}


def test_an_interrupted_training_remembers_its_probes():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)

    def fit(work):
        return tiny_ddpm(steps=60).fit(images, stream=RandomStream(0, 1, "train"), work=work, probe_steps=[10, 20, 50])

    model, n_stopped = with_interruptions(fit, 9, 10, 30)
    assert n_stopped == 3
    np.testing.assert_equal(model.probed(), fit(None).probed())


@pytest.mark.parametrize("n", [40, 128, 200])
def test_a_loop_that_was_stopped_goes_on_to_the_same_seal(loop, probed, tmp_path, n):
    folder = tmp_path / "stopped"
    with pytest.raises(BudgetSpent):
        loop.run(folder, pace=CountedPace(n=n))
    assert loop.run(folder).seal == probed.seal
    assert not verify_run(folder).damages


def test_lines_table_and_figure(probed):
    assert [stage for n, stage in entries(probed.folder) if n == 1] == [
        *("select", "train", "probe-10", "probe-60", "probe-120", "sample", "measure")
    ]
    table = read_table(probed.folder)
    arm, run = next(iter(table.study.runs()))
    seen = table.of_run(arm, run, 1, "probe-60")
    assert seen == pytest.approx(History(probed.folder).values(1, "probe-60")["metrics"])
    (cost,) = table.costs()
    assert cost.images == 2 * (50 + 3 * 40) and cost.seconds["probe"] >= 0
    page = write_page(probed.folder).read_text()
    assert "over training steps" in page and "The model of iteration 1 as it was after each number of steps" in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe_steps": (10, 121)}, "probe_steps: expected at most the 120 steps of a training, got 121"),
        ({"probe_steps": (20, 10)}, r"probe_steps: expected different steps in ascending order, got \[20, 10\]"),
        ({"probe_steps": (0,)}, "probe_steps: expected a whole number of at least 1, got 0"),
        ({"probe_steps": 10}, "probe_steps: expected a tuple of steps, got 10"),
        ({"generator": tiny_ddpm(steps="auto", max_steps=200)}, "probe_steps: expected generator.steps to be a number"),
    ],
)
def test_steps_that_make_no_sense_are_refused_at_once(loop, changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(loop, **changes).check()


def test_only_what_learns_step_by_step_can_be_probed(images):
    with pytest.raises(InputError, match="probe_steps: expected a generator that learns step by step, got 'kde'"):
        make_loop(images, probe_steps=(5,)).check()


def test_with_epochs_the_steps_are_known_with_the_images():
    model = DDPM(epochs=2, batch_size=8)
    model.check_probes((10,))
    with pytest.raises(InputError, match="at most the 6 steps of a training on 20 images, got 10"):
        model.check_probes((10,), n_images=20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generator": tiny_ddpm(steps=128_000, epochs=2), "probe_steps": (13,)},
            "at most the 1[02] steps of a training on 4",
        ),
        (
            {"generator": tiny_ddpm(steps="auto", max_steps=60), "selector": Random(n_samples=15)},
            "of at least 16 images",
        ),
    ],
)
def test_what_no_training_set_allows_is_refused_before_the_first(images, tmp_path, changes, message):
    """Where the data set tells how many images it has at once, else with the data: nothing has begun by then."""
    loop = make_loop(images, n_iterations=1, **changes)
    with pytest.raises(InputError, match=message):
        loop.check()
    unknown = dataclasses.replace(loop, dataset=ArrayFile(path=str(images)))
    unknown.check()
    with pytest.raises(InputError, match=message):
        plan_study(Study(name="s", arms={"a": unknown}))
    with pytest.raises(InputError, match=message):
        unknown.run(tmp_path / "out")
    assert not (tmp_path / "out" / "ledger.jsonl").exists()


def test_the_smallest_size_is_checked_with_the_others(images):
    loop = make_loop(images, generator=tiny_ddpm(steps="auto", max_steps=60), n_generated=None)
    loop = dataclasses.replace(loop, dataset=dataclasses.replace(loop.dataset, n_reference=20))
    Study(name="s", arms={"a": loop}, sizes=(40, 16)).check()
    with pytest.raises(InputError, match="arm 'a': steps: 'auto' expected training sets of at least 16 images"):
        Study(name="s", arms={"a": loop}, sizes=(40, 12)).check()
