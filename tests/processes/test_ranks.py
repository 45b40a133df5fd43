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


def shared(ranks, function, *args, work=None):
    return ranks.sharing(work or Work()).together(function, *args)


def squares(n, *, work):
    """Each process squares its part; all know all squares, and their sum."""
    part = work.share(n)
    mine = [row**2 for row in range(part.start, part.stop)]
    total = [torch.tensor(float(sum(mine))), torch.ones(2, 3)]
    work.sum(total)
    return [square for part in work.gather(mine) for square in part], total, work.rank


@pytest.mark.parametrize("n", [0, 1, 7, 60])
def test_parts_come_together_in_order(threads, n):
    with threads as ranks:
        found, total, rank = shared(ranks, squares, n)
    assert found == [row**2 for row in range(n)] and rank == 0
    assert total[0] == sum(found) and torch.equal(total[1], torch.full((2, 3), float(ranks.size)))
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

    with threads as ranks:
        tensor = shared(ranks, summed)
    assert torch.equal(tensor, torch.arange(24.0).view(1, 2, 3, 4) * ranks.size)
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_checkpoints_and_progress_are_the_leaders(threads):
    def counted(*, work):
        state = work.load("count")
        work.progress(1, 2)
        if work.due():
            work.save("count", {}, {"count": (state or ({}, {"count": 0}))[1]["count"] + 1})
        return work.gather((state, work.due()))

    kept = Kept()
    with threads as ranks:
        first, second = (shared(ranks, counted, work=kept) for _ in range(2))
    assert first == [(None, True)] + [(None, False)] * (ranks.size - 1)
    assert [state for state, _ in second] == [({}, {"count": 1})] * ranks.size
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
    with threads as ranks:
        with pytest.raises(TrainingDiverged, match="the loss became nan"):
            shared(ranks, failing, who, when, TrainingDiverged("the loss became nan"))
        assert shared(ranks, squares, 3)[0] == [0, 1, 4]
    assert set(threads.ends.values()) == {7}


def test_a_bug_in_a_helper_is_told_with_its_trace():
    with (
        Threads(3) as ranks,
        pytest.raises(StudyFailed, match=r"(?s)process 2 of 3 failed:.*in failing.*ValueError: 7"),
    ):
        shared(ranks, failing, {2}, "at once", ValueError(7))


def test_a_budget_that_is_spent_ends_the_call_for_all(threads):
    def working(*, work):
        for step in range(5):
            work.sum([torch.zeros(1)])
            if work.due():
                work.save("step", {}, {"step": step})

    kept = Kept(spent=True)
    with threads as ranks:
        with pytest.raises(BudgetSpent):
            shared(ranks, working, work=kept)
        assert shared(ranks, squares, 2)[0] == [0, 1]
    assert kept.saved == {"step": ({}, {"step": 0})}


@pytest.mark.parametrize("when", MOMENTS)
def test_an_interrupted_leader_takes_all_along(threads, when):
    with threads as ranks:
        with pytest.raises(KeyboardInterrupt):
            shared(ranks, failing, {0}, when, KeyboardInterrupt())
        # Nothing can be told any more, and nothing waits for it.
        with pytest.raises(ProcessLost):
            shared(ranks, squares, 3)
    assert set(threads.ends.values()) == {ProcessLost}


@pytest.mark.parametrize("when", MOMENTS)
def test_a_lost_helper_is_an_error_that_says_what_to_do(threads, when):
    with threads as ranks:
        with pytest.raises(ProcessLost, match=f"one of the {ranks.size} processes .* repeat the same command"):
            shared(ranks, failing, {1}, when, KeyboardInterrupt())
        with pytest.raises(ProcessLost):
            shared(ranks, squares, 3)
    assert threads.ends.pop(1) is KeyboardInterrupt
    assert set(threads.ends.values()) <= {ProcessLost}


def test_without_torchrun_there_is_nobody_else(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined() as ranks:
        assert ranks is ALONE
    monkeypatch.setitem(os.environ, "TORCHELASTIC_RUN_ID", "one process")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as ranks:
        assert ranks is ALONE
