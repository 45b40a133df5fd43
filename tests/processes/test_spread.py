"""Tasks in processes of their own: whatever ends one of them, the others go on."""

from __future__ import annotations

import os
import pickle
import signal

import pytest
from toys import Item, Remade, raising

from entropick.errors import InputError, StudyFailed, as_told
from entropick.processes import spread


def test_errors_of_others_reach_this_process_and_the_rest_is_done():
    items = [Item("remade"), Item("holding"), Item("fine")]
    problems = spread.run_in_processes(items, raising, lambda event: None, workers=1, threads=1)
    assert [(path, type(error), str(error)) for path, error in problems] == [
        ("remade", InputError, "something: it was odd"),
        ("holding", InputError, "it holds what cannot be sent"),
    ]


@pytest.mark.parametrize("error", [Remade("a", "b"), StudyFailed("told"), InputError("one", "two"), KeyError("c")])
def test_any_error_can_be_sent(error):
    told = as_told(error)
    assert str(pickle.loads(pickle.dumps(told))) == str(told)
    assert (told is error) == (type(error) is StudyFailed)


def test_a_process_that_is_killed_before_its_turn_takes_one_item_with_it(monkeypatch):
    start, begun = spread.SpawnProcess.start, []

    def killed(process):
        start(process)
        begun.append(process)
        if len(begun) == 1:
            os.kill(process.pid, signal.SIGKILL)
            process.join()

    monkeypatch.setattr(spread.SpawnProcess, "start", killed)
    items = [Item("one"), Item("two")]
    ((_, error),) = spread.run_in_processes(items, raising, lambda event: None, workers=2, threads=1)
    assert isinstance(error, StudyFailed) and "its process was killed" in str(error)
