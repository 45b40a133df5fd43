"""Feature spaces in a loop: extracted once per emitted set, learned from the real images alone, part of the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from loop_parts import N_GENERATED, N_REAL, N_REFERENCE, SELECTORS, entries, make_loop

from entropick import Accumulate, Replace
from entropick.datasets import ArrayFile
from entropick.errors import InputError, RunChanged
from entropick.features import Classifier, Features, Pixels
from entropick.run import LEDGER, Observer, verify_run

SMALL = Classifier(steps=30)


@dataclass(kw_only=True)
class Dear(Features):
    """Pixels that count what was extracted, and have weights outside of their parameters."""

    kind: ClassVar[str] = "dear"
    extracted: ClassVar[list[int]] = []
    weights: ClassVar[str] = "a"
    name = "dear"

    def identity(self):
        return {**self.describe(), "weights": self.weights}

    def extract(self, images):
        self.extracted.append(len(images))
        return Pixels().extract(images)


@pytest.fixture(autouse=True)
def none_yet():
    Dear.extracted.clear()


@pytest.mark.parametrize("paradigm", [Replace(), Accumulate()], ids=lambda paradigm: paradigm.kind)
@pytest.mark.parametrize("selector", ["none", "greedy"])
def test_every_set_is_extracted_once_and_the_results_are_those_without_a_cache(images, tmp_path, paradigm, selector):
    parts = {"paradigm": paradigm, "selector": SELECTORS[selector]}
    kept = make_loop(images, **parts, features=Dear()).run(tmp_path / "kept")
    assert sum(Dear.extracted) == N_REAL + N_REFERENCE + 3 * N_GENERATED
    cheap = make_loop(images, **parts, features=Pixels()).run(tmp_path / "cheap")
    for entry, other in zip(kept.entries, cheap.entries, strict=True):
        assert {path: record.sha256 for path, record in entry.files.items()} == {
            path: record.sha256 for path, record in other.files.items()
        }
        metrics = {key.replace("/dear", "/pixels"): value for key, value in entry.values.get("metrics", {}).items()}
        assert metrics == other.values.get("metrics", {})


def test_other_weights_in_the_same_place_are_refused(images, tmp_path, monkeypatch):
    loop = make_loop(images, features=Dear())
    loop.run(tmp_path / "run")
    monkeypatch.setattr(Dear, "weights", "b")
    with pytest.raises(RunChanged, match="other inputs"):
        loop.run(tmp_path / "run")


def test_a_classifier_measures_what_another_space_selected(images, tmp_path):
    loop = make_loop(images, selector=SELECTORS["greedy"], evaluation=(Pixels(), SMALL))
    history = loop.run(tmp_path / "run")
    found = entries(tmp_path / "run")
    (told,) = found[0, "learn"].values["spaces"]
    assert told["name"] == "classifier" and 0 <= told["accuracy"] <= 1 and told["n_held_out"] == N_REAL // 10
    assert set(found[0, "learn"].files) == {f"iteration-000/space-0.{end}" for end in ("safetensors", "json")}
    assert verify_run(tmp_path / "run").damages == ()

    # By hand: the same space, taught with the real images alone.
    real, labels = history.load(0, "real.npy"), history.load(0, "real_labels.npy")
    space = Classifier(steps=30).fit(real, labels)
    assert space.accuracy_ == told["accuracy"]
    X, G = space.extract(real), space.extract(history.load(1, "generated.npy")[:N_REAL])
    rows = np.sort(history.load(1, "selection.parquet")["row"])
    from entropick.metrics import generalization_score

    expected = generalization_score(generated=G, training=X[rows])
    assert found[1, "measure"].values["metrics"]["generalization_score/classifier"] == pytest.approx(expected)
    assert found[1, "measure"].values["metrics"].keys() >= {"knn_entropy/pixels", "knn_entropy/classifier"}
    assert not SMALL.fitted, "the loop's component was changed"


def test_a_classifier_as_the_space_to_select_in(images, tmp_path):
    loop = make_loop(images, selector=SELECTORS["greedy"], features=SMALL, paradigm=Accumulate())
    first = loop.run(tmp_path / "run")
    again = make_loop(images, selector=SELECTORS["greedy"], features=SMALL, paradigm=Accumulate()).run(tmp_path / "b")
    assert [entry.check for entry in first.entries] == [entry.check for entry in again.entries]
    seen = []
    observer: Observer = lambda event: seen.append(event.status)  # noqa: E731
    make_loop(images, selector=SELECTORS["greedy"], features=SMALL, paradigm=Accumulate(), n_iterations=4).run(
        tmp_path / "run", observer=observer
    )
    assert seen.count("kept") == len(first.entries)
    assert [entry.stage for entry in first.entries][:3] == ["data", "learn", "baseline"]


def test_lessons_from_a_file_of_their_own(images, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", images=rng.integers(0, 256, (30, 4, 4), dtype=np.uint8), labels=np.arange(30) % 3)
    unlabelled = tmp_path / "unlabelled.npy"
    np.save(unlabelled, np.load(images)["images"])
    space = Classifier(path=str(tmp_path / "own.npz"), steps=5)
    loop = make_loop(unlabelled, evaluation=(space,), n_iterations=1)
    loop.run(tmp_path / "run")
    assert entries(tmp_path / "run")[0, "learn"].values["spaces"][0]["n_classes"] == 3


def test_what_cannot_be_learned_is_said_before_anything_is_written(images, tmp_path):
    unlabelled = tmp_path / "unlabelled.npy"
    np.save(unlabelled, np.load(images)["images"])
    with pytest.raises(InputError, match="classifier: expected labels to learn from"):
        make_loop(unlabelled, evaluation=(SMALL,)).run(tmp_path / "run")
    assert not (tmp_path / "run" / LEDGER).exists()
    labelled = make_loop(unlabelled, evaluation=(SMALL,))
    labelled.dataset = ArrayFile(path=str(images), n_images=N_REAL)
    with pytest.raises(InputError, match="more than once"):
        make_loop(images, evaluation=(SMALL, Classifier(seed=3))).check()


@dataclass(kw_only=True)
class Odd(Dear):
    """What others may write."""

    kind: ClassVar[str] = "odd"
    how: str = "short"
    called_so: str = "odd"

    @property
    def name(self):
        return self.called_so

    def extract(self, images):
        rows = Pixels().extract(images)
        return {"short": rows[1:], "none": None, "flat": rows[:, 0], "list": rows.tolist()}[self.how]


class Cheap(Odd):
    cheap = True


@pytest.mark.parametrize("kind", [Odd, Cheap])
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("short", r"expected a row for each of \d+ images, got shape"),
        ("none", "what it extracted: expected real numbers, got dtype object"),
        ("flat", r"what it extracted: expected a matrix \(n_rows, n_features\), got shape"),
    ],
)
@pytest.mark.parametrize("role", ["features", "evaluation"])
def test_a_space_of_others_that_gives_no_row_for_each_image_is_named(images, tmp_path, kind, how, expected, role):
    space = kind(how=how)
    parts = {"evaluation": (space,)} if role == "evaluation" else {"features": space, "selector": SELECTORS["greedy"]}
    with pytest.raises(InputError, match=f"features '?(odd|Cheap)'?: {expected}"):
        make_loop(images, **parts).run(tmp_path / "run")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a\n", 7])
def test_a_space_whose_name_no_key_can_hold_is_refused(images, tmp_path, name):
    with pytest.raises(InputError, match="features 'odd': expected a name without slash and space"):
        make_loop(images, features=Odd(called_so=name)).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lists_of_numbers_are_features_too(images, tmp_path):
    metrics = [make_loop(images, features=of).run(tmp_path / of.name).metrics for of in (Odd(how="list"), Pixels())]
    assert [list(of.values()) for of in metrics[0]] == [list(of.values()) for of in metrics[1]]
