"""What a study is going to do, before it begins: images, steps, operations, time, disk."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entropick.datasets import Dataset
from entropick.errors import InputError, shown
from entropick.loop.loop import Loop
from entropick.loop.study import Study

if TYPE_CHECKING:
    from entropick.generators.base import Generator
    from entropick.generators.cost import Cost, Paces

_BYTES_PER_WEIGHT = 4
# By a dataset's description, the shape of its real images, and how many further ones it has.
_Counts = dict[str, tuple[tuple[int, ...], int]]


@dataclass(frozen=True)
class ArmPlan:
    """One arm over all its iterations, sizes and seeds, as if it shared nothing with other arms.

    Attributes
    ----------
    n_training
        Images of the last iteration's training set, at the largest size.
    n_generated
        Images generated in all.
    n_steps, flops, seconds
        Gradient steps, operations of training and sampling, and their estimated time; None for a generator that takes
        no time.
    least_steps, least_seconds
        The same where a rule ends each training as early as it may; equal to them where the number of steps is given.
    n_bytes
        Disk for generated images and models.
    """

    arm: str
    n_training: int
    n_generated: int
    n_bytes: int
    n_steps: int | None = None
    flops: int | None = None
    seconds: float | None = None
    least_steps: int | None = None
    least_seconds: float | None = None


def plan_study(study: Study) -> list[ArmPlan]:
    """The plan of every arm. Loads the images of each size once, and measures a few steps of each generator.

    Raises
    ------
    InputError
        Where a run would find its pools too small.
    """
    paces: Paces = {}
    counts: _Counts = {}
    plans = []
    for name, loop in study.arms.items():
        try:
            sized = [loop.at_size(size) for size in study.sizes or (None,)]
            plans.append(_in_all(name, [_plan_loop(one, len(study.seeds), paces, counts) for one in sized]))
        except InputError as error:
            raise type(error)(f"arm {shown(name)}: {error}") from None
    return plans


def _in_all(name: str, of_sizes: Sequence[ArmPlan]) -> ArmPlan:
    """An arm at all of its sizes; the training set is the largest."""
    summed: dict[str, Any] = {}
    for field in dataclasses.fields(ArmPlan)[2:]:
        found = [getattr(plan, field.name) for plan in of_sizes]
        summed[field.name] = None if None in found else sum(found)
    return ArmPlan(name, max(plan.n_training for plan in of_sizes), **summed)


def _plan_loop(loop: Loop, n_seeds: int, paces: Paces, counts: _Counts) -> ArmPlan:
    (n_real, *image_shape), n_stock = _counted(loop.dataset, counts)
    n_generated = loop.n_generated or n_real
    loop.check_pools(n_real, n_stock)
    if loop.selector is not None:
        sizes = [loop.selector.n_samples]
    else:
        sizes = [loop.pool_size(n, n_real, n_generated) for n in range(1, loop.n_iterations + 1)]
    n_runs = n_seeds * loop.n_iterations
    # A probe is a sample of as many images as there are real ones; only examples of it are kept.
    n_sampled = n_generated + len(loop.probe_steps) * min(n_generated, n_real)
    # With `epochs`, steps grow with the set: the mean size stands for all iterations.
    mean = round(sum(sizes) / len(sizes))
    cost = _cost(loop.generator, image_shape=tuple(image_shape), n_training=mean, n_generated=n_sampled, paces=paces)
    plan = ArmPlan("", sizes[-1], n_runs * n_sampled, n_runs * n_generated * math.prod(image_shape))
    if cost is None:
        return plan
    return dataclasses.replace(
        plan,
        n_bytes=plan.n_bytes + n_runs * (1 + len(loop.probe_steps)) * cost.n_parameters * _BYTES_PER_WEIGHT,
        n_steps=n_runs * cost.n_steps,
        flops=n_runs * (cost.training_flops + cost.sampling_flops),
        seconds=n_runs * cost.seconds,
        least_steps=n_runs * cost.least_steps,
        least_seconds=n_runs * cost.least_seconds,
    )


def _counted(dataset: Dataset, counts: _Counts) -> tuple[tuple[int, ...], int]:
    """What `counts` has of the dataset, which is loaded where that is nothing yet."""
    key = repr(dataset.describe())
    if key not in counts:
        data = dataset.load()
        counts[key] = data.images.shape, 0 if data.stock is None else len(data.stock)
    return counts[key]


def _cost(generator: Generator, **sizes: Any) -> Cost | None:
    """What one iteration costs; None for a generator that takes no time."""
    from entropick.generators import DDPM
    from entropick.generators.cost import estimate_cost

    return estimate_cost(generator, **sizes) if isinstance(generator, DDPM) else None
