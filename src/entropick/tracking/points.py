"""From the lines of a ledger to points: what is known of an iteration once it is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from entropick.arrays import Images
from entropick.run import History

# Images of a gallery, and how many stand in a row; pairs of a gallery stand in one row.
_N_IMAGES, _N_COLUMNS, _N_PAIRS = 24, 8, 10
# Small images are enlarged to at least so many pixels, or viewers blur them.
_SIDE = 48
_STAGES = ("select", "train", "sample", "measure")


@dataclass(frozen=True)
class Point:
    """One iteration of one run; iteration 0 is what the real data itself scores.

    Attributes
    ----------
    iteration
        The tracker's step.
    values
        Finite numbers by name: measures as ``measure/space``, beside them ``selection/...``, ``training/...`` and
        ``seconds/...``.
    images
        Galleries by name, uint8 ``(h, w, c)``: ``images``, and ``pairs``, generated images above their nearest training
        images.
    """

    iteration: int
    values: Mapping[str, float]
    images: Mapping[str, Images] = field(default_factory=dict, repr=False)


def points_of(history: History, after: int = -1) -> Iterator[Point]:
    """The points of all measured iterations later than `after`, in order."""
    if after < 0 and history.find(0, "baseline") is not None:
        yield Point(0, _finite(history.values(0, "baseline").get("metrics")), _real_images(history))
    for iteration in history.measured:
        if iteration > after:
            yield Point(iteration, _values(history, iteration), _generated_images(history, iteration))


def _values(history: History, iteration: int) -> dict[str, float]:
    select, train = (history.values(iteration, stage) for stage in ("select", "train"))
    sizes = {name: select.get(name) for name in ("n_pool", "n_selected", "n_garbage")}
    chosen = {**sizes, **(select.get("selection") or {})}
    if shares := select.get("shares"):
        chosen["real_share"] = shares.get("0", 0.0)
    seconds = {}
    for stage in _STAGES:
        if (entry := history.find(iteration, stage)) is not None:
            seconds[stage] = entry.timing.get("took", entry.timing.get("seconds"))
    return {
        **_finite(history.values(iteration, "measure").get("metrics")),
        **_finite(chosen, "selection/"),
        **_finite(train, "training/"),
        **_finite(seconds, "seconds/"),
    }


def _finite(values: Any, before: str = "") -> dict[str, float]:
    """Those that are finite numbers; trackers draw nothing of the others."""
    numbers = values.items() if isinstance(values, Mapping) else ()
    return {
        f"{before}{name}": float(value)
        for name, value in numbers
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _real_images(history: History) -> dict[str, Images]:
    images = history.intact(0, "data", "real.npy")
    if images is None:
        return {}
    # Real data is often sorted by class: its first rows would be no sample of it.
    rows = np.linspace(0, len(images) - 1, min(_N_IMAGES, len(images))).astype(int)
    return {"images": gallery(np.asarray(images[rows]), _N_COLUMNS)}


def _generated_images(history: History, iteration: int) -> dict[str, Images]:
    found = {}
    if (images := history.intact(iteration, "measure", "examples.npy")) is not None:
        found["images"] = gallery(np.asarray(images[:_N_IMAGES]), _N_COLUMNS)
    if (pairs := history.intact(iteration, "measure", "pairs.npy")) is not None:
        both = np.asarray(pairs[:_N_PAIRS])
        found["pairs"] = gallery(np.concatenate([both[:, 0], both[:, 1]]), len(both))
    return found


def gallery(images: Images, columns: int) -> Images:
    """Images ``(n, h, w, c)`` in rows of `columns`, a white pixel apart, as one ``(h, w, 3)``.

    Examples
    --------
    >>> gallery(np.zeros((3, 64, 64, 1), np.uint8), 2).shape
    (129, 129, 3)
    """
    n, height, width, channels = images.shape
    scale = max(1, _SIDE // max(height, width))
    large = np.broadcast_to(images, (n, height, width, 3)) if channels == 1 else images
    large = large.repeat(scale, axis=1).repeat(scale, axis=2)
    rows, (height, width) = -(-n // columns), large.shape[1:3]
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), 255, np.uint8)
    for number, image in enumerate(large):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet
