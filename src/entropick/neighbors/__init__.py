"""The one distance kernel: matrix products propose, float64 differences decide.

``|x - y|^2 = |x|^2 + |y|^2 - 2 x.y`` makes distances a matrix product, which is fast, but rounding hides near-copies.
So a product is only used for *bounds* that are proven to hold in spite of rounding (`precision`); the coarser it is,
the faster, and the more it leaves undecided. What no product can decide is computed as a difference, in float32
with its own bounds, and in float64 if that is not enough. What
leaves this room is therefore exact; the products decide how long it takes, never what comes out.

    search     the k nearest points of each query
    cloud      rows among which a set grows, and how near it has come to each
    level      the rows of a matrix in one precision
    precision  vectors in float64, float32 or coarser, and the bounds of their products
    tile       which pairs may be within limits, by one product
    differences  squared distances in float64, and within tight bounds in float32
    screening  whether a coarse product goes first
    device     where products run
    distinct   which rows are copies of each other, and which data a checkpoint is of
"""

from entropick.neighbors.cloud import Cloud, Reach
from entropick.neighbors.differences import squared_distances
from entropick.neighbors.distinct import distinct_numbers, distinct_rows, fingerprint, grouped
from entropick.neighbors.precision import (
    Floats,
    Frame,
    Placed,
    Precision,
)
from entropick.neighbors.screening import screen
from entropick.neighbors.search import Neighbors, nearest_neighbors
from entropick.neighbors.tile import as_columns, as_rows, compare
from entropick.processes.device import usable_device

__all__ = [
    "Cloud",
    "Floats",
    "Frame",
    "Neighbors",
    "Placed",
    "Precision",
    "Reach",
    "as_columns",
    "as_rows",
    "compare",
    "distinct_numbers",
    "distinct_rows",
    "fingerprint",
    "grouped",
    "nearest_neighbors",
    "screen",
    "squared_distances",
    "usable_device",
]
