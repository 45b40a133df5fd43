"""The workers of an engine as the shards of a pool: they read their rows from files, and are lost and made anew."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from entropick.arrays import Features, FileRows, in_files
from entropick.processes.dealing import written
from entropick.processes.engine import Engine
from entropick.selectors.dealt import Dealt
from entropick.selectors.shards import Part, Shard


@contextlib.contextmanager
def dealt(X: Features, engine: Engine, scratch: Path, *, device: str = "auto") -> Iterator[Dealt]:
    """The rows of `X`, float32 (n, d), dealt to the workers of an engine until the context ends.

    Workers read their rows from the files that X is made of; rows that are in none are written into the file `scratch`,
    and others beside it, which are removed in the end. On several machines these files must be where all can open them.

    Raises
    ------
    InputError
        If the engine cannot be used.
    ProcessLost
        From a call, if workers die again and again.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(engine.connected())
        free = (scratch.with_stem(f"{scratch.stem}-{number}") if number else scratch for number in itertools.count())

        def write(part: Features) -> FileRows:
            file = next(free)
            stack.callback(file.unlink, missing_ok=True)
            return written(part, file)

        rows = in_files(X, write)
        # No worker without a row.
        ends = np.linspace(0, len(X), min(place.workers, len(X)) + 1).astype(int).tolist()
        ranges = list(map(range, ends[:-1], ends[1:]))
        recipes = [(rows, of.start, of.stop, device) for of in ranges]
        carrier = stack.enter_context(place.start(_shard, recipes))
        yield Dealt(X, carrier, [Part(of) for of in ranges])


def _shard(rows: Any, start: int, stop: int, device: str) -> Shard:
    return Shard(rows.part(start, stop), device=device, whole=rows)
