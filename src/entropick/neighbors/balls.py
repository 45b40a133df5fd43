"""How many balls a point lies in: one matrix product for all pairs, float64 differences for those on a border."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors.exact import distinct_rows, squared_distances
from entropick.neighbors.precision import Precision, Vectors
from entropick.neighbors.tile import as_columns, as_rows, compare

# A tile of 1024 x 4096 float32 products takes 16 MiB.
_CENTER_ROWS = 1024
_POINT_ROWS = 4096


def count_balls(points: Features, *, centers: Features, radii: Floats) -> Integers:
    """In how many of the closed balls each point lies, int64 ``(n_points,)``, exactly.

    The time does not depend on how full the balls are, so a collapsed set takes no longer than another.
    """
    first, place = distinct_rows(points)
    seen = points if len(first) == len(points) else points[first]
    precision = Precision.of(seen, centers)
    counts = np.zeros(len(seen), np.int64)
    for columns in _slices(len(seen), _POINT_ROWS):
        placed = as_columns(precision.place(seen[columns]))
        for rows in _slices(len(centers), _CENTER_ROWS):
            limits = np.square(radii[rows] * precision.scale)
            inside, on_border = _sides(as_rows(precision.place(centers[rows])), placed, limits)
            counts[columns] += np.count_nonzero(inside, axis=0)
            row, column = np.divmod(np.flatnonzero(on_border), inside.shape[1])
            exact = np.sqrt(squared_distances(centers, row + rows.start, seen, column + columns.start))
            held = column[exact <= radii[rows][row]]
            counts[columns] += np.bincount(held, minlength=inside.shape[1])
    return counts[place]


def _sides(centers: Vectors, points: Vectors, limits: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points are surely within a squared distance of each center, and which cannot be told, ``(n, m)``."""
    import torch

    reach = torch.from_numpy(limits)
    tile = compare(centers, reach, points)
    gains = tile.gains[:, : len(points)]
    inside = gains >= tile.sure(reach)[:, None]
    return inside.numpy(), ((gains >= tile.least[:, None]) & ~inside).numpy()


def _slices(n: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
