"""The one distance kernel: matrix products propose, float64 differences decide.

``|x - y|^2 = |x|^2 + |y|^2 - 2 x.y`` makes distances a matrix product, which is fast, but rounding hides near-copies.
So a product is only used for *bounds* that are proven to hold in spite of rounding (`precision`); the coarser it is,
the faster, and the more it leaves undecided. What no product can decide is computed as a difference, in float32
with its own bounds, and in float64 if that is not enough. What leaves this room is therefore exact; the products decide
how long it takes, never what comes out.

    search       the k nearest points of each query, and how many balls a point lies in
    growing_set  a set that grows among rows, and how near it has come to each
    resident     both, of rows that live on a GPU
    precision    rows as vectors in float64, float32 or coarser, and the bounds of their products
    tile         which pairs may be within limits, by one product
    exact        squared distances as differences, copies of rows

Inside, there are four things: a *precision* makes *vectors* of rows, a *tile* compares these and leaves *pairs* whose
distances have bounds.
"""

from entropick.neighbors.exact import distinct_rows, grouped, squared_distances
from entropick.neighbors.growing_set import GrowingSet, Loose
from entropick.neighbors.precision import Extent, Precision, resident_bytes
from entropick.neighbors.resident import growing_among
from entropick.neighbors.search import Neighbors, Speed, count_balls, nearest_neighbors

__all__ = [
    "Extent",
    "GrowingSet",
    "Loose",
    "Neighbors",
    "Precision",
    "Speed",
    "count_balls",
    "distinct_rows",
    "grouped",
    "growing_among",
    "nearest_neighbors",
    "resident_bytes",
    "squared_distances",
]
