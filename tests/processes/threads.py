"""Ranks that are threads: the same exchange as between processes, without the seconds that those take to start."""

from __future__ import annotations

import threading

from entropick.processes.ranks import Ranks

_SECONDS = 60


class Room:
    """Where ranks meet. Whoever leaves it breaks all connections."""

    def __init__(self, size):
        self.slots = [None] * size
        self.n_exchanges = 0
        self.barrier = threading.Barrier(size, timeout=_SECONDS)


class ThreadConnections:
    def __init__(self, room, rank):
        self._room, self._rank = room, rank

    def gather(self, value):
        self._room.n_exchanges += 1
        self._room.slots[self._rank] = value
        self._room.barrier.wait()
        found = list(self._room.slots)
        self._room.barrier.wait()
        return found

    def largest(self, number):
        return max(self.gather(number))

    def broadcast(self, value):
        return self.gather(value)[0]

    def sum(self, tensor):
        tensor.copy_(sum(self.gather(tensor.clone())))


class Threads:
    """`Ranks`s of one leader, here, and helpers in threads; a context manager that waits for their end."""

    def __init__(self, size):
        self._room = Room(size)
        self.leader, *self.helpers = [Ranks(rank, size, ThreadConnections(self._room, rank)) for rank in range(size)]
        self.ends = {}

    def __enter__(self):
        self._threads = [threading.Thread(target=self._follow, args=(ranks,)) for ranks in self.helpers]
        for thread in self._threads:
            thread.start()
        return self.leader

    def __exit__(self, kind, error, trace):
        n_exchanges = self._room.n_exchanges
        self.leader.dismiss(7)
        if self._room.n_exchanges == n_exchanges:
            # It could tell nothing more: this is how processes notice that.
            self._room.barrier.abort()
        for thread in self._threads:
            thread.join(_SECONDS)
            assert not thread.is_alive()

    def _follow(self, ranks):
        try:
            self.ends[ranks.rank] = ranks.follow()
        except BaseException as error:
            self.ends[ranks.rank] = type(error)
            self._room.barrier.abort()
