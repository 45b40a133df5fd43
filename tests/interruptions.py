"""A Work that keeps checkpoints in memory and stops a computation where it is told to."""

from __future__ import annotations

import copy

from entropick.errors import BudgetSpent
from entropick.work import Work


class Interrupting(Work):
    """Asks for a checkpoint at every chance, and stops after those whose numbers, from 1, are in `stops`."""

    def __init__(self, *stops: int) -> None:
        self.stops = stops
        self.n_saved = 0
        self.kept = {}
        self.seen: list[tuple[int, int]] = []

    def progress(self, done, total, note=""):
        self.seen.append((done, total))

    def due(self):
        return True

    def save(self, name, arrays, state):
        self.kept[name] = copy.deepcopy((dict(arrays), state))
        self.n_saved += 1
        if self.n_saved in self.stops:
            raise BudgetSpent

    def load(self, name):
        return copy.deepcopy(self.kept.get(name))


def with_interruptions(call, *stops):
    """Repeat ``call(work)`` until it is through; return its result and how often it was stopped."""
    work = Interrupting(*stops)
    n_stopped = 0
    while True:
        try:
            return call(work), n_stopped
        except BudgetSpent:
            n_stopped += 1
