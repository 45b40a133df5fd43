"""The self-consuming loop: train, generate, choose what to train on next, and measure what becomes of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropick.arrays import check_count
from entropick.component import Component
from entropick.datasets import Dataset
from entropick.errors import InputError
from entropick.features.base import Features
from entropick.features.pixels import Pixels
from entropick.metrics.suite import LOOP_MEASURES, check_measures
from entropick.paradigms import Accumulate, Paradigm
from entropick.random_stream import RandomStream
from entropick.run import Event, History, Observer, Pace, Run, ignore
from entropick.selectors.base import Selector
from entropick.stages import Stages

if TYPE_CHECKING:
    from entropick.generators.base import Generator


@dataclass(kw_only=True)
class Loop:
    """One self-consuming loop (Shi et al. 2025, figure 1).

    Iteration 0 is the real data. In iteration n a new generator is trained from scratch on the training set D_n, which
    the selector chose from the pool that the paradigm names, and emits G_n.

    Parameters
    ----------
    dataset
        Where the real images and the held-out reference come from.
    generator
        What is trained in each iteration; it is never modified.
    paradigm
        Which earlier iterations make the pool.
    selector
        What chooses the training set from the pool; None takes all of it. Its `random_state` stays None: the loop gives
        it a stream of its own.
    features
        The space that the selector works in.
    evaluation
        The spaces that the metrics are computed in; empty means the selector's.
    metrics
        Names of the measures, see `entropick.metrics.MEASURES`.
    n_iterations
        How many times to train and generate.
    n_generated
        Images emitted per iteration; None means as many as there are real ones. The measures always take the first as
        many as there are real ones.
    seed
        All randomness is a function of it.
    """

    dataset: Dataset
    generator: Generator
    paradigm: Paradigm = field(default_factory=Accumulate)
    selector: Selector | None = None
    features: Features = field(default_factory=Pixels)
    evaluation: tuple[Features, ...] = ()
    metrics: tuple[str, ...] = LOOP_MEASURES
    n_iterations: int = 5
    n_generated: int | None = None
    seed: int = 0

    def run(
        self,
        folder: str | Path,
        *,
        pace: Pace | None = None,
        observer: Observer = ignore,
        shared: Path | None = None,
        wait_seconds: float = 0.0,
    ) -> History:
        """Run the loop in `folder`, or go on where it was interrupted; a finished one is only read.

        Parameters
        ----------
        pace
            Seconds between checkpoints, and a deadline.
        observer
            Called with an `Event` at every sign of life.
        shared
            A folder in which several loops tell one another what they have computed.
        wait_seconds
            How long to wait for another process to leave the directory.

        Raises
        ------
        InputError
            A component or the data cannot be used; found before the first training where it can be.
        RunLocked, RunChanged, RunDamaged
            The directory is in use, belongs to another config, or is damaged.
        StorageError
            The disk is full.
        BudgetSpent
            The deadline has passed; the same call goes on.
        """
        self.check()
        with Run.open(
            Path(folder), self.describe(), shared=shared, pace=pace, observer=observer, wait_seconds=wait_seconds
        ) as run:
            stages = Stages(self, run)
            stages.data()
            stages.learn()
            stages.baseline()
            for n in range(1, self.n_iterations + 1):
                selection = stages.select(n)
                model = stages.train(n, selection)
                sample = stages.sample(n, model)
                stages.measure(n, selection, sample)
                observer(Event(n, "iteration", n, self.n_iterations, status="done"))
            return History(run.folder)

    def check(self) -> None:
        """Raise InputError for everything that can be wrong without looking at data."""
        for component in self._components().values():
            component.check()
        check_count(self.n_iterations, name="n_iterations")
        check_count(self.seed, name="seed", minimum=0)
        if self.n_generated is not None:
            check_count(self.n_generated, name="n_generated")
        check_measures(self.metrics)
        names = [features.name for features in self.spaces()]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"evaluation: expected spaces of different names, got {twice[0]!r} more than once.")
        if (random_state := getattr(self.selector, "random_state", None)) is not None:
            raise InputError(
                f"selector: expected random_state=None inside a loop, got {random_state!r}. "
                "The loop's seed decides, with another stream in every iteration."
            )

    def describe(self) -> dict[str, Any]:
        """The loop as plain data; two loops with the same description give the same results."""
        parts = {name: component.describe() for name, component in self._components().items()}
        return {
            **{name: part for name, part in parts.items() if not name.startswith("evaluation")},
            "selector": self.selector.describe() if self.selector else None,
            "evaluation": [features.describe() for features in self.evaluation],
            "metrics": list(self.metrics),
            "n_iterations": int(self.n_iterations),
            "n_generated": None if self.n_generated is None else int(self.n_generated),
            "seed": int(self.seed),
        }

    def spaces(self) -> tuple[Features, ...]:
        """The feature spaces that the metrics are computed in."""
        return self.evaluation or (self.features,)

    def new_selector(self, stream: RandomStream) -> Selector:
        """An unfitted copy of the selector that draws from `stream`."""
        assert self.selector is not None
        # A selector that draws nothing has no random_state.
        draws = "random_state" in self.selector.parameter_names()
        changes: dict[str, Any] = {"random_state": stream.rng()} if draws else {}
        return dataclasses.replace(self.selector, **changes)

    def new_generator(self) -> Generator:
        """An unfitted copy of the generator."""
        return dataclasses.replace(self.generator)

    def _components(self) -> dict[str, Component]:
        for name in ("evaluation", "metrics"):
            if not isinstance(getattr(self, name), tuple | list):
                raise InputError(f"{name}: expected a tuple, got {getattr(self, name)!r}.")
        named: dict[str, Component | None] = {
            "dataset": self.dataset,
            "paradigm": self.paradigm,
            "selector": self.selector,
            "features": self.features,
            "generator": self.generator,
            **{f"evaluation[{i}]": features for i, features in enumerate(self.evaluation)},
        }
        expected = {"dataset": Dataset, "paradigm": Paradigm, "selector": Selector, "features": Features}
        for name, component in named.items():
            kind = expected.get(name, Features if name.startswith("evaluation") else Component)
            is_left_out = name == "selector" and component is None
            # A generator is known by what it can do: its class lives where torch is imported.
            is_generator = name != "generator" or callable(getattr(component, "sample", None))
            if not is_left_out and not (isinstance(component, kind) and is_generator):
                wanted = "Generator" if name == "generator" else kind.__name__
                raise InputError(f"{name}: expected a {wanted}, got {component!r}.")
        return {name: component for name, component in named.items() if component is not None}
