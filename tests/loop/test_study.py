"""A study: arms share what they have in common, and one arm's trouble is its own."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter

import numpy as np
import pytest
from loop_parts import SELECTORS, Failing, make_loop, tiny_ddpm

from entropick import Accumulate, Replace, Study
from entropick.errors import (
    BudgetSpent,
    EntropickWarning,
    InputError,
    RunChanged,
    RunDamaged,
    RunLocked,
    StudyFailed,
    TrainingDiverged,
)
from entropick.features import Classifier, Pixels
from entropick.run import History, find_runs, locked, verify_run
from entropick.selectors import Greedy

pytestmark = pytest.mark.usefixtures("one_thread")


def make_study(images, *, seeds=(0,), **arms):
    loops = {name: make_loop(images, n_iterations=2, **settings) for name, settings in arms.items()}
    return Study(name="tiny", arms=loops, seeds=seeds)


@pytest.fixture
def study(images):
    return make_study(
        images,
        replace={"paradigm": Replace(), "generator": tiny_ddpm(steps=30)},
        accumulate={"generator": tiny_ddpm(steps=30)},
        greedy={"selector": SELECTORS["greedy"], "generator": tiny_ddpm(steps=30)},
        kde={"selector": SELECTORS["random"]},
    )


def seals(folder):
    return {str(run.relative_to(folder)): History(run).seal for run in find_runs(folder)}


def shared(run):
    return {(entry.iteration, entry.stage) for entry in History(run).entries if "shared_from" in entry.timing}


def test_arms_share_what_they_have_in_common_and_equal_loops_that_ran_alone(tmp_path, study):
    study.run(tmp_path / "study")
    arms = tmp_path / "study" / "arms"
    first = {(1, "train"), (1, "sample"), (1, "measure")}
    data = {(0, "data"), (0, "baseline")}
    assert shared(arms / "replace" / "seed-0") == set()
    # Iteration 1 trains on the real images, whatever the paradigm; the greedy arm trains on fewer of them.
    assert shared(arms / "accumulate" / "seed-0") == {*data, (1, "select"), *first}
    assert shared(arms / "greedy" / "seed-0") == shared(arms / "kde" / "seed-0") == data
    for name in ("model.safetensors", "generated.npy"):
        copies = [arms / arm / "seed-0" / "iteration-001" / name for arm in ("replace", "accumulate")]
        assert copies[0].samefile(copies[1])
    for arm_run in study.arm_runs():
        alone = arm_run.loop.run(tmp_path / "alone" / arm_run.place.arm)
        assert alone.seal == History(tmp_path / "study" / arm_run.path).seal


def test_arms_that_select_in_different_spaces_are_measured_in_the_same(tmp_path, images):
    spaces = {"evaluation": (Pixels(), Classifier(steps=5)), "selector": SELECTORS["greedy"], "paradigm": Accumulate()}
    study = make_study(images, pixels={**spaces}, classifier={**spaces, "features": Classifier(steps=5)})
    study.run(tmp_path / "study")
    assert (0, "baseline") in shared(tmp_path / "study" / "arms" / "classifier" / "seed-0")
    for arm_run in study.arm_runs():
        run = History(tmp_path / "study" / arm_run.path)
        assert arm_run.loop.run(tmp_path / "alone" / arm_run.place.arm).seal == run.seal
        assert run.find(2, "measure").values["pairs"]["feature_space"] == "pixels"


def test_without_hard_links_the_arms_have_copies_and_the_same_seals(tmp_path, study, monkeypatch):
    study.run(tmp_path / "linked")

    def refuse(*paths):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    study.run(tmp_path / "copied")
    assert seals(tmp_path / "copied") == seals(tmp_path / "linked")
    assert all(verify_run(run).damages == () for run in find_runs(tmp_path / "copied"))


def test_what_another_study_has_computed_is_linked(tmp_path, study):
    study.run(tmp_path / "first")
    computed = {entry.key: entry.timing["seconds"] for run in find_runs(tmp_path / "first") for entry in own(run)}
    again = dataclasses.replace(study, name="again", seeds=(0, 1))
    n_computed = again.run(tmp_path / "again", reuse=[tmp_path / "first"])
    again.run(tmp_path / "alone")
    assert seals(tmp_path / "again") == seals(tmp_path / "alone")
    assert n_computed == len(set_of_results(tmp_path / "alone") - set_of_results(tmp_path / "first"))
    linked = [entry for run in find_runs(tmp_path / "again") if run.name == "seed-0" for entry in History(run).entries]
    assert all(entry.timing["took"] == computed[entry.key] and entry.timing["seconds"] == 0 for entry in linked)


def own(run):
    return [entry for entry in History(run).entries if "shared_from" not in entry.timing]


def test_a_study_that_would_not_have_got_the_same_results_is_not_reused(tmp_path, study):
    dataclasses.replace(study, threads=2).run(tmp_path / "first")
    with pytest.raises(InputError, match=r"reuse: expected a study with threads = 1, .*first was made with 2"):
        study.run(tmp_path / "again", reuse=[tmp_path / "first"])
    with pytest.raises(InputError, match=r"reuse: expected the directory of a study, found no study\.json in .*none"):
        study.run(tmp_path / "again", reuse=[tmp_path / "none"])
    assert not (tmp_path / "again").exists()


def test_workers_do_not_change_results(tmp_path, study, within_a_minute):
    events = {1: [], 2: []}
    computed = {n: study.run(tmp_path / str(n), workers=n, observer=events[n].append) for n in (1, 2)}
    assert seals(tmp_path / "1") == seals(tmp_path / "2")
    assert computed[1] == computed[2] == len(set_of_results(tmp_path / "1"))
    done = {
        n: Counter((e.place.arm, e.event.iteration) for e in events[n] if e.event.stage == "iteration") for n in events
    }
    assert done[1] == done[2] == Counter((arm, n) for arm in study.arms for n in (1, 2))


def set_of_results(folder):
    return {entry.key for run in find_runs(folder) for entry in History(run).entries}


def test_a_finished_study_computes_nothing(tmp_path, study):
    assert study.run(tmp_path) > 0
    before = seals(tmp_path)
    assert study.run(tmp_path) == 0
    assert study.run(tmp_path, workers=2) == 0
    assert seals(tmp_path) == before


def test_seeds_are_runs_of_their_own_and_may_be_added(tmp_path, images):
    make_study(images, kde={}).run(tmp_path)
    before = seals(tmp_path)
    make_study(images, seeds=(1,), kde={}, more={"selector": SELECTORS["greedy"]}).run(tmp_path)
    after = seals(tmp_path)
    assert before.items() < after.items()
    assert after.keys() == {"arms/kde/seed-0", "arms/kde/seed-1", "arms/more/seed-1"}
    assert len(set(after.values())) == 3
    described = json.loads((tmp_path / "study.json").read_text())
    assert (described["seeds"], list(described["arms"])) == ([0, 1], ["kde", "more"])


def test_seeds_have_real_images_of_their_own_where_the_dataset_says_so(tmp_path, images):
    loop = make_loop(images, n_iterations=1)
    by_seed = dataclasses.replace(loop, dataset=dataclasses.replace(loop.dataset, split_seed="seed"))
    for name, one in (("alike", loop), ("by-seed", by_seed)):
        Study(name=name, arms={"replace": one}, seeds=(0, 1)).run(tmp_path / name)
    real = {
        run.relative_to(tmp_path).as_posix(): History(run).digest(0, "data", "real.npy") for run in find_runs(tmp_path)
    }
    path = "arms/replace/seed-{}"
    assert real[f"alike/{path.format(0)}"] == real[f"alike/{path.format(1)}"] == real[f"by-seed/{path.format(0)}"]
    assert real[f"by-seed/{path.format(1)}"] != real[f"by-seed/{path.format(0)}"]
    assert History(tmp_path / "by-seed" / path.format(1)).config["dataset"]["split_seed"] == 1


def test_sizes_are_runs_of_their_own_from_nested_real_images(tmp_path, images):
    study = make_study(
        images,
        kde={"selector": Greedy(n_samples=40), "n_generated": 80},
        other={"paradigm": Replace(), "n_generated": 40},
    )
    for loop in study.arms.values():
        loop.dataset.n_reference = 20
    study.sizes = (10, 20)
    study.run(tmp_path)
    assert set(seals(tmp_path)) == {f"arms/{arm}/size-{n}/seed-0" for arm in ("kde", "other") for n in (10, 20)}
    small, large = (History(tmp_path / "arms" / "kde" / f"size-{n}" / "seed-0") for n in (10, 20))
    rows = [{image.tobytes() for image in run.load(0, "real.npy")} for run in (small, large)]
    assert len(rows[0]) == 10 and rows[0] < rows[1]
    assert (small.load(0, "reference.npy") == large.load(0, "reference.npy")).all()
    assert [len(run.load(1, "generated.npy")) for run in (small, large)] == [20, 40]
    assert [run.find(2, "select").values["n_selected"] for run in (small, large)] == [10, 20]
    study.sizes = (10, 20, 30)
    assert study.run(tmp_path) > 0
    assert json.loads((tmp_path / "study.json").read_text())["sizes"] == [10, 20, 30]
    study.sizes = ()
    with pytest.raises(RunChanged, match="was made with sizes, now there are none"):
        study.run(tmp_path)


@pytest.mark.parametrize(
    ("workers", "how", "said"),
    [
        (1, "diverge", "TrainingDiverged: the loss"),
        (1, "bug", "ZeroDivisionError: a bug"),
        (2, "bug", "a bug"),
        *((workers, "memory", r"MemoryExhausted: the GPU is out of memory \(CUDA .* 2.00 GiB\)") for workers in (1, 2)),
    ],
)
def test_a_failed_arm_does_not_take_the_others_with_it(tmp_path, images, workers, how, said, within_a_minute):
    study = make_study(images, first={}, bad={"generator": Failing(how=how)}, last={"selector": SELECTORS["greedy"]})
    with pytest.raises(StudyFailed, match=rf"(?s)1 of 3 arm runs .*arms/bad/seed-0: .*{said}"):
        study.run(tmp_path, workers=workers)
    finished = {run.parent.name: History(run).is_finished for run in find_runs(tmp_path)}
    assert finished == {"first": True, "bad": False, "last": True}


def test_processes_that_are_killed_are_told_of_and_nobody_waits_for_them(tmp_path, images, within_a_minute):
    bad = {f"bad-{i}": {"generator": Failing(how="killed")} for i in range(4)}
    with pytest.raises(StudyFailed, match="killed"):
        make_study(images, **bad).run(tmp_path, workers=2)
    assert all(not History(run).is_finished for run in find_runs(tmp_path))


def test_a_killed_process_leaves_the_other_arms_to_the_others(tmp_path, images, within_a_minute):
    arms = {"bad": {"generator": Failing(how="killed")}, **{f"good-{i}": {"n_generated": 50 + i} for i in range(3)}}
    with pytest.raises(StudyFailed, match=r"arms/bad/seed-0.*killed"):
        make_study(images, **arms).run(tmp_path, workers=2)
    finished = {run.parent.name for run in find_runs(tmp_path) if History(run).is_finished}
    assert finished == {"good-0", "good-1", "good-2"}


def test_the_same_mistake_in_every_arm_is_said_once_as_itself(tmp_path, images):
    study = make_study(images, a={"generator": Failing()}, b={"generator": Failing(), "paradigm": Replace()})
    with pytest.raises(TrainingDiverged, match=r"^the loss became nan$"):
        study.run(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_arm_is_named_and_the_others_go_on(tmp_path, images, workers, within_a_minute):
    make_study(images, bad={}, good={"selector": SELECTORS["greedy"]}).run(tmp_path)
    path = tmp_path / "arms" / "bad" / "seed-0" / "ledger.jsonl"
    path.write_text("junk\n" + path.read_text())
    more = make_study(images, bad={}, good={"selector": SELECTORS["greedy"]}, new={"paradigm": Replace()})
    with pytest.raises((StudyFailed, RunDamaged), match=r"bad/seed-0/ledger\.jsonl: line 1 is damaged"):
        more.run(tmp_path, workers=workers)
    assert History(tmp_path / "arms" / "new" / "seed-0").is_finished


@pytest.mark.parametrize("workers", [1, 2])
def test_a_spent_budget_stops_all_arms_and_the_same_call_goes_on(tmp_path, images, workers, within_a_minute):
    study = make_study(images, a={}, b={"selector": SELECTORS["greedy"]}, c={"paradigm": Replace()})
    with pytest.raises(BudgetSpent):
        study.run(tmp_path, workers=workers, budget_seconds=1e-6)
    assert list(tmp_path.rglob("*.npy")) == []
    study.run(tmp_path, budget_seconds=1000)
    assert len(seals(tmp_path)) == 3


def test_a_changed_arm_is_refused_before_any_arm_is_run(tmp_path, images):
    make_study(images, a={}, b={"n_generated": 45}).run(tmp_path)
    before = (tmp_path / "study.json").read_text()
    with pytest.raises(RunChanged, match=r"arms/b/seed-0 was made with another config:\n  n_generated: was 45, now 46"):
        make_study(images, new={}, b={"n_generated": 46}).run(tmp_path)
    assert (tmp_path / "study.json").read_text() == before
    assert not (tmp_path / "arms" / "new").exists()


def test_another_number_of_threads_is_refused(tmp_path, images):
    study = make_study(images, a={})
    study.run(tmp_path)
    study.threads = 2
    with pytest.raises(RunChanged, match="threads = 1, now 2"):
        study.run(tmp_path)


def test_a_second_study_in_the_same_directory_ends_at_once(tmp_path, images):
    with locked(tmp_path), pytest.raises(RunLocked, match=f"process {os.getpid()}"):
        make_study(images, a={}).run(tmp_path)


BAD = {
    "arms": {"arms": {}},
    "seeds": {"seeds": ()},
    "different": {"seeds": (1, 1)},
    "threads": {"threads": 0},
    "checkpoint_seconds": {"checkpoint_seconds": 0.0},
}


@pytest.mark.parametrize("said", BAD)
def test_what_is_wrong_without_data_is_said_before_anything_is_written(tmp_path, images, said):
    study = make_study(images, a={})
    for name, value in BAD[said].items():
        setattr(study, name, value)
    with pytest.raises(InputError, match=said.removesuffix("s")):
        study.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65])
def test_an_arms_name_must_do_as_a_directory(tmp_path, images, name):
    with pytest.raises(InputError, match="arms: expected names"):
        make_study(images, **{name: {}}).run(tmp_path / "out")


def test_a_wrong_arm_is_named(images):
    with pytest.raises(InputError, match="arm 'b': n_iterations"):
        study = make_study(images, a={}, b={})
        study.arms["b"].n_iterations = 0
        study.check()


def test_a_study_of_an_earlier_version_goes_on_with_its_measures(tmp_path, images, monkeypatch):
    """Measures that came since are not in its keys, and change nothing of what it trains."""
    from entropick.loop import loop as loop_module

    arms = {"replace": {"paradigm": Replace()}}
    earlier = loop_module.LOOP_MEASURES[:-1]
    monkeypatch.setattr(loop_module, "LOOP_MEASURES", earlier)
    make_study(images, **{"replace": {**arms["replace"], "metrics": earlier}}).run(tmp_path / "study")
    before = seals(tmp_path / "study")
    monkeypatch.undo()
    study = make_study(images, **arms)
    newest = loop_module.LOOP_MEASURES[-1]
    said = rf"goes on with the measures that it began with, without {newest}\. To have these as well: another folder"
    with pytest.warns(EntropickWarning, match=rf"{said} with reuse="):
        assert study.run(tmp_path / "study") == 0
    assert seals(tmp_path / "study") == before
    with pytest.warns(EntropickWarning, match=rf"{said}\."):
        study.arms["replace"].run(tmp_path / "study/arms/replace/seed-0")
    longer = dataclasses.replace(study, arms={"replace": dataclasses.replace(study.arms["replace"], n_iterations=3)})
    with pytest.warns(EntropickWarning, match=said):
        assert longer.run(tmp_path / "study") == 4
    assert History(tmp_path / "study/arms/replace/seed-0").metrics[2].keys() >= {f"{name}/pixels" for name in earlier}
    asked = dataclasses.replace(study.arms["replace"], metrics=("recall",))
    with pytest.raises(RunChanged, match=r"metrics: was .*, now"):
        dataclasses.replace(study, arms={"replace": asked}).run(tmp_path / "study")


def test_a_new_directory_that_reuses_an_earlier_one_has_all_measures_and_trains_nothing(tmp_path, images):
    make_study(images, replace={"metrics": ("recall",)}).run(tmp_path / "old")
    make_study(images, replace={}).run(tmp_path / "new", reuse=[tmp_path / "old"])
    run = tmp_path / "new/arms/replace/seed-0"
    assert {stage for _, stage in shared(run)} >= {"data", "select", "train", "sample"}
    assert "spacing_ratio/pixels" in History(run).metrics[-1]


def test_a_loop_does_not_run_in_the_folder_of_a_study(tmp_path, images):
    make_study(images, replace={"metrics": ("recall",)}).run(tmp_path / "study")
    before = seals(tmp_path / "study")
    with pytest.raises(InputError, match=r"expected a new folder or one of an earlier run, but .* holds study\.json"):
        make_loop(images).run(tmp_path / "study")
    assert seals(tmp_path / "study") == before and not (tmp_path / "study" / "ledger.jsonl").exists()


def test_seeds_of_numpy_are_seeds(tmp_path, images):
    study = make_study(images, seeds=tuple(np.arange(2)), replace={"metrics": ("recall",), "n_generated": np.int64(48)})
    study.threads = np.int64(1)
    study.run(tmp_path / "numpy")
    make_study(images, seeds=(0, 1), replace={"metrics": ("recall",), "n_generated": 48}).run(tmp_path / "python")
    assert seals(tmp_path / "numpy") == seals(tmp_path / "python") and len(seals(tmp_path / "numpy")) == 2


def test_a_budget_is_a_number_of_seconds(tmp_path, images):
    with pytest.raises(InputError, match=r"budget_seconds: expected a number .*, got '10m'"):
        make_study(images, replace={}).run(tmp_path / "study", budget_seconds="10m")
    assert not (tmp_path / "study").exists()
