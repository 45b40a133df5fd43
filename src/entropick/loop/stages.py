"""The stages of one self-consuming loop: each turns files of earlier stages into files and numbers of its own.

Every method returns the ledger entry of its stage, and loads or computes nothing where that entry exists.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features as FeatureMatrix
from entropick.arrays import Images, Integers
from entropick.errors import InputError, RunChanged
from entropick.features.base import Features, LearnedFeatures
from entropick.loop.pool import Pool
from entropick.metrics.base import Roles
from entropick.metrics.diversity import Plane, density_map, principal_plane, source_shares
from entropick.metrics.suite import MEASURES, measure
from entropick.neighbors import nearest_neighbors
from entropick.processes.ranks import Team
from entropick.random_stream import RandomStream
from entropick.run import Entry, Outcome, Run, fingerprint, free_bytes
from entropick.sources import FeatureCache, lessons_of
from entropick.work import State, Work

if TYPE_CHECKING:
    from entropick.generators.base import Generator
    from entropick.loop.loop import Loop

_N_EXAMPLES = 64
_N_PAIRS = 24
_MIN_ROWS = 8


class Stages:
    """The stages of `loop` in the run directory `run`; `team` are the processes that share them."""

    def __init__(self, loop: Loop, run: Run, team: Team) -> None:
        self._loop = loop
        self._run = run
        self._team = team
        # What each iteration emitted: entry and name of its image file. Iteration 0 emitted the real data.
        self._emitted: dict[int, tuple[Entry, str]] = {}
        self._stock: Entry | None = None
        self._kept = FeatureCache(run.work / "features")
        # The space to select in and those to measure in: the loop's, or copies that `learn` has taught.
        self._features, self._spaces = loop.features, loop.spaces()

    # -- iteration 0 ------------------------------------------------------------------------------------------------

    def data(self) -> Entry:
        """Load, check and keep the real images and the reference."""
        dataset = self._loop.dataset
        fingerprint = dataset.fingerprint()
        old = self._run.ledger.find(0, "data")
        if old and old.values["fingerprint"] != fingerprint:
            raise RunChanged(
                f"{self._run.folder}: the data changed:\n  dataset.fingerprint: was {old.values['fingerprint'][:16]}…, "
                f"now {fingerprint[:16]}…\nRestore the images that the run began with, or give another --out."
            )
        depends_on = {"dataset": dataset.describe(), "fingerprint": fingerprint}

        def compute(work: Work) -> Outcome:
            real = dataset.load(work=work)
            for space in self._learners():
                space.check_lessons(*(lessons_of(space) if space.path else (real.images, real.labels)))
            files: dict[str, Any] = {"real.npy": real.images, "reference.npy": real.reference}
            if real.labels is not None:
                files["real_labels.npy"] = real.labels
            values = {
                "n_real": len(real.images),
                "n_reference": len(real.reference),
                "n_stock": 0 if real.stock is None else len(real.stock),
                "image_shape": list(real.images.shape[1:]),
                "fingerprint": fingerprint,
            }
            # Before the ledger has a line, so that what is found here can still be put right in this directory.
            self._check_labels(real.labels)
            self._check_sizes(values)
            return Outcome(files, values)

        entry = self._stage(0, "data", depends_on, compute)
        self._check_sizes(entry.values)
        self._emitted[0] = (entry, "real.npy")
        return entry

    def stock(self) -> Entry:
        """Keep the further real images that a paradigm lets in later; only called where one does."""
        dataset = self._loop.dataset

        def compute(work: Work) -> Outcome:
            real = dataset.load(work=work)
            assert real.stock is not None
            files: dict[str, Any] = {"stock.npy": real.stock}
            if real.stock_labels is not None:
                files["stock_labels.npy"] = real.stock_labels
            return Outcome(files, {"n_images": len(real.stock)})

        depends_on = {"dataset": dataset.describe(), "fingerprint": self._data.values["fingerprint"]}
        return self._stage(0, "stock", depends_on, compute)

    def learn(self) -> Entry | None:
        """Teach the spaces that are learned from real images; None, and no stage, if there are none."""
        learners = self._learners()
        if not learners:
            return None
        labels = "real_labels.npy"
        data = self._data
        has_labels = self._run.relative(data, labels) in data.files

        def compute(work: Work) -> Outcome:
            files: dict[str, Any] = {}
            for number, space in enumerate(learners):
                own = (self._run.load(data, "real.npy"), self._run.load(data, labels) if has_labels else None)
                space.fit(*(lessons_of(space) if space.path else own), work=work)
                files[f"space-{number}.safetensors"], files[f"space-{number}.json"] = space.state()
            return Outcome(files, {"spaces": [{"name": space.name, **space.summary()} for space in learners]})

        depends_on = {
            "spaces": [space.identity() for space in learners],
            "data": _hashes(data, ["real.npy", *([labels] if has_labels else [])]),
        }
        entry = self._stage(0, "learn", depends_on, compute)
        for number, space in enumerate(learners):
            name = f"space-{number}"
            space.restore(self._run.load(entry, f"{name}.safetensors"), self._run.load(entry, f"{name}.json"))
        taught = {fingerprint(space.describe()): space for space in learners}
        self._features = taught.get(fingerprint(self._features.describe()), self._features)
        self._spaces = tuple(taught.get(fingerprint(space.describe()), space) for space in self._spaces)
        return entry

    def baseline(self) -> Entry:
        """What real data itself scores: the held-out images in the role of the generated ones, and the like."""
        data = self._data

        def compute(work: Work) -> Outcome:
            metrics: dict[str, float | None] = {}
            copying_ratios: dict[str, float | None] = {}
            for features in self._spaces:
                real = self._extract(features, self._real(), work)
                reference = self._reference(features, work)
                as_model = Roles(training=real, generated=real, reference=reference, real=real)
                held_out = Roles(training=real, generated=reference, reference=reference, real=real)
                for name in self._loop.metrics:
                    roles = held_out if MEASURES[name].of_copying else as_model
                    metrics |= measure(roles, [name], space=features.name)
                copying_ratios[features.name] = held_out.copying.copying_ratio
            values = {"metrics": metrics, "copying_ratio": copying_ratios, "n_training": data.values["n_real"]}
            plane, density, spread = self._spread(work)
            return Outcome({"axes.npy": plane.frame, "spread.npy": density}, {**values, "spread": spread})

        depends_on = {"data": _hashes(data, ["real.npy", "reference.npy"]), **self._measuring()}
        return self._stage(0, "baseline", depends_on, compute)

    # -- iterations 1 ... -------------------------------------------------------------------------------------------

    def select(self, n: int) -> Entry:
        """Choose D_n from the pool of iteration n."""
        loop = self._loop
        sources = loop.paradigm.sources(n)
        fresh = loop.paradigm.fresh(n)
        depends_on: dict[str, Any] = {
            "sources": {str(i): _hashes(*_one(self._emitted[i])) for i in sources},
            "selector": loop.selector.describe() if loop.selector else None,
            "n_real": loop.paradigm.n_real(n, loop.selector.n_samples) if loop.selector else None,
            "guard": loop.guard.describe() if loop.guard else None,
            "garbage_share": loop.garbage_share,
            "features": self._features.identity(),
            "seed": loop.seed,
        }
        if fresh:
            self._stock = self.stock()
            depends_on["fresh"] = {"rows": [fresh.start, fresh.stop], **_hashes(self._stock, ["stock.npy"])}

        def compute(work: Work) -> Outcome:
            pool = self._pool(n)
            picked, distances, summary = self._pick(n, pool, work)
            # The training set is a set: in pool order, so that arms that chose the same rows share its training.
            training = pool.take(np.sort(picked))
            chosen = pool.take(picked)
            table = {
                "rank": np.arange(len(picked)),
                "pool_row": picked,
                "source": chosen.source,
                "row": chosen.row,
                "label": chosen.labels,
                "distance": distances,
            }
            values = {
                "n_pool": len(pool),
                "n_selected": len(picked),
                "shares": _text_keys(source_shares(training.source, n_sources=n)),
                "pool_shares": _text_keys(source_shares(pool.source, n_sources=n)),
                "selection": summary,
                "training_hash": training.content_hash(),
            }
            if loop.garbage_share:
                values["n_garbage"] = int(np.count_nonzero(self._is_garbage(training)))
            return Outcome({"selection.parquet": table}, values)

        return self._stage(n, "select", depends_on, compute)

    def train(self, n: int, selection: Entry) -> Entry:
        """Train a new generator on D_n."""
        loop = self._loop

        def compute(work: Work) -> Outcome:
            training = self._training_set(selection)
            generator = loop.new_generator()
            call = _caller(generator, work)
            call(generator.fit, training.images, training.labels, stream=self._stream(n, "train"))
            arrays, state = generator.state()
            values = {"n_images": len(training), **generator.training_values()}
            return Outcome({"model.safetensors": arrays, "model.json": state}, values)

        depends_on = {
            "generator": loop.generator.describe(),
            "training": selection.values["training_hash"],
            "seed": loop.seed,
        }
        return self._stage(n, "train", depends_on, compute)

    def sample(self, n: int, model: Entry) -> Entry:
        """Sample G_n."""
        loop = self._loop
        n_images = loop.n_generated or self._data.values["n_real"]

        def compute(work: Work) -> Outcome:
            weights, state = self._run.load(model, "model.safetensors"), self._run.load(model, "model.json")
            generator, stream = loop.new_generator(), self._stream(n, "sample")
            images = _caller(generator, work)(_sample, generator, weights, state, n_images, stream)
            files: dict[str, Any] = {"generated.npy": images}
            if (labels := generator.sample_labels(n_images, stream=stream)) is not None:
                files["generated_labels.npy"] = labels
            return Outcome(files, {"n_images": len(images), **generator.sampling_values()})

        depends_on = {
            "generator": loop.generator.describe(),
            "model": _hashes(model, ["model.safetensors", "model.json"]),
            "n_images": n_images,
            "seed": loop.seed,
        }
        entry = self._stage(n, "sample", depends_on, compute)
        self._emitted[n] = (entry, "generated.npy")
        return entry

    def measure(self, n: int, selection: Entry, sample: Entry, baseline: Entry) -> Entry:
        """Compare G_n with D_n and with the reference, and keep examples to look at."""
        data = self._data

        def compute(work: Work) -> Outcome:
            # Equal numbers everywhere, or most measures could not be compared between arms and iterations.
            training = self._training_set(selection)
            images = self._run.load(sample, "generated.npy")[: data.values["n_real"]]
            generated = Pool.of(images, source=n)
            metrics: dict[str, float | None] = {}
            for features in self._spaces:
                roles = Roles(
                    training=self._extract(features, training, work),
                    generated=self._extract(features, generated, work),
                    reference=self._reference(features, work),
                    real=self._extract(features, self._real(), work),
                )
                metrics |= self._measure_at_equal_size(n, roles, features)
            density, outside = density_map(self._extract(self._shown, generated, work), self._plane(baseline))
            pairs, described = self._pairs(generated.take(np.arange(min(_N_PAIRS, len(generated)))), training, work)
            values = {
                "metrics": metrics,
                "n_training": len(training),
                "n_generated": len(generated),
                "n_reference": data.values["n_reference"],
                "pairs": described,
                "spread": {"outside": outside},
            }
            files = {"examples.npy": images[:_N_EXAMPLES], "pairs.npy": pairs, "spread.npy": density}
            return Outcome(files, values)

        depends_on = {
            "training": selection.values["training_hash"],
            "generated": _hashes(sample, ["generated.npy"]),
            "real": _hashes(data, ["real.npy", "reference.npy"]),
            "axes": _hashes(baseline, ["axes.npy"]),
            "seed": self._loop.seed,
            **self._measuring(),
        }
        return self._stage(n, "measure", depends_on, compute)

    # -- parts ------------------------------------------------------------------------------------------------------

    def _stage(self, n: int, name: str, depends_on: dict[str, Any], compute: Callable[[Work], Outcome]) -> Entry:
        return self._run.stage(n, name, depends_on, lambda work: compute(self._team.sharing(work)))

    @property
    def _shown(self) -> Features:
        """The space in which arms are looked at, whatever space their selectors work in."""
        return self._spaces[0]

    @property
    def _data(self) -> Entry:
        return self._emitted[0][0]

    def _stream(self, n: int, stage: str) -> RandomStream:
        return RandomStream(self._loop.seed, n, stage)

    def _learners(self) -> list[LearnedFeatures]:
        """Unfitted copies of the different spaces that are learned."""
        different = {fingerprint(space.describe()): space for space in (self._loop.features, *self._loop.spaces())}
        return [dataclasses.replace(space) for space in different.values() if isinstance(space, LearnedFeatures)]

    def _extract(self, features: Features, pool: Pool, work: Work) -> FeatureMatrix:
        """Features of a pool's images; what an iteration emitted is extracted once and kept, unless that is cheap."""
        if features.cheap:
            return features.extract(pool.images)
        X = None
        for i in np.unique(pool.source).tolist():
            whole = self._kept_features(features, *self._emitted[i], work)
            of_source = pool.source == i
            is_kept = of_source & (pool.row < len(whole))
            X = np.empty((len(pool), whole.shape[1]), np.float32) if X is None else X
            X[is_kept] = whole[pool.row[is_kept]]
            # Fresh real images and planted garbage are numbered after what their iteration emitted.
            if (is_added := of_source & ~is_kept).any():
                X[is_added] = features.extract(pool.images[is_added])
        assert X is not None
        return X

    def _reference(self, features: Features, work: Work) -> FeatureMatrix:
        return self._kept_features(features, self._data, "reference.npy", work)

    def _kept_features(self, features: Features, entry: Entry, name: str, work: Work) -> FeatureMatrix:
        content, images = _hashes(entry, [name])[name], self._run.load(entry, name)
        return self._kept.matrix(features, content, images, work, f"{features.name} of {name}, {entry.iteration}")

    def _measuring(self) -> dict[str, Any]:
        spaces = [features.identity() for features in self._spaces]
        return {"spaces": spaces, "metrics": list(self._loop.metrics)}

    def _pool(self, n: int) -> Pool:
        pools = []
        for i in self._loop.paradigm.sources(n):
            entry, name = self._emitted[i]
            labels = "real_labels.npy" if i == 0 else "generated_labels.npy"
            has_labels = self._run.relative(entry, labels) in entry.files
            images = self._run.load(entry, name)
            pools.append(Pool.of(images, source=i, labels=self._run.load(entry, labels) if has_labels else None))
            if i and (n_planted := round(self._loop.garbage_share * len(images))):
                noise = self._stream(i, "garbage").rng().integers(0, 256, (n_planted, *images.shape[1:]), np.uint8)
                pools.append(Pool.of(noise, source=i, first_row=len(images)))
        if fresh := self._loop.paradigm.fresh(n):
            pools.append(self._fresh(fresh))
        return Pool.concatenate(pools)

    def _fresh(self, rows: range) -> Pool:
        """Rows of the stock: real images, numbered after those that the loop began with."""
        assert self._stock is not None
        part = slice(rows.start, rows.stop)
        has_labels = self._run.relative(self._stock, "stock_labels.npy") in self._stock.files
        labels = self._run.load(self._stock, "stock_labels.npy")[part] if has_labels else None
        images = self._run.load(self._stock, "stock.npy")[part]
        return Pool.of(images, source=0, labels=labels, first_row=self._data.values["n_real"] + rows.start)

    def _is_garbage(self, pool: Pool) -> np.ndarray:
        """Which rows were planted: those numbered after all that their iteration emitted."""
        n_generated = self._loop.n_generated or self._data.values["n_real"]
        return (pool.source > 0) & (pool.row >= n_generated)

    def _real(self) -> Pool:
        return Pool.of(self._run.load(self._data, "real.npy"), source=0)

    def _pick(self, n: int, pool: Pool, work: Work) -> tuple[Integers, np.ndarray, dict[str, Any]]:
        """Pool rows in the order of picking, their distances at that moment, and the selector's summary."""
        if self._loop.selector is None:
            return np.arange(len(pool)), np.full(len(pool), np.inf), {}
        selector = self._loop.new_selector(self._stream(n, "select"))
        sources, n_samples = pool.source, selector.n_samples
        n_real = self._loop.paradigm.n_real(n, n_samples)
        if n_real is not None:
            # Two sources, real and generated, that are owed all there is to pick: how many of each is then fixed.
            sources = np.minimum(sources, 1)
            selector.set_params(minimum={0: n_real / n_samples, 1: (n_samples - n_real) / n_samples})
        X = self._extract(self._features, pool, work)
        rows, told = self._guarded(X, pool, n_samples, work)
        selector.fit(X[rows], sources[rows], work=work)
        return rows[selector.indices_], selector.distances_, {**selector.summary(), **told}

    def _guarded(self, X: FeatureMatrix, pool: Pool, n_samples: int, work: Work) -> tuple[Integers, dict[str, Any]]:
        """The rows that the guard lets through, at least `n_samples`, and what it did."""
        guard, everything = self._loop.guard, np.arange(len(pool))
        if guard is None:
            return everything, {}
        sources, n = pool.source, len(pool)
        if not np.isin(sources, guard.trusted).any():
            real = self._extract(self._features, self._real(), work)
            X, sources = np.concatenate([X, real]), np.append(sources, np.zeros(len(real), np.int64))
        fitted = dataclasses.replace(guard).fit(X, sources)
        aside = fitted.set_aside_
        # A guard that leaves too little gives the least extreme back: what it says then stands in the ledger.
        n_returned = max(n_samples - (n - len(aside)), 0)
        kept = np.setdiff1d(everything, aside[: len(aside) - n_returned])
        told = {"guard_threshold": fitted.threshold_, "guard_set_aside": len(aside), "guard_returned": n_returned}
        return kept, told

    def _spread(self, work: Work) -> tuple[Plane, np.ndarray, dict[str, Any]]:
        """The real data's principal plane, its own density there, and numbers of both."""
        real = self._extract(self._shown, self._real(), work)
        plane = principal_plane(real)
        density, outside = density_map(real, plane)
        told = {
            "feature_space": self._shown.name,
            "extent": plane.extent.tolist(),
            "explained": list(plane.explained),
        }
        return plane, density, {**told, "outside": outside}

    def _plane(self, baseline: Entry) -> Plane:
        extent = np.asarray(baseline.values["spread"]["extent"])
        return Plane(np.asarray(self._run.load(baseline, "axes.npy")), extent)

    def _training_set(self, selection: Entry) -> Pool:
        picked = self._run.load(selection, "selection.parquet")["pool_row"]
        return self._pool(selection.iteration).take(np.sort(picked))

    def _measure_at_equal_size(self, n: int, roles: Roles, features: Features) -> dict[str, float | None]:
        """All measures; where their value moves with the size, of as many training as real images."""
        names, space = self._loop.metrics, features.name
        alike = self._of_equal_size(n, roles)
        metrics: dict[str, float | None] = {}
        for name in names:
            metrics |= measure(alike if MEASURES[name].same_size else roles, [name], space=space)
        return metrics

    def _check_labels(self, labels: Integers | None) -> None:
        if self._loop.generator.needs_labels and (labels is None or labels.min() < 0):
            raise InputError(
                f"dataset: a conditional generator expected a label for every image, but {self._loop.dataset.kind!r} "
                f"has {'none' if labels is None else 'images without one'}. Use images with labels, or conditional = "
                "false."
            )

    def _pairs(self, generated: Pool, training: Pool, work: Work) -> tuple[Images, dict[str, Any]]:
        """Generated images, each beside its nearest training image: uint8 ``(m, 2, h, w, c)``."""
        queries, others = (self._extract(self._shown, pool, work) for pool in (generated, training))
        found = nearest_neighbors(queries, others, k=1)
        rows = found.indices[:, 0]
        described = {
            "feature_space": self._shown.name,
            "distances": [round(float(distance), 6) for distance in found.distances[:, 0]],
            "training_rows": rows.tolist(),
        }
        return np.stack([generated.images, training.images[rows]], axis=1), described

    def _of_equal_size(self, n: int, roles: Roles) -> Roles:
        """The roles with a random part of the larger of the training set and the real images."""
        assert roles.training is not None and roles.real is not None
        n_rows = min(len(roles.training), len(roles.real))
        if len(roles.training) == len(roles.real):
            return roles
        larger = "training" if len(roles.training) > n_rows else "real"
        X = getattr(roles, larger)
        rows = self._stream(n, "measure").rng().choice(len(X), n_rows, replace=False)
        return dataclasses.replace(roles, **{larger: X[np.sort(rows)]})

    def _check_sizes(self, values: dict[str, Any]) -> None:
        """Everything that can be known before the first training: sizes, shapes and disk space."""
        loop = self._loop
        n_generated = loop.n_generated or values["n_real"]
        if min(values["n_real"], values["n_reference"], n_generated) < _MIN_ROWS:
            raise InputError(
                f"dataset: expected at least {_MIN_ROWS} real, {_MIN_ROWS} reference and {_MIN_ROWS} generated images, "
                f"got {values['n_real']}, {values['n_reference']} and {n_generated} (n_generated)."
            )
        height, width, channels = values["image_shape"]
        loop.generator.check_fits((height, width, channels))
        _check_pools(loop, values["n_real"], n_generated, values.get("n_stock", 0))
        n_missing = sum(self._run.ledger.find(n, "sample") is None for n in range(1, loop.n_iterations + 1))
        needed = n_missing * n_generated * height * width * channels
        if needed > (free := free_bytes(self._run.folder)):
            raise InputError(
                f"{self._run.folder}: the images still to be generated need {needed / 1e6:,.1f} MB, but "
                f"{free / 1e6:,.1f} MB are free. Give an --out on a larger disk, or fewer iterations or images."
            )


def _check_pools(loop: Loop, n_real: int, n_generated: int, n_stock: int) -> None:
    for n in range(1, loop.n_iterations + 1):
        sources, fresh = loop.paradigm.sources(n), loop.paradigm.fresh(n)
        if fresh.stop > n_stock:
            raise InputError(
                f"paradigm: iteration {n} takes {fresh.stop} fresh real images, but the dataset has {n_stock} beside "
                "its n_images and its reference. Lower n_fresh or n_images, or set the dataset's n_reference."
            )
        if loop.selector is None:
            continue
        n_samples = loop.selector.n_samples
        has = {"real": (0 in sources) * n_real + len(fresh), "generated": sum(map(bool, sources)) * n_generated}
        if n_samples > sum(has.values()):
            raise InputError(
                f"selector: n_samples = {n_samples}, but the pool of iteration {n} has {sum(has.values())} images. "
                "Lower n_samples, or raise n_generated or the number of real images."
            )
        if hasattr(loop.selector, "trusted") and has["real"] <= (k := loop.selector.k):
            raise InputError(
                f"selector: {loop.selector.kind!r} expects more than k = {k} real images, but the pool of iteration "
                f"{n} has {has['real']}. Lower k, or raise the number of real images."
            )
        wanted = loop.paradigm.n_real(n, n_samples)
        for kind, count in {} if wanted is None else {"real": wanted, "generated": n_samples - wanted}.items():
            if count > has[kind]:
                raise InputError(
                    f"paradigm: {loop.paradigm.kind!r} asks for {count} {kind} images among n_samples = {n_samples}, "
                    f"but the pool of iteration {n} has {has[kind]}. Lower n_samples, or change the share."
                )


def _caller(generator: Generator, work: Work) -> Callable[..., Any]:
    """What calls a function of the generator: `Work.together` if it is worth other processes' while."""
    return work.together if generator.divisible else functools.partial(Work.together, work)


def _sample(
    generator: Generator, weights: dict[str, NDArray[Any]], state: State, n: int, stream: RandomStream, work: Work
) -> Images:
    return generator.restore(weights, state).sample(n, stream=stream, work=work)


def _one(emitted: tuple[Entry, str]) -> tuple[Entry, list[str]]:
    return emitted[0], [emitted[1]]


def _hashes(entry: Entry, names: Iterable[str]) -> dict[str, str]:
    """The recorded sha256 of some of an entry's files."""
    recorded = {path.rpartition("/")[2]: record.sha256 for path, record in entry.files.items()}
    return {name: recorded[name] for name in names}


def _text_keys(shares: dict[int, float]) -> dict[str, float]:
    return {str(source): share for source, share in shares.items()}
