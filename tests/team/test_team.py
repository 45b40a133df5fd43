"""Processes that share a run meet, go on and leave together, whoever of them fails, and wherever."""

from __future__ import annotations

import os

import pytest
import torch
from threads import Threads

from entropick.errors import BudgetSpent, ProcessLost, StudyFailed, TrainingDiverged
from entropick.processes.ranks import ALONE, joined
from entropick.work import Work

SIZES = (2, 3, 5)


class Kept(Work):
    """The leader's work: one checkpoint, and a budget that a save may spend."""

    def __init__(self, *, spent=False):
        self.saved, self.told, self.spent = {}, [], spent

    def progress(self, done, total, note=""):
        self.told.append(done)

    def due(self):
        return True

    def save(self, name, arrays, state):
        self.saved[name] = (dict(arrays), state)
        if self.spent:
            raise BudgetSpent

    def load(self, name):
        return self.saved.get(name)


@pytest.fixture(params=SIZES)
def threads(request):
    return Threads(request.param)


def shared(team, function, *args, work=None):
    return team.sharing(work or Work()).together(function, *args)


def squares(n, *, work):
    """Each process squares its part; all know all squares, and their sum."""
    part = work.share(n)
    mine = [row**2 for row in range(part.start, part.stop)]
    total = [torch.tensor(float(sum(mine))), torch.ones(2, 3)]
    work.sum(total)
    return [square for part in work.gather(mine) for square in part], total, work.rank


@pytest.mark.parametrize("n", [0, 1, 7, 60])
def test_parts_come_together_in_order(threads, n):
    with threads as team:
        found, total, rank = shared(team, squares, n)
    assert found == [row**2 for row in range(n)] and rank == 0
    assert total[0] == sum(found) and torch.equal(total[1], torch.full((2, 3), float(team.size)))
    assert threads.ends == {helper.rank: 7 for helper in threads.helpers}


def test_one_process_has_everything_and_its_work_is_its_own():
    work = Work()
    assert ALONE.sharing(work) is work
    assert shared(ALONE, squares, 5)[0] == [0, 1, 4, 9, 16]
    ALONE.dismiss(0)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 128])
@pytest.mark.parametrize("size", [1, *SIZES])
def test_shares_are_even_and_follow_one_another(n, size):
    rows = []
    for rank in range(size):
        work = Work()
        work.rank, work.n_processes = rank, size
        share = range(n)[work.share(n)]
        assert len(share) in (n // size, -(-n // size))
        rows += share
    assert rows == list(range(n))


def test_sums_keep_the_layout_of_their_tensors(threads):
    def summed(*, work):
        tensor = torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
        work.sum([tensor])
        return tensor

    with threads as team:
        tensor = shared(team, summed)
    assert torch.equal(tensor, torch.arange(24.0).view(1, 2, 3, 4) * team.size)
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_checkpoints_and_progress_are_the_leaders(threads):
    def counted(*, work):
        state = work.load("count")
        work.progress(1, 2)
        if work.due():
            work.save("count", {}, {"count": (state or ({}, {"count": 0}))[1]["count"] + 1})
        return work.gather((state, work.due()))

    kept = Kept()
    with threads as team:
        first, second = (shared(team, counted, work=kept) for _ in range(2))
    assert first == [(None, True)] + [(None, False)] * (team.size - 1)
    assert [state for state, _ in second] == [({}, {"count": 1})] * team.size
    assert kept.saved == {"count": ({}, {"count": 2})} and kept.told == [1, 1]


MOMENTS = ("at once", "between meetings", "at the end")


def failing(who, when, error, *, work):
    for moment in MOMENTS:
        if work.rank in who and moment == when:
            raise error
        if moment != MOMENTS[-1]:
            work.gather(moment)


@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize("who", [{0}, {1}, {0, 1}])
def test_where_one_fails_all_leave_and_may_be_called_again(threads, who, when):
    with threads as team:
        with pytest.raises(TrainingDiverged, match="the loss became nan"):
            shared(team, failing, who, when, TrainingDiverged("the loss became nan"))
        assert shared(team, squares, 3)[0] == [0, 1, 4]
    assert set(threads.ends.values()) == {7}


def test_a_bug_in_a_helper_is_told_with_its_trace():
    with Threads(3) as team, pytest.raises(StudyFailed, match=r"(?s)process 2 of 3 failed:.*in failing.*ValueError: 7"):
        shared(team, failing, {2}, "at once", ValueError(7))


def test_a_budget_that_is_spent_ends_the_call_for_all(threads):
    def working(*, work):
        for step in range(5):
            work.sum([torch.zeros(1)])
            if work.due():
                work.save("step", {}, {"step": step})

    kept = Kept(spent=True)
    with threads as team:
        with pytest.raises(BudgetSpent):
            shared(team, working, work=kept)
        assert shared(team, squares, 2)[0] == [0, 1]
    assert kept.saved == {"step": ({}, {"step": 0})}


@pytest.mark.parametrize("when", MOMENTS)
def test_an_interrupted_leader_takes_all_along(threads, when):
    with threads as team:
        with pytest.raises(KeyboardInterrupt):
            shared(team, failing, {0}, when, KeyboardInterrupt())
        # No word can be given any more; nothing waits for one.
        with pytest.raises(ProcessLost):
            shared(team, squares, 3)
    assert set(threads.ends.values()) == {ProcessLost}


@pytest.mark.parametrize("when", MOMENTS)
def test_a_lost_helper_is_an_error_that_says_what_to_do(threads, when):
    with threads as team:
        with pytest.raises(ProcessLost, match=f"one of the {team.size} processes .* repeat the same command"):
            shared(team, failing, {1}, when, KeyboardInterrupt())
        with pytest.raises(ProcessLost):
            shared(team, squares, 3)
    assert threads.ends.pop(1) is KeyboardInterrupt
    assert set(threads.ends.values()) <= {ProcessLost}


def test_without_torchrun_there_is_nobody_else(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined() as team:
        assert team is ALONE
    monkeypatch.setitem(os.environ, "TORCHELASTIC_RUN_ID", "one process is no team")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as team:
        assert team is ALONE
