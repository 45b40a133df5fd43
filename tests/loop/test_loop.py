"""One loop, end to end: every paradigm with every selector, and where each image came from."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
from loop_parts import (
    N_GENERATED,
    N_REAL,
    N_REFERENCE,
    N_SELECTED,
    PARADIGMS,
    SELECTORS,
    Listening,
    NewestFirst,
    born,
    entries,
    make_loop,
    tiny_ddpm,
    write_images,
)

from entropick import Pool
from entropick.errors import InputError, RunChanged, TrustWarning
from entropick.features import Pixels
from entropick.metrics import copying, early_warning, generalization_score
from entropick.metrics.suite import LOOP_MEASURES, MEASURES
from entropick.random_stream import RandomStream
from entropick.run import History, Pace, verify_run
from entropick.selectors import Greedy, Random
from entropick.selectors.guards import OutlierGuard

_STAGES = ["select", "train", "sample", "measure"]
_RANDOM = {**{name: selector for name, selector in SELECTORS.items() if name != "none"}}


@pytest.fixture
def events():
    return []


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_every_paradigm_with_every_selector(tmp_path, images, paradigm, selector):
    loop = make_loop(images, paradigm=PARADIGMS[paradigm], selector=SELECTORS[selector])
    history = loop.run(tmp_path / "run")
    stages = [(entry.iteration, entry.stage) for entry in history.entries]
    assert stages == [(0, "data"), (0, "baseline"), *((n, stage) for n in (1, 2, 3) for stage in _STAGES)]
    assert history.is_finished
    assert verify_run(tmp_path / "run").damages == ()
    n_pools = {"replace": [40, 50, 50], "accumulate": [40, 90, 140]}[paradigm]
    for n, n_pool in zip((1, 2, 3), n_pools, strict=True):
        values = history.find(n, "select").values
        assert values["n_pool"] == n_pool
        n_training = n_pool if selector == "none" else N_SELECTED
        assert values["n_selected"] == history.find(n, "train").values["n_images"] == n_training
        assert len(born(history, n)) == N_GENERATED


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_shares_and_training_set_follow_from_the_selection_and_its_sources(tmp_path, images, paradigm, selector):
    history = make_loop(images, paradigm=PARADIGMS[paradigm], selector=SELECTORS[selector]).run(tmp_path / "run")
    for n in (1, 2, 3):
        values, table = history.find(n, "select").values, history.load(n, "selection.parquet")
        assert len(np.unique(table["pool_row"])) == len(table["pool_row"]) == values["n_selected"]
        np.testing.assert_array_equal(table["rank"], np.arange(values["n_selected"]))
        sources = PARADIGMS[paradigm].sources(n)
        counts = np.bincount(table["source"], minlength=n)
        assert values["shares"] == pytest.approx({str(i): counts[i] / counts.sum() for i in range(n)})
        sizes = {i: len(born(history, i)) for i in sources}
        assert values["pool_shares"] == pytest.approx({str(i): sizes.get(i, 0) / sum(sizes.values()) for i in range(n)})
        # The training set, from (source, row) alone, is the one whose hash the training stage depends on.
        order = np.argsort(table["pool_row"])
        rows = list(zip(table["source"][order], table["row"][order], strict=True))
        chosen = np.stack([born(history, source)[row] for source, row in rows])
        np.testing.assert_array_equal(history.load(n, "model.safetensors")["images"], chosen)
        real_labels = history.load(0, "real_labels.npy")
        labels = np.array([real_labels[row] if source == 0 else -1 for source, row in rows])
        np.testing.assert_array_equal(table["label"][order], labels)
        assert Pool.of(chosen, source=0, labels=labels).content_hash() == values["training_hash"]


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_a_selectors_y_is_the_source_and_reaches_the_shares_in_the_ledger(tmp_path, images, paradigm):
    NewestFirst.seen.clear()
    loop = make_loop(images, paradigm=PARADIGMS[paradigm], selector=NewestFirst(n_samples=N_REAL))
    history = loop.run(tmp_path / "run")
    sizes = {0: N_REAL, 1: N_GENERATED, 2: N_GENERATED}
    expected = [np.repeat(s, [sizes[i] for i in s]) for s in map(PARADIGMS[paradigm].sources, (1, 2, 3))]
    assert len(NewestFirst.seen) == 3
    for seen, sources in zip(NewestFirst.seen, expected, strict=True):
        np.testing.assert_array_equal(seen, sources)
    shares = [history.find(n, "select").values["shares"] for n in (1, 2, 3)]
    assert shares == [{"0": 1.0}, {"0": 0.0, "1": 1.0}, {"0": 0.0, "1": 0.0, "2": 1.0}]


def test_equal_shares_per_source_are_the_papers_1_over_n(tmp_path, images):
    selector = Random(n_samples=30, stratify=True)
    history = make_loop(images, selector=selector).run(tmp_path / "run")
    for n in (1, 2, 3):
        shares = history.find(n, "select").values["shares"]
        assert shares == pytest.approx({str(i): 1 / n for i in range(n)})


def stages_that_differ(first, second):
    a, b = entries(first), entries(second)
    return [name for name in a if (a[name].files, a[name].values) != (b[name].files, b[name].values)]


def run_with_seeds(tmp_path, images, seeds, **settings):
    for i, seed in enumerate(seeds):
        make_loop(images, seed=seed, n_iterations=2, **settings).run(tmp_path / str(i))
    return tmp_path / "0", tmp_path / "1"


@pytest.mark.parametrize("selector", _RANDOM)
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_another_seed_differs_in_every_stage(tmp_path, images, paradigm, selector):
    settings = {"paradigm": PARADIGMS[paradigm], "selector": SELECTORS[selector], "generator": tiny_ddpm(steps=5)}
    folders = run_with_seeds(tmp_path, images, (0, 1), **settings)
    assert stages_that_differ(*folders) == [(n, stage) for n in (1, 2) for stage in _STAGES]


def test_without_a_selector_all_that_can_differ_does(tmp_path, images):
    folders = run_with_seeds(tmp_path, images, (0, 1), generator=tiny_ddpm(steps=5))
    everything = [(n, stage) for n in (1, 2) for stage in _STAGES]
    assert stages_that_differ(*folders) == everything[1:]


def test_every_iteration_and_stage_has_a_stream_of_its_own(tmp_path, images):
    Listening.streams.clear()
    # Pools of equal size: a stream that forgot its iteration would pick the same rows every time.
    settings = {"paradigm": PARADIGMS["replace"], "n_generated": N_REAL, "selector": SELECTORS["random"], "seed": 7}
    history = make_loop(images, generator=Listening(), **settings).run(tmp_path / "run")
    assert Listening.streams == [RandomStream(7, n, stage) for n in (1, 2, 3) for stage in ("train", "sample")]
    assert len({history.load(n, "selection.parquet")["pool_row"].tobytes() for n in (1, 2, 3)}) == 3


@pytest.mark.parametrize("selector", SELECTORS)
def test_the_same_seed_gives_the_same_seal(tmp_path, images, selector):
    settings = {"selector": SELECTORS[selector], "generator": tiny_ddpm(steps=5)}
    folders = run_with_seeds(tmp_path, images, (3, 3), **settings)
    assert History(folders[0]).seal == History(folders[1]).seal != ""


def test_a_finished_run_is_only_read(tmp_path, images, events):
    loop = make_loop(images)
    seal = loop.run(tmp_path / "run").seal
    assert loop.run(tmp_path / "run", observer=events.append).seal == seal
    assert {event.status for event in events if event.stage != "iteration"} == {"kept"}


def test_more_iterations_go_on_from_what_is_there_and_equal_a_run_that_had_them_at_once(tmp_path, images, events):
    make_loop(images, n_iterations=1).run(tmp_path / "run")
    grown = make_loop(images).run(tmp_path / "run", observer=events.append)
    kept = [(event.iteration, event.stage) for event in events if event.status == "kept"]
    assert kept == [(0, "data"), (0, "baseline"), *((1, stage) for stage in _STAGES)]
    assert grown.seal == make_loop(images).run(tmp_path / "at-once").seal
    with pytest.raises(RunChanged, match="n_iterations: was 3, now 2"):
        make_loop(images, n_iterations=2).run(tmp_path / "run")


def test_changed_data_are_refused_in_words(tmp_path, images):
    loop = make_loop(images)
    seal = loop.run(tmp_path / "run").seal
    before = images.read_bytes()
    write_images(images, seed=1)
    with pytest.raises(RunChanged, match=r"(?s)the data changed.*fingerprint: was \w{16}…, now \w{16}….*Restore"):
        loop.run(tmp_path / "run")
    images.write_bytes(before)
    assert loop.run(tmp_path / "run").seal == seal


def test_a_changed_setting_is_refused_with_its_name(tmp_path, images):
    make_loop(images).run(tmp_path / "run")
    with pytest.raises(RunChanged, match=r"seed: was 0, now 1"):
        make_loop(images, seed=1).run(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "n", "n_pool"),
    [
        ({"selector": Greedy(n_samples=41)}, 1, 40),
        ({"selector": Greedy(n_samples=40), "n_generated": 39, "paradigm": PARADIGMS["replace"]}, 2, 39),
    ],
)
def test_a_pool_too_small_in_any_iteration_is_found_before_the_first_training(tmp_path, images, settings, n, n_pool):
    loop = make_loop(images, **settings)
    with pytest.raises(InputError, match=rf"n_samples = \d+, but the pool of iteration {n} has {n_pool} images"):
        loop.run(tmp_path / "run")
    # Nothing stands in the way of the same directory with a better number.
    loop.selector = Greedy(n_samples=n_pool)
    assert loop.run(tmp_path / "run").is_finished


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"selector": Random(n_samples=1)}, "spacing_ratio expects at least 2 training images, but there are 1"),
        (
            {"selector": Random(n_samples=9), "metrics": ("recall", "intrinsic_dimension")},
            "intrinsic_dimension expects at least 11 training images, but there are 9",
        ),
        # The second training set is what the first iteration emitted.
        (
            {"paradigm": PARADIGMS["replace"], "n_generated": 9, "metrics": ("intrinsic_dimension",)},
            "intrinsic_dimension expects at least 11 training images, but there are 9",
        ),
    ],
)
def test_sets_too_small_for_a_measure_are_found_before_the_first_training(tmp_path, images, settings, expected):
    with pytest.raises(InputError, match=expected):
        make_loop(images, **settings).run(tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


def test_a_disk_too_small_for_what_is_still_to_come_is_found_before_the_first_training(tmp_path, images, monkeypatch):
    needed = 3 * N_GENERATED * 16
    monkeypatch.setattr("entropick.loop.loop.free_bytes", lambda folder: needed - 1)
    with pytest.raises(InputError, match=r"are free\. Give a folder \(--out\) on a larger disk"):
        make_loop(images).run(tmp_path / "run")
    monkeypatch.setattr("entropick.loop.loop.free_bytes", lambda folder: needed)
    make_loop(images).run(tmp_path / "run")
    # What is written already needs no room again.
    monkeypatch.setattr("entropick.loop.loop.free_bytes", lambda folder: 0)
    make_loop(images).run(tmp_path / "run")


BAD = {
    "n_iterations": 0,
    "n_generated": -1,
    "seed": -1,
    "metrics": ("beauty",),
    "selector": Random(n_samples=8, random_state=0),
    "paradigm": Pixels(),
    "dataset": None,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_without_data_is_named_before_anything_is_written(tmp_path, images, name):
    loop = make_loop(images)
    setattr(loop, name, BAD[name])
    with pytest.raises(InputError, match=name):
        loop.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("selector", ["none", "greedy"])
def test_what_a_report_needs_is_there_and_is_plain_json(tmp_path, images, selector):
    class Blurred(Pixels):
        name = "blurred"

        def describe(self):
            return {"kind": "blurred"}

        def extract(self, images):
            return super().extract(images).reshape(-1, 8, 2).mean(axis=2)

    loop = make_loop(images, selector=SELECTORS[selector], evaluation=(Pixels(), Blurred()))
    history = loop.run(tmp_path / "run")
    text = (tmp_path / "run" / "ledger.jsonl").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    names = {f"{measure}/{space}" for measure in LOOP_MEASURES for space in ("pixels", "blurred")}
    assert [metrics["iteration"] for metrics in history.metrics] == [1, 2, 3]
    for metrics in history.metrics:
        assert metrics.keys() - {"iteration"} == names
        assert all(value is None or math.isfinite(value) for value in metrics.values())
    assert names <= history.find(0, "baseline").values["metrics"].keys()
    for n in (1, 2, 3):
        values = history.find(n, "measure").values
        assert (values["n_generated"], values["n_reference"]) == (N_REAL, N_REFERENCE)
        np.testing.assert_array_equal(history.load(n, "examples.npy"), born(history, n)[:N_REAL])
        pairs = history.load(n, "pairs.npy").astype(float)
        distances = np.sqrt(((pairs[:, 0] - pairs[:, 1]) ** 2).sum(axis=(1, 2, 3)))
        np.testing.assert_allclose(values["pairs"]["distances"], distances, atol=1e-5)
        assert values["pairs"]["feature_space"] == "pixels"


@pytest.mark.parametrize(("paradigm", "selector"), [("accumulate", None), ("accumulate", Greedy(n_samples=20))])
def test_novelty_is_judged_at_equal_numbers(tmp_path, images, paradigm, selector):
    names = ("generalization_score", "generalization_score_real", "generalization_score_ratio", "near_copy_rate")
    loop = make_loop(images, paradigm=PARADIGMS[paradigm], selector=selector, n_iterations=2, metrics=names)
    history = loop.run(tmp_path / "run")
    sets = {name: Pixels().extract(history.load(0, f"{name}.npy")) for name in ("real", "reference")}
    generated = Pixels().extract(born(history, 2)[:N_REAL])
    pool = np.concatenate([sets["real"], Pixels().extract(born(history, 1))])
    training = pool[np.sort(history.load(2, "selection.parquet")["pool_row"])]
    assert len(training) == (20 if selector else N_REAL + N_GENERATED)
    found = {name.removesuffix("/pixels"): value for name, value in history.metrics[1].items()}
    assert found["generalization_score"] == generalization_score(generated=generated, training=training)
    assert found["generalization_score_real"] == generalization_score(generated=generated, training=sets["real"])
    larger = "real" if selector else "training"
    sets["training"] = training
    rows = RandomStream(0, 2, "measure").rng().choice(len(sets[larger]), min(N_REAL, len(training)), replace=False)
    sets[larger] = sets[larger][np.sort(rows)]
    expected = copying(generated=generated, **sets)
    assert found["generalization_score_ratio"] == expected.ratio
    assert found["near_copy_rate"] == expected.near_copy_rate


def test_a_ledger_gives_an_early_warning(tmp_path, images):
    history = make_loop(images, paradigm=PARADIGMS["replace"], n_iterations=5).run(tmp_path / "run")
    copying_ratio = history.find(0, "baseline").values["copying_ratio"]["pixels"]
    assert 0 < copying_ratio < 1
    found = early_warning(history.metrics, copying_ratio=copying_ratio, space="pixels")
    assert found.entropy.n == found.log_score.n == 5
    assert bool(found.arrival.reason) == (found.arrival.iteration is None)


def test_a_measure_that_is_not_finite_is_null_in_the_ledger(tmp_path, images, monkeypatch):
    collapsed = dataclasses.replace(MEASURES["knn_entropy"], function=lambda roles: float("-inf"))
    monkeypatch.setattr("entropick.metrics.entropy.KNN_ENTROPY", collapsed)
    history = make_loop(images, n_iterations=1, metrics=("knn_entropy", "recall")).run(tmp_path / "run")
    assert history.metrics[0]["knn_entropy/pixels"] is None
    assert history.metrics[0]["recall/pixels"] is not None


def test_the_components_of_a_loop_are_never_fitted_or_changed(tmp_path, images):
    loop = make_loop(images, selector=Greedy(n_samples=20), generator=tiny_ddpm(steps=3), n_iterations=1)
    before = {name: vars(part).copy() for name, part in vars(loop).items() if hasattr(part, "get_params")}
    loop.run(tmp_path / "run")
    assert {name: vars(getattr(loop, name)) for name in before} == before


NUMBERS = {
    "seed": np.int64(3),
    "n_generated": np.int64(48),
    "n_iterations": np.int32(2),
    "garbage_share": np.float32(0.5),
    "trusted_classes": tuple(np.array([1, 2])),
    "by_class": np.bool_(True),
    "probe_steps": tuple(np.array([2])),
}


def test_numbers_of_numpy_are_those_of_python(tmp_path, images):
    settings = {"guard": OutlierGuard(k=1), "selector": Random(n_samples=np.int64(30)), "generator": tiny_ddpm(steps=3)}
    of_python = {name: value.tolist() if hasattr(value, "tolist") else (1, 2) for name, value in NUMBERS.items()}
    of_python["probe_steps"] = (2,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrustWarning)
        found = make_loop(images, **settings, **NUMBERS).run(tmp_path / "numpy")
        expected = make_loop(images, **settings, **of_python).run(tmp_path / "python")
    assert found.seal == expected.seal and found.is_finished


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"wait_seconds": "10m"}, "wait_seconds: expected a number"),
        ({"pace": 60}, "pace: expected a Pace"),
        ({"pace": Pace("1m")}, "checkpoint_seconds: expected a number"),
        ({"pace": Pace(deadline="10m")}, "deadline: expected a number"),
    ],
)
def test_times_are_numbers(tmp_path, images, settings, expected):
    with pytest.raises(InputError, match=expected):
        make_loop(images).run(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
