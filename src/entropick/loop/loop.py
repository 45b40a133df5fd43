"""The self-consuming loop: train, generate, choose what to train on next, and measure what becomes of it."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entropick.arrays import check_count, check_flag, check_real
from entropick.component import Component
from entropick.datasets import Dataset, RealData
from entropick.errors import DuplicateWarning, EntropickWarning, InputError, shown
from entropick.features.base import Features, check_name
from entropick.features.cache import FeatureCache, lessons_of
from entropick.features.pixels import Pixels
from entropick.loop import stages
from entropick.metrics.near_copies import FALSE_ALARMS
from entropick.metrics.suite import LOOP_MEASURES, check_measures, rows_needed
from entropick.paradigms import Accumulate, Paradigm
from entropick.processes.hardware import in_gigabytes, usable_memory
from entropick.processes.ranks import ALONE, Ranks
from entropick.run import STUDY, Event, History, Observer, Pace, Run, begun_with, free_bytes, ignore
from entropick.selectors.base import Guard, Selector
from entropick.selectors.quotas import least_rows

if TYPE_CHECKING:
    from entropick.generators.base import Generator

# More are a slip of the finger: what an iteration's pool holds is looked at for each before the first begins.
_MOST_ITERATIONS = 10_000


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
    guard
        What sets garbage aside before the selector sees it; None trusts the pool. Real images are what it trusts, also
        where the paradigm has none of them in the pool.
    features
        The space that the selector and the guard work in.
    evaluation
        The spaces that the metrics are computed in; empty means the selector's.
    metrics
        Names of the measures, see `entropick.metrics.MEASURES`.
    n_iterations
        How many times to train and generate.
    n_generated
        Images emitted per iteration; None means as many as there are real ones. The measures always take the first as
        many as there are real ones.
    probe_steps
        Steps of each training after which the model, as it is then, is sampled and measured as an iteration is. The
        training itself stays what it is, bit for bit. Ledger lines ``probe-500``, and a figure over steps.
    garbage_share
        A stress test: so many noise images, as a share of what an iteration emitted, are planted beside them in every
        pool. They are not measured as generated images; `n_garbage` in the ledger counts those that were selected.
    trusted_classes
        Of the real images those of these classes alone are what a selector or a guard trusts; all where none is named.
        The others stay in the pool. It is what somebody does who trusts a source that knows a part of the data.
    by_class
        Also measure how many generated and training images there are of each class and how far these are spread, an
        image being of the class of its nearest real image (see `entropick.loop.classes`).
    seed
        All randomness is a function of it.
    """

    dataset: Dataset
    generator: Generator
    paradigm: Paradigm = field(default_factory=Accumulate)
    selector: Selector | None = None
    guard: Guard | None = None
    features: Features = field(default_factory=Pixels)
    evaluation: tuple[Features, ...] = ()
    metrics: tuple[str, ...] = LOOP_MEASURES
    n_iterations: int = 5
    n_generated: int | None = None
    probe_steps: tuple[int, ...] = ()
    garbage_share: float = 0.0
    trusted_classes: tuple[int, ...] = ()
    by_class: bool = False
    seed: int = 0

    def run(
        self,
        folder: str | Path,
        *,
        pace: Pace | None = None,
        observer: Observer = ignore,
        shared: Path | None = None,
        wait_seconds: float = 0.0,
        ranks: Ranks = ALONE,
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
        ranks
            The processes that share the work.

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
        ProcessLost
            One of the ranks has ended; the same call goes on.
        """
        _check_folder(Path(folder))
        if (begun := self.as_begun(begun_with(Path(folder)))) is not self:
            newer = {*self.metrics} - {*begun.metrics}
            warnings.warn(f"{goes_on_without(folder, newer)} another folder.", EntropickWarning, stacklevel=2)
            return begun.run(
                folder, pace=pace, observer=observer, shared=shared, wait_seconds=wait_seconds, ranks=ranks
            )
        self.check()
        check_real(wait_seconds, name="wait_seconds", minimum=0.0)
        if pace is not None:
            _check_pace(pace)
        self = self.at_seed(self.seed)
        open_run = Run.open(
            Path(folder),
            self.describe(),
            shared=shared,
            pace=pace,
            observer=observer,
            wait_seconds=wait_seconds,
            sharing=ranks.sharing,
        )
        with open_run as run:
            kept = FeatureCache(run.work / "features")
            real = stages.data(run, self, functools.partial(self._check_data, run))
            self._check_sizes(run, real.values)
            space, *spaces = stages.learn(run, real, (self.features, *self.spaces()))
            baseline = stages.baseline(run, self, real, spaces, kept)
            # What each iteration emitted; iteration 0 emitted the real images.
            emitted = [real]
            model = None
            for n in range(1, self.n_iterations + 1):
                stock = stages.stock(run, self, real) if self.paradigm.checked_fresh(n) else None
                chosen = stages.select(run, n, self, emitted, stock, model, space, kept)
                model = stages.train(run, n, self, chosen)
                for step in self.probe_steps:
                    stages.probe(run, n, self, step, chosen, model, real, baseline, spaces, kept)
                sampled = stages.sample(run, n, self, model, self.n_generated or real.values["n_real"], real)
                stages.measure(run, n, self, chosen, sampled, real, baseline, spaces, kept)
                emitted.append(sampled)
                observer(Event(n, "iteration", n, self.n_iterations, status="done"))
            return History(run.folder)

    def check(self) -> None:
        """Raise InputError for everything that can be wrong without looking at data."""
        for component in self._components().values():
            component.check()
        if check_count(self.n_iterations, name="n_iterations") > _MOST_ITERATIONS:
            raise InputError(f"n_iterations: expected at most {_MOST_ITERATIONS:,}, got {self.n_iterations:,}.")
        check_count(self.seed, name="seed", minimum=0)
        if self.n_generated is not None:
            check_count(self.n_generated, name="n_generated")
        self._check_counts()
        check_real(self.garbage_share, name="garbage_share", minimum=0.0, below=1.0)
        check_measures(self.metrics)
        if not isinstance(self.probe_steps, tuple | list):
            raise InputError(f"probe_steps: expected a tuple of steps, got {shown(self.probe_steps)}.")
        if self.probe_steps:
            self.generator.check_probes(self.probe_steps)
        check_flag(self.by_class, name="by_class")
        self._check_real_share()
        self._check_trusted()
        self._check_trusted_classes()
        if (n_images := getattr(self.dataset, "n_images", None)) is not None:
            self._check_training_sets(n_images)
        for space in self.spaces():
            check_name(space)
        names = [features.name for features in self.spaces()]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"evaluation: expected spaces of different names, got {shown(twice[0])} more than once.")
        if (
            self.selector is not None
            and "losses" in self.selector.asks
            and not getattr(self.generator, "has_losses", False)
        ):
            raise InputError(
                f"selector: {self.selector.kind!r} expects a generator that can tell how well it knows an image, got "
                f"{self.generator.kind!r}. Take another selector."
            )
        if not isinstance(getattr(self.selector, "utility", ""), str):
            raise InputError(
                "selector: expected a utility by its name inside a loop, whose pools grow, got numbers of single rows."
            )
        if (random_state := getattr(self.selector, "random_state", None)) is not None:
            raise InputError(
                f"selector: expected random_state=None inside a loop, got {shown(random_state)}. "
                "The loop's seed decides, with another stream in every iteration."
            )

    def _check_counts(self) -> None:
        """No more images than bytes of memory, each of which takes one at least: known before any is looked at."""
        memory = usable_memory()
        counts = {"n_generated": self.n_generated, "dataset.n_images": getattr(self.dataset, "n_images", None)}
        counts |= {"selector.n_samples": getattr(self.selector, "n_samples", None)}
        for name, count in counts.items():
            if count is not None and count > memory:
                raise InputError(
                    f"{name}: expected images that fit into the {in_gigabytes(memory)} of memory here, got {count:,} "
                    "of them. Lower it."
                )

    def _check_trusted(self) -> None:
        """A selector that trusts a source finds real data in every pool. (The guard is given them anyway.)"""
        if self.selector is None or not self.selector.trusts:
            return
        kind, last = self.selector.kind, self.n_iterations
        if self.selector.trusts != (0,):
            came = ", ".join(map(str, self.selector.trusts))
            raise InputError(f"selector: {kind!r} expects trusted = 0, the real data, inside a loop, got {came}.")
        if 0 not in self.paradigm.checked_sources(last) and not self.paradigm.checked_fresh(last):
            raise InputError(
                f"selector: {kind!r} expects real images in every pool, but paradigm {self.paradigm.kind!r} keeps "
                "none. Take a paradigm that does, or another selector."
            )

    def _check_trusted_classes(self) -> None:
        """Classes of real images can be trusted only by what trusts real images, and counted as sources by nothing."""
        if not isinstance(self.trusted_classes, tuple | list):
            raise InputError(f"trusted_classes: expected a tuple of labels, got {shown(self.trusted_classes)}.")
        for label in self.trusted_classes:
            check_count(label, name="trusted_classes", minimum=0)
        if not self.trusted_classes:
            return
        if len(set(self.trusted_classes)) < len(self.trusted_classes):
            raise InputError(f"trusted_classes: expected different labels, got {shown(self.trusted_classes)}.")
        if not any(rule is not None and rule.trusts for rule in (self.selector, self.guard)):
            raise InputError(
                "trusted_classes: expected a selector or a guard that trusts real images, such as density-greedy or "
                "outlier-guard, got none. Leave trusted_classes out, or take one."
            )
        taken = [name for name in ("minimum", "stratify") if getattr(self.selector, name, None)]
        if taken or self.paradigm.checked_n_real(2, 2) is not None:
            came = f"a selector with {taken[0]}" if taken else f"paradigm {self.paradigm.kind!r}"
            raise InputError(f"trusted_classes: expected no shares of sources beside it, got {came}.")

    def _check_real_share(self) -> None:
        """A paradigm that fixes the share of real images does it through the selector's minimum."""
        if self.paradigm.checked_n_real(2, 2) is None:
            return
        taken = [name for name in ("minimum", "stratify", "initial") if getattr(self.selector, name, None)]
        if self.selector is None or taken:
            came = f"one with {', '.join(taken)}" if self.selector else "none"
            raise InputError(
                f"selector: paradigm {self.paradigm.kind!r} expects a selector that it can tell how many real images "
                f'to pick, got {came}. Take a plain one; "random" is the simplest.'
            )

    def describe(self) -> dict[str, Any]:
        """The loop as plain data; two loops with the same description give the same results."""
        parts = {name: component.describe() for name, component in self._components().items()}
        return {
            **{name: part for name, part in parts.items() if not name.startswith("evaluation")},
            "selector": self.selector.describe() if self.selector else None,
            "guard": self.guard.describe() if self.guard else None,
            "evaluation": [features.describe() for features in self.evaluation],
            "metrics": list(self.metrics),
            "n_iterations": int(self.n_iterations),
            "n_generated": None if self.n_generated is None else int(self.n_generated),
            # Only where there are some, so that older results keep their names.
            **({"probe_steps": [int(step) for step in self.probe_steps]} if self.probe_steps else {}),
            "garbage_share": float(self.garbage_share),
            **({"trusted_classes": [int(label) for label in self.trusted_classes]} if self.trusted_classes else {}),
            **({"by_class": True} if self.by_class else {}),
            "seed": int(self.seed),
        }

    def as_begun(self, config: Mapping[str, Any] | None) -> Loop:
        """The loop with the measures of `config`, what it began with, where these are fewer than all by default.

        So a run that an earlier version began goes on: measures that came since change nothing of what it trains. Those
        that are asked for by name are left as they are.
        """
        began = tuple((config or {}).get("metrics") or ())
        is_earlier = self.metrics == LOOP_MEASURES and 0 < len(began) < len(LOOP_MEASURES)
        return dataclasses.replace(self, metrics=began) if is_earlier and set(began) < set(LOOP_MEASURES) else self

    def spaces(self) -> tuple[Features, ...]:
        """The feature spaces that the metrics are computed in."""
        return self.evaluation or (self.features,)

    def at_seed(self, seed: int) -> Loop:
        """The loop with this seed, and the real images that belong to it."""
        return dataclasses.replace(self, seed=seed, dataset=self.dataset.at_seed(seed))

    def at_size(self, size: int | None) -> Loop:
        """The loop with `size` real images, selection and generation in proportion; None leaves it as it is.

        Raises
        ------
        InputError
            The dataset has no ``n_images`` to start from or would hold out other images at another size, or a number in
            proportion is not whole.
        """
        if size is None:
            return self
        base = getattr(self.dataset, "n_images", None)
        if base is None:
            raise InputError("sizes: expected a dataset with n_images, in proportion to which all else is sized.")
        if getattr(self.dataset, "reference", None) is None and getattr(self.dataset, "n_reference", 0) is None:
            raise InputError(
                "sizes: expected a dataset with n_reference, or with a reference of its own, so that all sizes are "
                "measured against the same held-out images."
            )
        selector, n_generated = self.selector, self.n_generated
        if selector is not None:
            n_samples = _in_proportion(selector.n_samples, size, base, "the selector's n_samples")
            selector = dataclasses.replace(selector, n_samples=n_samples)
        if n_generated is not None:
            n_generated = _in_proportion(n_generated, size, base, "n_generated")
        dataset, paradigm = dataclasses.replace(self.dataset).set_params(n_images=size), self.paradigm
        if (n_fresh := getattr(paradigm, "n_fresh", None)) is not None:
            scaled = _in_proportion(n_fresh, size, base, "the paradigm's n_fresh")
            paradigm = dataclasses.replace(paradigm).set_params(n_fresh=scaled)
        return dataclasses.replace(self, dataset=dataset, paradigm=paradigm, selector=selector, n_generated=n_generated)

    def _check_data(self, run: Run, real: RealData, values: dict[str, Any]) -> None:
        """Raise InputError for what only the images show."""
        for space in stages.learners_of((self.features, *self.spaces())):
            space.check_lessons(*(lessons_of(space) if space.path else (real.images, real.labels)))
        if self.generator.needs_labels and (real.labels is None or real.labels.min() < 0):
            raise InputError(
                f"dataset: a conditional generator expected a label for every image, but {self.dataset.kind!r} "
                f"has {'none' if real.labels is None else 'images without one'}. Use images with labels, or "
                "conditional = false."
            )
        self._check_classes(real)
        self._check_held_out(real)
        self._check_sizes(run, values)

    def _check_held_out(self, real: RealData) -> None:
        """The reference says how near fresh images are to the real ones: it must not be made of these.

        Where more of them are than fresh images may be near copies, the border of near copies is at distance 0.
        """
        known = {image.tobytes() for image in real.images}
        n_same = sum(image.tobytes() in known for image in real.reference)
        if not n_same:
            return
        n = len(real.reference)
        told = f"{n_same:,} of {n:,} are among the real images as well, pixel for pixel"
        if n_same > n / 2:
            raise InputError(f"dataset: expected a reference of other images than the real ones, but {told}.")
        so = "only exact copies count as near ones" if n_same > FALSE_ALARMS * n else "they count as new"
        warnings.warn(f"reference: {told}, so that {so}. Leave repeated images out.", DuplicateWarning, 2)

    def _check_classes(self, real: RealData) -> None:
        """The classes that are trusted, or measured, are those of real images that have labels."""
        asks = [name for name in ("trusted_classes", "by_class") if getattr(self, name)]
        if not asks:
            return
        if real.labels is None or real.labels.min() < 0:
            raise InputError(
                f"{asks[0]}: expected a label for every real image, but {self.dataset.kind!r} has "
                f"{'none' if real.labels is None else 'images without one'}. Use images with labels."
            )
        if not self.trusted_classes:
            return
        known = set(real.labels.tolist())
        if unknown := sorted(set(self.trusted_classes) - known):
            raise InputError(f"trusted_classes: expected labels of {sorted(known)}, got {unknown[0]}.")
        n_trusted = sum(label in self.trusted_classes for label in real.labels.tolist())
        least = max(rule.least_trusted for rule in (self.selector, self.guard) if rule is not None)
        if n_trusted < least:
            raise InputError(
                f"trusted_classes: expected at least {least} real images of these classes, got {n_trusted}. Name more "
                "classes, or raise the number of real images."
            )

    def _check_sizes(self, run: Run, values: dict[str, Any]) -> None:
        """Everything that can be known before the first training: sizes, shapes and disk space."""
        n_generated = self.n_generated or values["n_real"]
        n_real, n_reference, least = values["n_real"], values["n_reference"], stages.MIN_ROWS
        if min(n_real, n_reference, n_generated) < least:
            raise InputError(
                f"dataset: expected at least {least} real, {least} reference and {least} generated images, got "
                f"{n_real}, {n_reference} and {n_generated} (n_generated)."
            )
        height, width, channels = values["image_shape"]
        self.generator.check_fits((height, width, channels))
        self.check_pools(values["n_real"], values.get("n_stock", 0))
        self._check_measured(n_real, n_reference, n_generated)
        self._check_pool_memory(values, n_generated)
        n_missing = sum(run.ledger.find(n, "sample") is None for n in range(1, self.n_iterations + 1))
        # Each probe's weights are kept, and sampled from without its images being kept.
        of_models = (1 + len(self.probe_steps)) * self.generator.kept_bytes((height, width, channels))
        needed = n_missing * (n_generated * height * width * channels + of_models)
        if needed > (free := free_bytes(run.folder)):
            raise InputError(
                f"{run.folder}: the images and models still to be made need {needed / 1e6:,.1f} MB, but "
                f"{free / 1e6:,.1f} MB are free. Give a folder (--out) on a larger disk, or fewer iterations or images."
            )

    def check_pools(self, n_real: int, n_stock: int) -> None:
        """Raise InputError unless the pool of each iteration has what is taken from it, given the real images that the
        loop begins with, and those in stock."""
        for n in range(1, self.n_iterations + 1):
            self._check_pool(n, n_real, self.n_generated or n_real, n_stock)
        self._check_training_sets(n_real)

    def _check_training_sets(self, n_real: int) -> None:
        """The generator can learn from as many images as each training set has, or has at most."""
        for n in range(1, self.n_iterations + 1):
            n_pool = self.pool_size(n, n_real, self.n_generated or n_real)
            n_images = n_pool if self.selector is None else self.selector.n_samples
            self.generator.check_training(n_images, self.probe_steps)

    def pool_size(self, n: int, n_real: int, n_generated: int) -> int:
        """How many images the pool of an iteration has, fresh and planted ones among them."""
        generation = n_generated + round(self.garbage_share * n_generated)
        of_sources = sum(generation if source else n_real for source in self.paradigm.checked_sources(n))
        return of_sources + len(self.paradigm.checked_fresh(n))

    def _check_measured(self, n_real: int, n_reference: int, n_generated: int) -> None:
        """All that is measured has the rows that its measures need, which is known before anything is trained."""
        pools = (self.pool_size(n, n_real, n_generated) for n in range(1, self.n_iterations + 1))
        n_training = min(pools) if self.selector is None else self.selector.n_samples
        # No more rows are compared than there are real ones.
        has = {"real": n_real, "reference": n_reference}
        has |= {"training": min(n_training, n_real), "generated": min(n_generated, n_real)}
        for role, n_images in has.items():
            least, name = rows_needed(role, self.metrics)
            if n_images < least:
                raise InputError(
                    f"metrics: {name} expects at least {least} {role} images, but there are {n_images}. "
                    f"Raise their number, or leave {name} out."
                )

    def _check_pool_memory(self, values: dict[str, Any], n_generated: int) -> None:
        """The images of the last pool, which are in memory at once, fit into it."""
        n, memory = self.n_iterations, usable_memory()
        n_images = self.pool_size(n, values["n_real"], n_generated)
        if (needed := n_images * math.prod(values["image_shape"])) > memory:
            raise InputError(
                f"n_iterations, n_generated: expected pools that fit into the {in_gigabytes(memory)} of memory here, "
                f"but that of iteration {n:,} has {n_images:,} images, which take {in_gigabytes(needed)}. Lower one of "
                "them, or take another paradigm."
            )

    def _check_pool(self, n: int, n_real: int, n_generated: int, n_stock: int) -> None:
        """The pool of iteration n has what the paradigm and the selector will take from it."""
        sources, fresh, selector = self.paradigm.checked_sources(n), self.paradigm.checked_fresh(n), self.selector
        if fresh.stop > n_stock:
            raise InputError(
                f"paradigm: iteration {n} takes {fresh.stop} fresh real images, but the dataset has {n_stock} beside "
                "its n_images and its reference. Lower n_fresh or n_images, or set the dataset's n_reference."
            )
        if selector is None:
            return
        n_samples = selector.n_samples
        has = {"real": (0 in sources) * n_real + len(fresh), "generated": sum(map(bool, sources)) * n_generated}
        if n_samples > sum(has.values()):
            raise InputError(
                f"selector: n_samples = {n_samples}, but the pool of iteration {n} has {sum(has.values())} images. "
                "Lower n_samples, or raise n_generated or the number of real images."
            )
        if selector.trusts and has["real"] < (least := selector.least_trusted):
            raise InputError(
                f"selector: {selector.kind!r} expects at least {least} real images, but the pool of iteration {n} has "
                f"{has['real']}. Raise the number of real images, or lower its k."
            )
        self._check_wanted_rows(n, [n_generated if source else n_real for source in sources], len(fresh))
        wanted = self.paradigm.checked_n_real(n, n_samples)
        for kind, count in {} if wanted is None else {"real": wanted, "generated": n_samples - wanted}.items():
            if count > has[kind]:
                raise InputError(
                    f"paradigm: {self.paradigm.kind!r} asks for {count} {kind} images among n_samples = {n_samples}, "
                    f"but the pool of iteration {n} has {has[kind]}. Lower n_samples, or change the share."
                )

    def _check_wanted_rows(self, n: int, sizes: Sequence[int], n_fresh: int) -> None:
        """The pool of iteration n has the rows that the selector is told to begin with, and those that it owes; it has
        so many images of each source, and fresh ones."""
        assert self.selector is not None
        rows, minimum, n_samples = self.selector.initial, self.selector.minimum, self.selector.n_samples
        if rows is None and not minimum:
            return
        # Row by row as the pool is made: each generation before the garbage that is planted beside it.
        sources = self.paradigm.checked_sources(n)
        planted = [
            size + round(self.garbage_share * size) if i else size for i, size in zip(sources, sizes, strict=True)
        ]
        parts = [*zip(sources, planted, strict=True), (0, n_fresh)]
        has: Counter[int] = Counter()
        for source, size in parts:
            has[source] += size
        initial = np.asarray([] if rows is None else rows).astype(np.int64)
        if len(initial) and (initial.min() < 0 or initial.max() >= has.total()):
            raise InputError(
                f"selector: initial: expected rows of the pool, but that of iteration {n} has rows 0 to "
                f"{has.total() - 1}, got {initial.min()} to {initial.max()}. Name rows that every pool has."
            )
        owed = least_rows(minimum, n_samples) if isinstance(minimum, Mapping) else {}
        for source, least in owed.items():
            if least > has[source]:
                raise InputError(
                    f"selector: minimum: expected at least {least} rows of source {source}, but the pool of iteration "
                    f"{n} has {has[source]}. Name only sources that every pool has enough of, lower the share, or take "
                    "another paradigm: fixed-real-share shares every training set after the first."
                )
        ends = np.cumsum([size for _, size in parts])
        begun = Counter(parts[place][0] for place in np.searchsorted(ends, initial, side="right").tolist())
        n_free = sum(max(count - owed.get(source, 0), 0) for source, count in begun.items())
        if owed and n_free > n_samples - sum(owed.values()):
            raise InputError(
                f"selector: minimum: expected places for {sum(owed.values())} owed rows among n_samples = {n_samples}, "
                f"but in iteration {n} the {len(initial)} rows of initial leave {n_samples - n_free}. Raise n_samples, "
                "lower a share, or name fewer rows."
            )

    def _components(self) -> dict[str, Component]:
        for name in ("evaluation", "metrics"):
            if not isinstance(getattr(self, name), tuple | list):
                raise InputError(f"{name}: expected a tuple, got {shown(getattr(self, name))}.")
        kinds: dict[str, type[Component]] = {"dataset": Dataset, "paradigm": Paradigm, "selector": Selector}
        kinds |= {"guard": Guard, "features": Features, "generator": Component}
        named = {name: (getattr(self, name), kind) for name, kind in kinds.items()}
        named |= {f"evaluation[{i}]": (features, Features) for i, features in enumerate(self.evaluation)}
        for name in ("selector", "guard"):
            if named[name][0] is None:
                del named[name]
        for name, (component, kind) in named.items():
            # A generator is known by what it can do: its class lives where torch is imported.
            is_generator = name != "generator" or callable(getattr(component, "sample", None))
            if not (isinstance(component, kind) and is_generator):
                wanted = "Generator" if name == "generator" else kind.__name__
                raise InputError(f"{name}: expected a {wanted}, got {shown(component)}.")
        return {name: component for name, (component, _) in named.items()}


def goes_on_without(folder: str | Path, newer: Iterable[str]) -> str:
    """That a folder goes on without measures that came since it was begun; what gives these is to follow."""
    return (
        f"{folder} goes on with the measures that it began with, without {', '.join(sorted(newer))}. To have these as "
        "well:"
    )


def _check_folder(folder: Path) -> None:
    """Refuse the folder of a study, whose runs lie in folders of their own."""
    if (folder / STUDY).exists():
        raise InputError(
            f"folder: expected a new folder or one of an earlier run, but {folder} holds {STUDY} of a study. Give "
            "another folder."
        )


def _check_pace(pace: Any) -> None:
    if not isinstance(pace, Pace):
        raise InputError(f"pace: expected a Pace(checkpoint_seconds=..., deadline=...), got {shown(pace)}.")
    check_real(pace.checkpoint_seconds, name="checkpoint_seconds")
    if pace.deadline is not None:
        check_real(pace.deadline, name="deadline")


def _in_proportion(number: int, size: int, base: int, name: str) -> int:
    scaled, rest = divmod(number * size, base)
    if rest or not scaled:
        raise InputError(
            f"sizes: {name} = {number} for {base} real images is no whole number for {size}. "
            "Choose sizes and numbers that divide."
        )
    return scaled
