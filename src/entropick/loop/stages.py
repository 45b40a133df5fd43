"""The stages of a self-consuming loop: each turns files of earlier stages into files and numbers of its own.

A stage is two functions. The first, `train`, says what of the loop the result depends on and returns the ledger entry;
the second, `_train`, computes it and is called only where the entry is missing. It sees what was declared and nothing
else: no loop, no run directory.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features as FeatureMatrix
from entropick.arrays import Images, Integers, check_images, check_labels
from entropick.datasets import RealData
from entropick.datasets.base import load_checked
from entropick.errors import InputError, RunChanged, shown
from entropick.features.base import Features, LearnedFeatures
from entropick.features.cache import FeatureCache, lessons_of
from entropick.loop.classes import by_class
from entropick.loop.pool import Pool
from entropick.metrics import suite
from entropick.metrics.base import Roles
from entropick.metrics.diversity import Plane, density_map, principal_plane, source_shares
from entropick.neighbors import nearest_neighbors
from entropick.random_stream import RandomStream
from entropick.run import Content, Entry, Given, Inputs, Outcome, Run, fingerprint
from entropick.selectors.base import Guard, Selector
from entropick.selectors.quotas import least_rows
from entropick.work import Arrays, State, Work

if TYPE_CHECKING:
    from entropick.generators.base import Generator
    from entropick.loop.loop import Loop

# Of the stages that look into a training: "probe-500" after 500 steps.
PROBE = "probe-"
# The source of real images that are not to be trusted.
_UNTRUSTED = -1
_N_EXAMPLES = 64
MIN_ROWS = 8
"""As many images as a training set, a generation and a reference have at least."""
_N_PAIRS = 24

# -- iteration 0: the real data ---------------------------------------------------------------------------------------


def data(run: Run, loop: Loop, check: Callable[[RealData, dict[str, Any]], None]) -> Entry:
    """Keep the real images and the reference.

    `check` is called with them and the stage's numbers before the ledger has a line, so that what it finds can still be
    put right in this directory.
    """
    now = loop.dataset.fingerprint()
    if old := run.ledger.find(0, "data"):
        _check_unchanged(old.values["fingerprint"], now)
    inputs = Inputs(settings={"dataset": loop.dataset, "fingerprint": now})
    return run.stage(0, "data", inputs, functools.partial(_data, check))


def _data(check: Callable[[RealData, dict[str, Any]], None], given: Given, work: Work) -> Outcome:
    real = _loaded(given, work)
    values = {
        "n_real": len(real.images),
        "n_reference": len(real.reference),
        "n_stock": 0 if real.stock is None else len(real.stock),
        "image_shape": list(real.images.shape[1:]),
        "fingerprint": given["fingerprint"],
    }
    check(real, values)
    files = {"real.npy": real.images, "reference.npy": real.reference, "real_labels.npy": real.labels}
    return Outcome({name: array for name, array in files.items() if array is not None}, values)


def stock(run: Run, loop: Loop, real: Entry) -> Entry:
    """Keep the further real images that a paradigm lets in later; only called where one does."""
    inputs = Inputs(settings={"dataset": loop.dataset, "fingerprint": real.values["fingerprint"]})
    return run.stage(0, "stock", inputs, _stock)


def _stock(given: Given, work: Work) -> Outcome:
    real = _loaded(given, work)
    assert real.stock is not None
    files = {"stock.npy": real.stock, "stock_labels.npy": real.stock_labels}
    return Outcome({name: array for name, array in files.items() if array is not None}, {"n_images": len(real.stock)})


def _loaded(given: Given, work: Work) -> RealData:
    """The data set's images; RunChanged where they are not those of the declared fingerprint, or no longer."""
    real = load_checked(given["dataset"], work)
    _check_unchanged(given["fingerprint"], given["dataset"].fingerprint())
    return real


def _check_unchanged(was: str, now: str) -> None:
    if was != now:
        raise RunChanged(
            f"the data changed:\n  dataset.fingerprint: was {was[:16]}…, now {now[:16]}…\n"
            "Restore the images that the run began with, or give another folder (--out)."
        )


def learn(run: Run, real: Entry, spaces: Sequence[Features]) -> list[Features]:
    """The spaces, those that are learned from real images as copies that have learned; no stage if there are none."""
    learners = learners_of(spaces)
    if not learners:
        return list(spaces)
    inputs = Inputs(settings={"spaces": learners}, files=_existing(real, "real", "real_labels"))
    entry = run.stage(0, "learn", inputs, _learn)
    taught = {}
    for number, space in enumerate(learners):
        name, weights = fingerprint(space.describe()), run.load(entry, f"space-{number}.safetensors")
        taught[name] = space.restore(weights, run.load(entry, f"space-{number}.json"))
    return [taught.get(fingerprint(space.describe()), space) for space in spaces]


def _learn(given: Given, work: Work) -> Outcome:
    files: dict[str, Any] = {}
    summaries = []
    for number, learner in enumerate(given["spaces"]):
        own = (given.load("real"), given.load("real_labels") if "real_labels" in given else None)
        space = dataclasses.replace(learner).fit(*(lessons_of(learner) if learner.path else own), work=work)
        files[f"space-{number}.safetensors"], files[f"space-{number}.json"] = space.state()
        summaries.append({"name": space.name, **space.summary()})
    return Outcome(files, {"spaces": summaries})


def learners_of(spaces: Sequence[Features]) -> list[LearnedFeatures]:
    """Unfitted copies of the different spaces that are learned."""
    different = {fingerprint(space.describe()): space for space in spaces}
    return [dataclasses.replace(space) for space in different.values() if isinstance(space, LearnedFeatures)]


def baseline(run: Run, loop: Loop, real: Entry, spaces: Sequence[Features], kept: FeatureCache) -> Entry:
    """What real data itself scores: the held-out images in the role of the generated ones, and the like."""
    settings = {"spaces": list(spaces), "metrics": list(loop.metrics)}
    inputs = Inputs(settings=settings, files=_existing(real, "real", "reference"))
    return run.stage(0, "baseline", inputs, functools.partial(_baseline, kept))


def _baseline(kept: FeatureCache, given: Given, work: Work) -> Outcome:
    images = _real(given)
    metrics: dict[str, float | None] = {}
    copying_ratios: dict[str, float | None] = {}
    for space in given["spaces"]:
        real, reference = images.features(space, kept, work), _reference(given, space, kept, work)
        as_model = Roles(training=real, generated=real, reference=reference, real=real)
        held_out = Roles(training=real, generated=reference, reference=reference, real=real)
        for name in given["metrics"]:
            roles = held_out if suite.MEASURES[name].of_copying else as_model
            metrics |= suite.measure(roles, [name], space=space.name)
        copying_ratios[space.name] = held_out.copying.copying_ratio
    shown = given["spaces"][0]
    real = images.features(shown, kept, work)
    plane = principal_plane(real)
    density, outside = density_map(real, plane)
    spread = {
        "feature_space": shown.name,
        "extent": plane.extent.tolist(),
        "explained": list(plane.explained),
        "outside": outside,
    }
    values = {"metrics": metrics, "copying_ratio": copying_ratios, "n_training": len(images), "spread": spread}
    return Outcome({"axes.npy": plane.frame, "spread.npy": density}, values)


# -- iterations 1 ...: select, train, sample, measure ------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The training set D_n: the entry of its selection, and how to come by its images."""

    entry: Entry
    load: Callable[[], Pool]

    def content(self, *, labelled: bool) -> Content:
        """The training set as an input, known by its images, and by their labels where they count."""
        if labelled:
            return Content(self.entry.values["training_hash"], self.load, Pool.content_hash)
        return Content(self.entry.values["images_hash"], self.load, Pool.images_hash)


def select(
    run: Run,
    n: int,
    loop: Loop,
    emitted: Sequence[Entry],
    stock: Entry | None,
    model: Entry | None,
    space: Features,
    kept: FeatureCache,
) -> Chosen:
    """Choose D_n from the pool of iteration n; `emitted` are the entries of what each iteration before emitted, `model`
    that of the last training, None where there was none."""
    sources, fresh = loop.paradigm.checked_sources(n), loop.paradigm.checked_fresh(n)
    files: dict[str, tuple[Entry, str]] = {}
    for i in sources:
        name = "generated" if i else "real"
        files[f"images-{i}"] = (emitted[i], f"{name}.npy")
        if emitted[i].has(f"{name}_labels.npy"):
            files[f"labels-{i}"] = (emitted[i], f"{name}_labels.npy")
    if stock is not None:
        files |= _existing(stock, "stock", "stock_labels")
    if loop.guard and loop.guard.trusts and not set(loop.guard.trusts) & {*sources, *([0] if fresh else [])}:
        # A guard trusts real images also where the pool has none.
        files |= _existing(emitted[0], "real")
        files |= _existing(emitted[0], "real_labels") if loop.trusted_classes else {}
    settings: dict[str, Any] = {
        "sources": sources,
        # Rows of the stock, and the number of the first: after those that the loop began with.
        "fresh": [fresh.start, fresh.stop, emitted[0].values["n_real"] + fresh.start] if fresh else None,
        "selector": loop.selector,
        "real_picks": loop.paradigm.checked_n_real(n, loop.selector.n_samples) if loop.selector else None,
        "guard": loop.guard,
        "garbage_share": loop.garbage_share,
        "space": space,
        "seed": loop.seed,
    }
    if model is not None and loop.selector is not None and "losses" in loop.selector.asks:
        files |= {"weights": (model, "model.safetensors"), "state": (model, "model.json")}
        settings["generator"] = loop.generator
    if loop.trusted_classes:
        settings["trusted_classes"] = list(loop.trusted_classes)
    inputs = Inputs(settings=settings, files=files)
    entry = run.stage(n, "select", inputs, functools.partial(_select, kept))

    def load() -> Pool:
        picked = run.load(entry, "selection.parquet")["pool_row"]
        return _pool(Given(n, "select", inputs, run.load)).take(np.sort(picked))

    return Chosen(entry, load)


def _select(kept: FeatureCache, given: Given, work: Work) -> Outcome:
    n, pool = given.iteration, _pool(given)
    picked, distances, summary = _pick(pool, kept, given, work)
    # The training set is a set: in pool order, so that arms that chose the same rows share its training.
    training, chosen = pool.take(np.sort(picked)), pool.take(picked)
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
        "shares": {str(i): share for i, share in source_shares(training.source, n_sources=n).items()},
        "pool_shares": {str(i): share for i, share in source_shares(pool.source, n_sources=n).items()},
        "selection": summary,
        "training_hash": training.content_hash(),
        "images_hash": training.images_hash(),
    }
    if given["garbage_share"]:
        values["n_garbage"] = int(np.count_nonzero(training.is_planted))
    return Outcome({"selection.parquet": table}, values)


def _pool(given: Given) -> Pool:
    """The images that may be chosen, source by source."""
    pools = []
    for i in given["sources"]:
        images, sha256 = given.load(f"images-{i}"), given.sha256(f"images-{i}")
        labels = given.load(f"labels-{i}") if f"labels-{i}" in given else None
        pools.append(Pool.of(images, source=i, labels=labels, sha256=sha256))
        if i and (n_planted := round(given["garbage_share"] * len(images))):
            rng = RandomStream(given["seed"], i, "garbage").rng()
            noise = rng.integers(0, 256, (n_planted, *images.shape[1:]), np.uint8)
            pools.append(Pool.of(noise, source=i, first_row=len(images)))
    if given["fresh"]:
        start, stop, first_row = given["fresh"]
        labels = given.load("stock_labels")[start:stop] if "stock_labels" in given else None
        pools.append(Pool.of(given.load("stock")[start:stop], source=0, labels=labels, first_row=first_row))
    return Pool.concatenate(pools)


def _pick(pool: Pool, kept: FeatureCache, given: Given, work: Work) -> tuple[Integers, np.ndarray, dict[str, Any]]:
    """Pool rows in the order of picking, their distances at that moment, and the selector's summary."""
    has_choice = given["selector"] is not None or given["guard"] is not None
    X = pool.features(given["space"], kept, work) if has_choice else None
    if given["selector"] is None:
        rows, guarding = _behind_guard(pool, X, kept, given, work, None, pool.source)
        return rows, np.full(len(rows), np.inf), guarding
    selector: Selector = dataclasses.replace(given["selector"])
    if "random_state" in selector.parameter_names():
        selector.set_params(random_state=RandomStream(given["seed"], given.iteration, "select").rng())
    of_trusted = _known_to_the_trusted(given)
    sources, n_samples, n_real = of_trusted(pool.source, pool.labels), selector.n_samples, given["real_picks"]
    if n_real is not None:
        # Two sources, real and generated, that are owed all there is to pick: how many of each is then fixed.
        sources = np.minimum(sources, 1)
        selector.set_params(minimum={0: n_real / n_samples, 1: (n_samples - n_real) / n_samples})
    assert X is not None, "a selector looks at features"
    rows, guarding = _behind_guard(pool, X, kept, given, work, selector, sources)
    if selector.initial is not None:
        selector.set_params(initial=np.searchsorted(rows, np.asarray(selector.initial, np.int64)))
    columns = _columns(pool.take(rows), selector, given, work) if selector.asks else {}
    selector.fit(X[rows], sources[rows], work=work, **columns)
    trusting = {"unlike_share": getattr(selector, "unlike_share_", None)} if selector.trusts else {}
    return rows[selector.indices_], selector.distances_, {**selector.summary(), **trusting, **guarding}


def _behind_guard(
    pool: Pool,
    X: FeatureMatrix | None,
    kept: FeatureCache,
    given: Given,
    work: Work,
    selector: Selector | None,
    sources: Integers,
) -> tuple[Integers, dict[str, Any]]:
    """Pool rows that the guard lets through, enough for the selector, which looks at their `sources`, and what it did;
    all rows where there is no guard."""
    if given["guard"] is None:
        return np.arange(len(pool)), {}
    assert X is not None, "a guard looks at features"
    of_trusted, real = _known_to_the_trusted(given), None
    if "real" in given:
        apart = _real(given)
        labels = given.load("real_labels") if "real_labels" in given else apart.labels
        real = apart.features(given["space"], kept, work), of_trusted(apart.source, labels)
    return _guarded(given["guard"], X, of_trusted(pool.source, pool.labels), real, selector, sources)


def _columns(pool: Pool, selector: Selector, given: Given, work: Work) -> dict[str, NDArray[Any]]:
    """What a selector asks to know of the rows beside their features."""
    columns: dict[str, NDArray[Any]] = {}
    if "labels" in selector.asks:
        columns["labels"] = pool.labels
    if "losses" in selector.asks and "weights" in given:
        generator: Generator = dataclasses.replace(given["generator"])
        generator.restore(given.load("weights"), given.load("state"))
        stream = RandomStream(given["seed"], given.iteration, "select")
        columns["losses"] = generator.losses(pool.images, pool.labels, stream=stream, work=work)
    return columns


def _known_to_the_trusted(given: Given) -> Callable[[Integers, Integers], Integers]:
    """What makes sources of which 0 is what may be trusted: the real images, or those of the trusted classes."""
    if "trusted_classes" not in given:
        return lambda sources, labels: sources
    classes = given["trusted_classes"]
    return lambda sources, labels: np.where((sources == 0) & ~np.isin(labels, classes), _UNTRUSTED, sources)


def _guarded(
    guard: Guard,
    X: FeatureMatrix,
    trusted_of: Integers,
    real: tuple[FeatureMatrix, Integers] | None,
    selector: Selector | None,
    sources: Integers,
) -> tuple[Integers, dict[str, Any]]:
    """The rows that the guard lets through, enough for the selector, which looks at their `sources`, and what it did.

    `trusted_of` is what the guard knows the rows by; `real` images that are not among the rows, with their sources, are
    there to be trusted alone.
    """
    n = len(X)
    if real is not None:
        X, trusted_of = np.concatenate([X, real[0]]), np.append(trusted_of, real[1])
    fitted = dataclasses.replace(guard).fit(X, trusted_of)
    aside = fitted.set_aside_[fitted.set_aside_ < n]
    # A guard that leaves too little gives the least extreme back: what it says then stands in the ledger.
    returned = _given_back(aside[::-1], selector, sources)
    guarding: dict[str, Any] = {
        "guard_threshold": fitted.threshold_,
        "guard_set_aside": len(aside),
        "guard_returned": len(returned),
    }
    guarding["guard_unlike_share"] = getattr(fitted, "unlike_share_", None)
    return np.setdiff1d(np.arange(n), np.setdiff1d(aside, returned)), guarding


def _given_back(aside: Integers, selector: Selector | None, sources: Integers) -> Integers:
    """Which of the rows that were set `aside`, the least extreme first, a selector cannot do without: those it begins
    with, what each source is owed, and `n_samples` in all; where there is none, as many as a training set has."""
    initial, minimum, n_samples = (getattr(selector, name, None) for name in ("initial", "minimum", "n_samples"))
    returned = np.isin(aside, [] if initial is None else initial)

    def give_back(is_wanted: NDArray[np.bool_], n_wanted: int) -> None:
        is_there = is_wanted.copy()
        is_there[aside[~returned]] = False
        candidates = np.flatnonzero(is_wanted[aside] & ~returned)
        returned[candidates[: max(n_wanted - int(np.count_nonzero(is_there)), 0)]] = True

    if isinstance(minimum, Mapping):
        for source, least in least_rows(minimum, n_samples or 0).items():
            give_back(sources == source, least)
    give_back(np.ones(len(sources), bool), n_samples or MIN_ROWS)
    return aside[returned]


def train(run: Run, n: int, loop: Loop, chosen: Chosen) -> Entry:
    """Train a new generator on D_n; labels count only for one that needs them."""
    training = chosen.content(labelled=loop.generator.needs_labels)
    settings: dict[str, Any] = {"generator": loop.generator, "seed": loop.seed}
    if loop.probe_steps:
        settings["probe_steps"] = list(loop.probe_steps)
    return run.stage(n, "train", Inputs(settings=settings, content={"training": training}), _train)


def _train(given: Given, work: Work) -> Outcome:
    training: Pool = given.load("training")
    generator: Generator = dataclasses.replace(given["generator"])
    labels = training.labels if generator.needs_labels else None
    stream = RandomStream(given["seed"], given.iteration, "train")
    probes = {"probe_steps": given["probe_steps"]} if "probe_steps" in given else {}
    _caller(generator, work)(generator.fit, training.images, labels, stream=stream, **probes)
    arrays, state = _state(generator)
    values = {"n_images": len(training), **_told(generator, "training_values")}
    models = {_probe_file(step, "model.safetensors"): then for step, then in generator.probed().items()}
    return Outcome({"model.safetensors": arrays, "model.json": state, **models}, values)


def sample(run: Run, n: int, loop: Loop, model: Entry, n_images: int, real: Entry) -> Entry:
    """Sample G_n, images of the shape of the real ones."""
    files = {"weights": (model, "model.safetensors"), "state": (model, "model.json")}
    settings = {"generator": loop.generator, "n_images": n_images, "seed": loop.seed}
    check = functools.partial(_check_shape, loop.generator, tuple(real.values["image_shape"]))
    return run.stage(n, "sample", Inputs(settings=settings, files=files), functools.partial(_sample, check))


def _sample(check: Callable[[Images], None], given: Given, work: Work) -> Outcome:
    generator: Generator = dataclasses.replace(given["generator"])
    n_images, stream = given["n_images"], RandomStream(given["seed"], given.iteration, "sample")
    weights, state = given.load("weights"), given.load("state")
    images = _sampled(generator, weights, state, n_images, stream, work)
    check(images)
    files: dict[str, Any] = {"generated.npy": images}
    if (labels := generator.sample_labels(n_images, stream=stream)) is not None:
        name = f"generator {generator.called}: its sample_labels"
        files["generated_labels.npy"] = check_labels(labels, n_images, name=name)
    return Outcome(files, {"n_images": len(images), **_told(generator, "sampling_values")})


def probe(
    run: Run,
    n: int,
    loop: Loop,
    step: int,
    chosen: Chosen,
    model: Entry,
    real: Entry,
    baseline: Entry,
    spaces: Sequence[Features],
    kept: FeatureCache,
) -> Entry:
    """Sample the model as it was after a step of its training, from the noise of iteration n, and measure that."""
    n_images = min(loop.n_generated or real.values["n_real"], real.values["n_real"])
    settings = {"generator": loop.generator, "n_images": n_images, "step": step, **_measured(loop, spaces, baseline)}
    files = _measured_files(loop, real, baseline)
    files |= {"weights": (model, _probe_file(step, "model.safetensors")), "state": (model, "model.json")}
    inputs = Inputs(settings=settings, files=files, content={"training": chosen.content(labelled=False)})
    return run.stage(n, f"{PROBE}{step}", inputs, functools.partial(_probe, kept))


def _probe(kept: FeatureCache, given: Given, work: Work) -> Outcome:
    generator: Generator = dataclasses.replace(given["generator"])
    n_images, stream = given["n_images"], RandomStream(given["seed"], given.iteration, "sample")
    weights, state = given.load("weights"), given.load("state")
    images = _sampled(generator, weights, state, n_images, stream, work)
    _check_shape(generator, given.load("real").shape[1:], images)
    outcome = _compare(kept, given, work, Pool.of(images, source=given.iteration))
    files = {_probe_file(given["step"], name): content for name, content in outcome.files.items()}
    return Outcome(files, {"step": given["step"], **outcome.values, **_told(generator, "sampling_values")})


def _probe_file(step: int, name: str) -> str:
    return f"{PROBE}{step:06d}/{name}"


def _sampled(
    generator: Generator,
    weights: dict[str, NDArray[Any]],
    state: State,
    n: int,
    stream: RandomStream,
    work: Work,
) -> Images:
    """Images of a generator, whoever has written it; InputError for what are none: kept, they would end every run."""
    found = _caller(generator, work)(_restored_sample, generator, weights, state, n, stream)
    who = f"generator {generator.called}"
    images = check_images(found, name=f"{who}: what it sampled")
    if len(images) != n:
        raise InputError(f"{who}: expected {n} sampled images, got {len(images)}. Mend its `sample`.")
    return images


def _check_shape(generator: Generator, shape: tuple[int, ...], images: Images) -> None:
    if images.shape[1:] != shape:
        raise InputError(
            f"generator {generator.called}: expected sampled images of shape {shape}, as those that it learned, got "
            f"{images.shape[1:]}. Mend its `sample`."
        )


def _restored_sample(
    generator: Generator, weights: dict[str, NDArray[Any]], state: State, n: int, stream: RandomStream, work: Work
) -> Images:
    restored: Any = generator.restore(weights, state)
    if not callable(getattr(restored, "sample", None)):
        raise InputError(
            f"generator {generator.called}: expected the generator itself from its `restore`, got {shown(restored)}. "
            "Mend its `restore`: return self."
        )
    images: Images = restored.sample(n, stream=stream, work=work)
    return images


def _state(generator: Generator) -> tuple[Arrays, State]:
    """The fitted model of a generator, whoever has written it; InputError for what cannot be written down."""
    who, came = f"generator {generator.called}", generator.state()
    if not (isinstance(came, tuple) and len(came) == 2 and isinstance(came[0], Mapping)):
        raise InputError(f"{who}: expected (arrays by name, numbers) from its `state`, got {shown(came)}. Mend it.")
    arrays, state = came
    for name, array in arrays.items():
        if not isinstance(name, str) or not hasattr(array, "dtype") or np.asarray(array).dtype.kind in "OUS":
            kind = f"{type(array).__name__} {shown(name)}"
            raise InputError(f"{who}: expected arrays of numbers by name from its `state`, got {kind}. Mend it.")
    _check_plain(state, who, "state")
    return arrays, state


def _told(generator: Generator, function: str) -> dict[str, Any]:
    """What a function of a generator, whoever has written it, has for the ledger; InputError for what no line holds."""
    who, told = f"generator {generator.called}", getattr(generator, function)()
    if not isinstance(told, Mapping):
        raise InputError(f"{who}: expected values by name from its `{function}`, got {shown(told)}. Mend it.")
    for name, value in told.items():
        _check_plain(value, f"{who}: {name}", function)
    return dict(told)


def _check_plain(value: Any, who: str, function: str) -> None:
    try:
        fingerprint(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{who}: expected finite numbers, text, lists and tables from its `{function}`, got {shown(value)} "
            f"({error}). Mend its `{function}`; None stands for a number that there is not."
        ) from None


def _caller(generator: Generator, work: Work) -> Callable[..., Any]:
    """What calls a function of the generator: `Work.together` if it is worth other processes' while."""
    return work.together if generator.divisible else functools.partial(Work.together, work)


def measure(
    run: Run,
    n: int,
    loop: Loop,
    chosen: Chosen,
    sampled: Entry,
    real: Entry,
    baseline: Entry,
    spaces: Sequence[Features],
    kept: FeatureCache,
) -> Entry:
    """Compare G_n with D_n and with the reference, and keep examples to look at."""
    settings = _measured(loop, spaces, baseline)
    files = _measured_files(loop, real, baseline) | _existing(sampled, "generated")
    inputs = Inputs(settings=settings, files=files, content={"training": chosen.content(labelled=False)})
    return run.stage(n, "measure", inputs, functools.partial(_measure, kept))


def _measured(loop: Loop, spaces: Sequence[Features], baseline: Entry) -> dict[str, Any]:
    """The settings that a comparison depends on."""
    settings = {"spaces": list(spaces), "metrics": list(loop.metrics), "seed": loop.seed}
    # Only where it is asked for, so that older results keep their names.
    by_class = {"by_class": True} if loop.by_class else {}
    return {**settings, "extent": baseline.values["spread"]["extent"], **by_class}


def _measured_files(loop: Loop, real: Entry, baseline: Entry) -> dict[str, tuple[Entry, str]]:
    """The files of iteration 0 that a comparison depends on."""
    names = ("real", "reference", *(("real_labels",) if loop.by_class else ()))
    return _existing(real, *names) | _existing(baseline, "axes")


def _measure(kept: FeatureCache, given: Given, work: Work) -> Outcome:
    everything = Pool.of(given.load("generated"), source=given.iteration, sha256=given.sha256("generated"))
    return _compare(kept, given, work, everything)


def _compare(kept: FeatureCache, given: Given, work: Work, everything: Pool) -> Outcome:
    """Numbers and examples of what a model emitted."""
    real, training = _real(given), given.load("training")
    # Equal numbers everywhere, or most measures could not be compared between arms and iterations.
    generated = everything.take(np.arange(min(len(real), len(everything))))
    metrics: dict[str, float | None] = {}
    for space in given["spaces"]:
        roles = Roles(
            training=training.features(space, kept, work),
            generated=generated.features(space, kept, work),
            reference=_reference(given, space, kept, work),
            real=real.features(space, kept, work),
        )
        # Where a value moves with the size, it is that of as many training as real images.
        alike = _of_equal_size(roles, RandomStream(given["seed"], given.iteration, "measure").rng())
        for name in given["metrics"]:
            metrics |= suite.measure(alike if suite.MEASURES[name].same_size else roles, [name], space=space.name)
    shown = given["spaces"][0]
    plane = Plane(np.asarray(given.load("axes")), np.asarray(given["extent"]))
    X = generated.features(shown, kept, work)
    density, outside = density_map(X, plane)
    found = nearest_neighbors(X[:_N_PAIRS], training.features(shown, kept, work), k=1)
    rows = found.indices[:, 0]
    values = {
        "metrics": metrics,
        "n_training": len(training),
        "n_generated": len(generated),
        "n_reference": len(given.load("reference")),
        "pairs": {
            "feature_space": shown.name,
            "distances": [round(float(distance), 6) for distance in found.distances[:, 0]],
            "training_rows": rows.tolist(),
        },
        "spread": {"outside": outside},
    }
    if "by_class" in given:
        values["classes"] = by_class(
            real.features(shown, kept, work),
            given.load("real_labels"),
            {"generated": X, "training": training.features(shown, kept, work)},
            space=shown.name,
        )
    files = {
        "examples.npy": generated.images[:_N_EXAMPLES],
        # Generated images, each beside its nearest training image: uint8 (m, 2, h, w, c).
        "pairs.npy": np.stack([generated.images[:_N_PAIRS], training.images[rows]], axis=1),
        "spread.npy": density,
    }
    return Outcome(files, values)


def _of_equal_size(roles: Roles, rng: np.random.Generator) -> Roles:
    """The roles with a random part of the larger of the training set and the real images."""
    assert roles.training is not None and roles.real is not None
    n_rows = min(len(roles.training), len(roles.real))
    if len(roles.training) == len(roles.real):
        return roles
    larger = "training" if len(roles.training) > n_rows else "real"
    X = getattr(roles, larger)
    rows = rng.choice(len(X), n_rows, replace=False)
    return dataclasses.replace(roles, **{larger: X[np.sort(rows)]})


# -- what several stages do with their inputs --------------------------------------------------------------------------


def _existing(entry: Entry, *names: str) -> dict[str, tuple[Entry, str]]:
    """Arrays of an entry as inputs of these names; images without labels have no file of them."""
    return {name: (entry, f"{name}.npy") for name in names if entry.has(f"{name}.npy")}


def _real(given: Given) -> Pool:
    return Pool.of(given.load("real"), source=0, sha256=given.sha256("real"))


def _reference(given: Given, space: Features, kept: FeatureCache, work: Work) -> FeatureMatrix:
    return kept.matrix(space, given.load("reference"), work, f"{space.name} of the reference")
