"""Threads that work ahead of whoever takes their results: in order, and only so far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from entropick.processes.hardware import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# More read faster than a disk gives, and hold as many large images.
_MOST_THREADS = 8


def n_threads() -> int:
    """How many threads work ahead: one for each processor that this process may use, up to 8."""
    return min(usable_cores(), _MOST_THREADS)


def ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    room: Callable[[Result], int] = lambda result: 0,
    threads: int | None = None,
) -> Iterator[Result]:
    """``map(function, items)`` on threads that work ahead; what `function` raises is raised in its place.

    There are `n_threads` of them, or as many as are given. At most one result for each, and one more, is under way or
    waits to be taken; more if `room` says so, which is asked after each result how many there may be. Whoever stops
    taking waits for no more than what is under way.

    Examples
    --------
    >>> list(ahead(abs, [-2, 1, -3]))
    [2, 1, 3]
    """
    threads, todo, waiting = threads or n_threads(), iter(items), deque[Future[Result]]()
    most = threads + 1
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            while True:
                for item in islice(todo, max(0, most - len(waiting))):
                    waiting.append(pool.submit(function, item))
                if not waiting:
                    return
                result = waiting.popleft().result()
                most = max(threads + 1, room(result))
                yield result
        finally:
            for future in waiting:
                future.cancel()
