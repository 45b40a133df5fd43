"""The workers of an engine as the shards of a pool: they read their rows from files, and are lost and made anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from entropick.arrays import Features, FileRows
from entropick.processes.engine import Engine
from entropick.selectors.dealt import Dealt
from entropick.selectors.shards import Part, Shard

# Bytes that are written at once where rows are not in a file yet.
_BLOCK_BYTES = 64 << 20


@contextlib.contextmanager
def dealt(X: Features, engine: Engine, scratch: Path, *, device: str = "auto") -> Iterator[Dealt]:
    """The rows of `X`, float32 (n, d), dealt to the workers of an engine until the context ends.

    Workers read their rows from the files that X is a memory map of; other rows are written into the file `scratch`
    for them, which is removed in the end. On several machines these files must be where all can open them.

    Raises
    ------
    InputError
        If the engine cannot be used.
    ProcessLost
        From a call, if workers die again and again.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(engine.connected())
        if isinstance(X, FileRows):
            rows = X
        elif isinstance(X, np.memmap) and X.flags.c_contiguous:
            rows = FileRows([X])
        else:
            stack.callback(scratch.unlink, missing_ok=True)
            rows = _written(X, scratch)
        # No worker without a row.
        ends = np.linspace(0, len(X), min(place.workers, len(X)) + 1).astype(int).tolist()
        ranges = list(map(range, ends[:-1], ends[1:]))
        recipes = [(rows.part(of.start, of.stop), device) for of in ranges]
        carrier = stack.enter_context(place.start(_shard, recipes))
        yield Dealt(X, carrier, [Part(of) for of in ranges])


def _shard(rows: FileRows, device: str) -> Shard:
    return Shard(rows, device=device)  # type: ignore[arg-type]


def _written(X: Features, file: Path) -> FileRows:
    """The rows in a file, written block by block."""
    file.parent.mkdir(parents=True, exist_ok=True)
    step = max(1, _BLOCK_BYTES // (4 * X.shape[1]))
    with file.open("wb") as stream:
        for start in range(0, len(X), step):
            stream.write(np.ascontiguousarray(X[start : start + step], np.float32).data)
    return FileRows([np.memmap(file, np.float32, "r", shape=X.shape)])
