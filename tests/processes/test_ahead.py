"""Threads that work ahead: in order, only so far, and over when nobody takes more."""

from __future__ import annotations

import threading

import pytest

from entropick.processes import ahead as module
from entropick.processes.ahead import ahead


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setattr(module, "n_threads", lambda: 3)


def test_results_come_in_order_from_several_threads():
    others = threading.Barrier(3, timeout=30)

    def slow(number):
        if number < 3:
            others.wait()
        return number, threading.current_thread().name

    found = list(ahead(slow, range(50)))
    assert [number for number, _ in found] == list(range(50)) and len({name for _, name in found}) == 3


@pytest.mark.parametrize("room", [0, 10])
def test_no_more_than_there_is_room_for_is_begun(room):
    begun, before = [], threading.active_count()  # Other tests' libraries may have threads of their own.
    results = ahead(lambda number: begun.append(number) or number, range(100), room=lambda result: room)
    for taken in range(20):
        assert next(results) == taken
        assert len(begun) <= taken + 1 + max(room, 4)
    results.close()
    assert threading.active_count() == before


def test_an_error_is_raised_in_its_place_and_ends_all():
    begun, before = [], threading.active_count()

    def failing(number):
        begun.append(number)
        return 1 // (7 - number)

    results = ahead(failing, range(1000))
    assert [next(results) for _ in range(7)] == [1 // (7 - number) for number in range(7)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(begun) < 20 and threading.active_count() == before


def test_nothing_of_nothing():
    assert list(ahead(abs, [])) == []


def test_one_thread_is_one_result_ahead():
    begun = []
    results = ahead(lambda number: begun.append(number) or threading.current_thread().name, range(9), threads=1)
    assert len({next(results) for _ in range(5)}) == 1 and len(begun) <= 7
    results.close()
