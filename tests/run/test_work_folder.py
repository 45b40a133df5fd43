"""Checkpoints: two are kept, a damaged one is passed over; pace: when to save, when to stop."""

from __future__ import annotations

import time

import numpy as np
import pytest

from entropick.errors import BudgetSpent
from entropick.run import Pace
from entropick.run.work_folder import StageWork


@pytest.fixture
def work(tmp_path):
    return StageWork(tmp_path / "work", Pace(), lambda *progress: None)


def save(work, *steps, name="training"):
    for step in steps:
        work.save(name, {"x": np.full(1000, step), "scalar": np.array(step)}, {"step": step})


def saved(work):
    return sorted(work._folder.iterdir())


def test_the_newest_checkpoint_comes_back_whole(work):
    assert work.load("training") is None
    save(work, 1, 2, 3)
    arrays, state = work.load("training")
    assert state == {"step": 3}
    assert arrays["x"].dtype == np.int64
    np.testing.assert_equal(arrays, {"x": np.full(1000, 3), "scalar": np.array(3)})


def test_two_are_kept_of_each_name(work):
    save(work, *range(12))
    save(work, 7, name="sampled")
    assert [path.name for path in saved(work)] == [
        "sampled-000000.safetensors",
        "training-000010.safetensors",
        "training-000011.safetensors",
    ]
    assert work.load("sampled")[1] == {"step": 7}


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("hurt", [cut, flip, empty])
def test_a_damaged_checkpoint_is_passed_over_for_the_older(work, hurt):
    save(work, 1, 2)
    hurt(saved(work)[-1])
    arrays, state = work.load("training")
    assert (state, arrays["x"][0]) == ({"step": 1}, 1)
    hurt(saved(work)[0])
    assert work.load("training") is None
    save(work, 5)
    assert work.load("training")[1] == {"step": 5}


def test_clear_removes_all(work):
    save(work, 1)
    work.clear()
    assert not work._folder.exists()
    work.clear()


def test_a_checkpoint_is_due_after_its_time_and_again_after_it_was_saved():
    pace = Pace(checkpoint_seconds=10)
    assert not pace.due()
    pace._saved_at -= 10
    assert pace.due()
    pace.saved()
    assert not pace.due()


def test_a_spent_budget_is_due_at_once_and_stops_only_when_the_checkpoint_is_safe(work):
    work._pace.deadline = time.monotonic() + 1000
    save(work, 1)
    work._pace.deadline = time.monotonic() - 1
    assert work.due()
    with pytest.raises(BudgetSpent, match="Repeat the same command"):
        save(work, 2)
    assert work.load("training")[1] == {"step": 2}


def test_what_one_stage_chooses_the_others_take_and_a_damaged_choice_is_none(tmp_path):
    first, second = (StageWork(tmp_path / "work" / name, Pace(), lambda *progress: None) for name in ("a", "b"))
    assert first.choice("how?") is None
    assert first.choose("how?", "so") == "so" == second.choice("how?")
    assert second.choose("how?", "otherwise") == "so" and second.choose("where?", "here") == "here"
    first.clear()
    assert second.part("later").choice("how?") == "so"
    for file in (tmp_path / "work" / "choices").glob("*.json"):
        file.write_text("{")
    assert second.choice("how?") is None and second.choose("how?", "anew") == "anew" == first.choice("how?")
