"""Small parts of loops, and ways to look at what they left; importable, so that worker processes find them too."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from entropick import Accumulate, Loop, Replace
from entropick.datasets import ArrayFile
from entropick.errors import TrainingDiverged
from entropick.generators import DDPM, KDE
from entropick.run import History, Pace
from entropick.selectors import Greedy, Random, Selector, ThresholdDecay
from entropick.selectors.base import Selection

N_REAL, N_REFERENCE, N_GENERATED, N_SELECTED = 40, 20, 50, 32
PARADIGMS = {"replace": Replace(), "accumulate": Accumulate()}
SELECTORS = {
    "none": None,
    "random": Random(n_samples=N_SELECTED),
    "stratified": Random(n_samples=N_SELECTED, stratify=True),
    "greedy": Greedy(n_samples=N_SELECTED),
    "threshold-decay": ThresholdDecay(n_samples=N_SELECTED, threshold=500.0),
}


def tiny_ddpm(**changes: Any) -> DDPM:
    settings = {"network": "mlp", "width": 16, "depth": 1, "steps": 120, "batch_size": 8, "warmup_steps": 5}
    sampling = {"sampling_steps": 4, "sampling_chunk": 16, "precision": "float32", "device": "cpu"}
    return DDPM(**{**settings, **sampling, **changes})


def make_loop(path: Path, **changes: Any) -> Loop:
    settings = {"generator": KDE(bandwidth=12.0), "n_iterations": 3, "n_generated": N_GENERATED}
    return Loop(dataset=ArrayFile(path=str(path), n_images=N_REAL), **{**settings, **changes})


def write_images(path: Path, seed: int = 0) -> Path:
    """Labelled noise of 4x4 pixels around ten centres."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, N_REAL + N_REFERENCE)
    centres = rng.integers(40, 216, (10, 4, 4, 1))
    images = np.clip(centres[labels] + rng.normal(0, 10, (len(labels), 4, 4, 1)), 0, 255).astype(np.uint8)
    np.savez(path, images=images, labels=labels)
    return path


def entries(folder: Path) -> dict[tuple[int, str], Any]:
    return {(entry.iteration, entry.stage): entry for entry in History(folder).entries}


def born(history: History, iteration: int) -> np.ndarray:
    """The images that an iteration emitted; iteration 0 emitted the real ones."""
    return history.load(iteration, "generated.npy" if iteration else "real.npy")


@dataclass(kw_only=True)
class NewestFirst(Selector):
    """Picks by `y` alone, the newest source first, and remembers every `y` that it was given."""

    kind: ClassVar[str] = "newest-first"
    random_state: Any = None
    seen: ClassVar[list[np.ndarray]] = []

    def _select(self, X, sources, initial, work):
        self.seen.append(sources)
        rows = np.argsort(-sources, kind="stable")[: self.n_samples]
        return Selection(rows, np.ones(len(rows)), {})


@dataclass(kw_only=True)
class Listening(KDE):
    """Remembers every stream that it was given."""

    kind: ClassVar[str] = "listening"
    streams: ClassVar[list[Any]] = []

    def fit(self, images, labels=None, *, stream=None, work=None):
        self.streams.append(stream)
        return super().fit(images, labels, stream=stream, work=work)

    def sample(self, n_images, *, stream=None, work=None):
        self.streams.append(stream)
        return super().sample(n_images, stream=stream, work=work)


@dataclass(kw_only=True)
class Failing(KDE):
    """Fails in the iteration where its training set first holds generated images."""

    kind: ClassVar[str] = "failing"
    how: str = "diverge"

    def fit(self, images, labels=None, *, stream=None, work=None):
        if stream.iteration == 2:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "bug":
                raise ZeroDivisionError("a bug in a third party's generator")
            if self.how == "memory":
                raise torch.OutOfMemoryError(
                    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 79 GiB"
                )
            raise TrainingDiverged("the loss became nan")
        return super().fit(images, labels, stream=stream, work=work)


@dataclass(kw_only=True)
class Constant(KDE):
    """Emits the same images whatever it was fitted to."""

    kind: ClassVar[str] = "constant"

    def sample(self, n_images, *, stream=None, work=None):
        return np.random.default_rng(5).normal(128, 20, (n_images, 4, 4, 1)).clip(0, 255).astype(np.uint8)


@dataclass
class CountedPace(Pace):
    """A pace by the count of looks at it instead of the clock: every chance is due, the budget is spent after `n`."""

    n: int = 0

    def due(self) -> bool:
        self.n -= 1
        return True

    def spent(self) -> bool:
        return self.n <= 0
