"""Labels on their way through a loop: real images, pool, selection, training, generated images, and round again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from loop_parts import N_GENERATED, N_REAL, N_SELECTED, Constant, make_loop, tiny_ddpm, write_images

from entropick import Accumulate, Replace, Study
from entropick.datasets import ArrayFile
from entropick.errors import InputError
from entropick.features import Classifier, Pixels
from entropick.run import History
from entropick.selectors import Greedy
from entropick.selectors.guards import OutlierGuard

pytestmark = pytest.mark.usefixtures("one_thread")

CONDITIONAL = {"conditional": True, "guidance": 1.0, "steps": 20}


def test_generated_images_carry_the_labels_that_were_asked_for(tmp_path):
    path = write_images(tmp_path / "images.npz")
    loop = make_loop(
        path,
        generator=tiny_ddpm(**CONDITIONAL),
        paradigm=Accumulate(),
        selector=Greedy(n_samples=32),
        n_iterations=2,
        metrics=("total_variance",),
    )
    history = loop.run(tmp_path / "run")
    assert isinstance(history, History)
    real, generated = history.load(0, "real_labels.npy"), history.load(1, "generated_labels.npy")
    first = history.load(1, "selection.parquet")
    known = np.unique(first["label"])
    np.testing.assert_array_equal(generated, known[np.arange(N_GENERATED) % len(known)])
    chosen = history.load(2, "selection.parquet")
    assert set(chosen["source"]) == {0, 1}
    for source, labels in ((0, real), (1, generated)):
        rows = chosen["source"] == source
        np.testing.assert_array_equal(chosen["label"][rows], labels[chosen["row"][rows]])


def test_images_without_labels_are_refused_before_anything_is_written(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((60, 4, 4, 1), np.uint8))
    loop = make_loop(tmp_path / "images.npy", generator=tiny_ddpm(**CONDITIONAL))
    with pytest.raises(InputError, match=r"dataset: a conditional generator expected a label .* 'array-file' has none"):
        loop.run(tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


def relabelled(path, into):
    """The same images in the same order, each of another class."""
    arrays = np.load(path)
    np.savez(into, images=arrays["images"], labels=(arrays["labels"] + 3) % 10)
    return into


def with_labels_of(path, loop):
    return dataclasses.replace(loop, dataset=ArrayFile(path=str(path), n_images=N_REAL))


def conditional_loop(path, **changes):
    settings = {"generator": tiny_ddpm(**CONDITIONAL), "n_iterations": 2, "metrics": ("total_variance",)}
    return make_loop(path, **{**settings, **changes})


def assert_true_to_its_labels(run):
    """What was selected has this run's labels, and what was trained and emitted knows no others."""
    real, labels = run.load(0, "real.npy"), run.load(0, "real_labels.npy")
    for n in (1, 2):
        chosen, generated = run.load(n, "selection.parquet"), run.load(n, "generated_labels.npy")
        of_real = chosen["source"] == 0
        np.testing.assert_array_equal(chosen["label"][of_real], labels[chosen["row"][of_real]])
        assert set(generated.tolist()) <= set(labels.tolist())
    assert len(real) == N_REAL


@pytest.mark.parametrize("selector", [None, Greedy(n_samples=N_SELECTED)], ids=["all", "greedy"])
def test_arms_of_equal_images_and_other_labels_share_no_training(tmp_path, selector):
    """A model that was trained on the other arm's labels was linked once, without a word."""
    first = write_images(tmp_path / "images.npz")
    loop = conditional_loop(first, selector=selector)
    other = with_labels_of(relabelled(first, tmp_path / "relabelled.npz"), loop)
    Study(name="labels", arms={"first": loop, "other": other}).run(tmp_path / "study")
    runs = [History(tmp_path / "study" / "arms" / arm / "seed-0") for arm in ("first", "other")]
    np.testing.assert_array_equal(*(run.load(0, "real.npy") for run in runs))
    for run, alone in zip(runs, (loop, other), strict=True):
        assert_true_to_its_labels(run)
        assert run.seal == alone.run(tmp_path / "alone" / run.folder.parent.name).seal
    hashes = [run.find(1, "train").files["iteration-001/model.safetensors"].sha256 for run in runs]
    assert hashes[0] != hashes[1]


def test_a_relabelled_data_set_reuses_nothing_that_its_labels_decide(tmp_path):
    path = write_images(tmp_path / "images.npz")
    loop = conditional_loop(path, selector=Greedy(n_samples=N_SELECTED))
    Study(name="before", arms={"arm": loop}).run(tmp_path / "before")
    relabelled(path, path)
    Study(name="after", arms={"arm": loop}).run(tmp_path / "after", reuse=[tmp_path / "before"])
    run = History(tmp_path / "after" / "arms" / "arm" / "seed-0")
    assert_true_to_its_labels(run)
    assert run.seal == loop.run(tmp_path / "alone").seal
    # What compares images alone is still linked.
    assert "shared_from" in run.find(0, "baseline").timing


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
def test_with_replace_a_guard_depends_on_the_real_images_that_it_trusts(tmp_path):
    """They are in no pool after the first, and still decide what is set aside."""
    rng = np.random.default_rng(0)
    reals = [rng.normal(128, width, (60, 4, 4, 1)).clip(0, 255).astype(np.uint8) for width in (10, 30)]
    arms = {}
    for name, images in zip("ab", reals, strict=True):
        np.save(tmp_path / f"{name}.npy", images)
        guard = OutlierGuard(k=2, factor=1.0, quantile=0.5)
        arms[name] = make_loop(
            tmp_path / f"{name}.npy",
            paradigm=Replace(),
            selector=Greedy(n_samples=8),
            guard=guard,
            generator=Constant(),
            n_iterations=2,
        )
    Study(name="guard", arms=arms).run(tmp_path / "study")
    for name, loop in arms.items():
        run = History(tmp_path / "study" / "arms" / name / "seed-0")
        assert run.seal == loop.run(tmp_path / "alone" / name).seal


def test_arms_whose_generator_needs_no_labels_share_its_training_whatever_the_labels(tmp_path):
    first = write_images(tmp_path / "images.npz")
    loop = conditional_loop(first, generator=tiny_ddpm(steps=20))
    other = with_labels_of(relabelled(first, tmp_path / "relabelled.npz"), loop)
    Study(name="labels", arms={"first": loop, "other": other}).run(tmp_path / "study")
    run = History(tmp_path / "study" / "arms" / "other" / "seed-0")
    linked = {(entry.iteration, entry.stage) for entry in run.entries if "shared_from" in entry.timing}
    assert linked >= {(n, stage) for n in (1, 2) for stage in ("train", "sample", "measure")}
    assert (1, "select") not in linked
    assert run.seal == other.run(tmp_path / "alone").seal


def test_a_space_that_was_learned_from_other_labels_selects_anew(tmp_path):
    """With `Replace` no real image is in the later pools, and still their labels decide what is selected."""
    first = write_images(tmp_path / "images.npz")
    settings = {"generator": Constant(), "paradigm": Replace(), "selector": Greedy(n_samples=N_SELECTED)}
    loop = conditional_loop(first, **settings, features=Classifier(steps=20), evaluation=(Pixels(),))
    other = with_labels_of(relabelled(first, tmp_path / "relabelled.npz"), loop)
    Study(name="labels", arms={"first": loop, "other": other}).run(tmp_path / "study")
    runs = [History(tmp_path / "study" / "arms" / arm / "seed-0") for arm in ("first", "other")]
    assert runs[0].digest(1, "sample", "generated.npy") == runs[1].digest(1, "sample", "generated.npy")
    assert runs[0].find(2, "select").key != runs[1].find(2, "select").key
    assert runs[1].seal == other.run(tmp_path / "alone").seal
