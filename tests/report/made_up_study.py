"""A small study on the disk, made through the real run directory: no model, no metric, only their ledgers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.run import Given, Inputs, Outcome, Place, Run
from entropick.work import Work

Metrics = dict[str, float | None]

HOSTILE = "<script>alert(1)</script>"
HOSTILE_TITLE = f"Closing </script><img src=x onerror=alert(2)> {HOSTILE} \" ' & {{{{ 7 * 7 }}}} <!--"


def write_study(
    folder: Path,
    title: str,
    arms: Mapping[str, Mapping[str, Any]],
    *,
    seeds: tuple[int, ...],
    shape: tuple[int, int, int] = (8, 8, 1),
    stop: Mapping[str, int] | None = None,
    sizes: tuple[int, ...] = (),
) -> None:
    """Write a study; arms named in `stop` end after that iteration's sampling, and their later seeds never start.

    Numbers grow a little with the size.
    """
    described = {
        "name": HOSTILE,
        "title": title,
        "description": f"Made for a test. {HOSTILE}",
        "seeds": list(seeds),
        "sizes": list(sizes),
        "threads": 1,
        "arms": arms,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(described))
    for index, (name, config) in enumerate(arms.items()):
        last = (stop or {}).get(name)
        begun = [(size, seed) for size in sizes or (None,) for seed in (seeds if last is None else seeds[:1])]
        for size, seed in begun:
            run_folder = folder / Place(name, size, seed).path
            n_iterations = config["n_iterations"]
            number = seed if size is None else seed + size / 1000
            write_run(run_folder, {**config, "seed": seed}, index, number, n_iterations, shape, last, folder / "work")


def write_run(
    folder: Path,
    config: Mapping[str, Any],
    arm: int,
    seed: float,
    n_iterations: int,
    shape: tuple[int, int, int] = (8, 8, 1),
    stop: int | None = None,
    shared: Path | None = None,
) -> None:
    """Write one run; `arm` shifts its numbers, ``stop`` is the iteration that is left unmeasured."""
    rng = np.random.default_rng((int(1000 * seed), arm))
    real = pictures(np.random.default_rng(int(1000 * seed)), 96, shape)
    with Run.open(folder, config, shared=shared) as run:
        write_stages(run, rng, real, arm, seed, n_iterations, stop)


def write_stages(
    run: Run,
    rng: np.random.Generator,
    real: NDArray[np.uint8],
    arm: int,
    seed: float,
    n_iterations: int,
    stop: int | None,
) -> None:
    """Pass all stages of a run through `Run.stage`."""
    data = {"n_real": len(real), "n_reference": 32, "image_shape": list(real.shape[1:]), "fingerprint": "f00d"}
    _stage(run, 0, "data", {"seed": seed}, Outcome({"real.npy": real, "reference.npy": real[:32]}, data))
    _stage(run, 0, "baseline", {"seed": seed}, Outcome({"spread.npy": spread(1.0)}, told_of_real(seed)))
    for n in range(1, n_iterations + 1):
        asked = {"seed": seed, "arm": arm}
        _stage(run, n, "select", asked, Outcome(values=selection(arm, n)))
        _stage(run, n, "train", asked, Outcome(values={"n_images": 96, "n_steps": 100, "final_loss": 0.1}))
        _stage(run, n, "sample", asked, Outcome(values={"n_images": 96}))
        if n == stop:
            return
        generated = np.clip(real[:64] * (1 - 0.1 * n) + rng.normal(0, 20, real[:64].shape), 0, 255).astype(np.uint8)
        pairs = np.stack([generated[:12], real[:12]], axis=1)
        told = {
            "metrics": metrics(arm, seed, n),
            "n_training": 96,
            "n_generated": 96,
            "n_reference": 32,
            "pairs": {
                "feature_space": "pixels",
                "distances": [round(1 / (n + i), 4) for i in range(12)],
                "training_rows": list(range(12)),
            },
            "spread": {"outside": 0.0},
        }
        files = {"examples.npy": generated, "pairs.npy": pairs, "spread.npy": spread(0.9**n)}
        _stage(run, n, "measure", asked, Outcome(files, told))


def told_of_real(seed: float) -> dict[str, Any]:
    """What the baseline stage says."""
    plane = {"feature_space": "pixels", "extent": [[-1.0, 1.0]] * 2, "explained": [0.4, 0.2], "outside": 0.0}
    return {"metrics": baseline(seed), "copying_ratio": {"pixels": 0.3}, "spread": plane}


def spread(width: float) -> NDArray[np.float32]:
    """A round density map."""
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    density = np.exp(-(x**2 + y**2) / (0.2 * width**2))
    return (density / density.sum()).astype(np.float32)


def baseline(seed: float) -> Metrics:
    """What real data scores."""
    return {
        "generalization_score/pixels": 1.9 + 0.01 * seed,
        "generalization_score_ratio/pixels": 1.0,
        "spacing_ratio/pixels": 1.01,
        "variance_ratio_real/pixels": 0.99,
        "frechet_distance/pixels": 0.2,
        "precision/pixels": 0.93,
        "recall/pixels": 0.91,
        "knn_entropy/pixels": 42.0,
        "total_variance/pixels": 3.1,
    }


def metrics(arm: int, seed: float, n: int) -> Metrics:
    """What iteration `n` scores: known numbers, to be found again on the page; arm 0 lost an entropy."""
    decay = (0.62, 0.86, 0.74)[arm % 3] ** n
    return {
        "generalization_score/pixels": 2.0 * decay + 0.05 * seed,
        "generalization_score_ratio/pixels": decay,
        "spacing_ratio/pixels": decay**0.2,
        "variance_ratio_real/pixels": decay**1.5,
        "knn_entropy/pixels": None if arm == 0 and n == 2 else 12 + 30 * decay + seed,
        "total_variance/pixels": 3 * decay**0.3,
        "frechet_distance/pixels": 4 * (1 - decay) + 0.2 + 0.1 * seed,
        "precision/pixels": min(1.0, 0.5 + 0.4 * decay),
        "recall/pixels": 0.9 * decay,
        "duplicate_share/pixels": 0.02 * (1 - decay),
    }


def selection(arm: int, n: int) -> dict[str, Any]:
    """What the selection of iteration `n` says: arm 0 replaces, the others accumulate."""
    shares = {str(source): float(source == n - 1) for source in range(n)} if arm == 0 else _accumulated(n)
    numbers = {} if arm == 0 else {"n_distinct": 96, "covering_radius": 0.5 / n, "threshold": None}
    return {"n_pool": 96 * n, "n_selected": 96, "shares": shares, "pool_shares": shares, "selection": numbers}


def pictures(rng: np.random.Generator, n: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Soft blobs, so that a human eye can tell one from another."""
    height, width, channels = shape
    y, x = np.mgrid[:height, :width]
    centers = rng.uniform(0.2, 0.8, (n, 2, 2)) * [height, width]
    distances = [(y - c[:, 0, None, None]) ** 2 + (x - c[:, 1, None, None]) ** 2 for c in centers.swapaxes(0, 1)]
    light = np.exp(-np.minimum(*distances) / (0.04 * height * width))
    colors = rng.uniform(0.4, 1.0, (n, 1, 1, channels))
    return (255 * light[..., None] * colors).astype(np.uint8)


def _accumulated(n: int) -> dict[str, float]:
    real = 0.4 + 0.6 / n
    return {"0": real, **{str(source): (1 - real) / (n - 1) for source in range(1, n)}}


def _stage(run: Run, iteration: int, stage: str, depends_on: Mapping[str, Any], outcome: Outcome) -> None:
    run.stage(iteration, stage, Inputs(settings=depends_on), functools.partial(_computed, outcome))


def _computed(outcome: Outcome, given: Given, work: Work) -> Outcome:
    return outcome
