"""The words follow the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropick.metrics import spacing_ratio
from entropick.metrics.memorization import generalization_score
from entropick.metrics.near_copies import Copying
from entropick.scoring import judge, meaning


def told(**changed: Any) -> dict[str, Any]:
    """A score.json as far as verdicts read it."""
    summary = {
        "ratio": 1.0,
        "n_generated": 1000,
        "n_near_copies": 10,
        "n_exact_copies": 0,
        "near_copy_distance": 2.0,
        "n_reference_in_training": 0,
    }
    return {
        "spaces": {"s": summary | changed},
        "values": {"generalization_score_ratio/s": changed.get("ratio", 1.0)},
        "sizes": {"reference": {"used": 1000}},
        "config": {"allow_same": False},
    }


@pytest.mark.parametrize(
    ("changed", "level", "word"),
    [
        ({}, "new", "as new as fresh real ones"),
        ({"n_near_copies": 28}, "new", "as new"),
        ({"n_near_copies": 29}, "some", "2.9 % of the generated images are near copies"),
        ({"n_near_copies": 28, "n_exact_copies": 22}, "some", "2.8 % of the generated images are near copies"),
        ({"n_near_copies": 500, "ratio": 0.5}, "some", "in part"),
        ({"n_near_copies": 990, "ratio": 0.05}, "copies", "It copies: 99 %"),
        ({"ratio": 0.7}, "near", "closer to the training set"),
        ({"ratio": 2.0}, "far", "are they realistic?"),
        ({"ratio": None}, "open", "nothing to judge by"),
        ({"ratio": None, "near_copy_distance": None}, "open", "give held-out ones (--reference, reference=)"),
        ({"ratio": None, "near_copy_distance": None, "n_exact_copies": 300}, "some", "30 % of the generated images"),
    ],
)
def test_the_level(changed: dict[str, Any], level: str, word: str) -> None:
    (verdict,) = judge(told(**changed))
    assert verdict.level == level and word in verdict.headline
    assert verdict.is_alarming == (level in ("copies", "some"))


def test_of_several_spaces_the_most_alarming_speaks_first() -> None:
    both = told()
    both["spaces"]["z"] = both["spaces"]["s"] | {"n_near_copies": 900}
    assert [verdict.space for verdict in judge(both)] == ["z", "s"]


def test_the_ratio_is_said_in_words() -> None:
    assert meaning(told(ratio=0.42), "generalization_score_ratio", "s") == "0.42 of fresh data: close"
    assert meaning(told(ratio=None), "generalization_score_ratio", "s") == "not finite"


def test_a_reference_inside_the_training_set_is_said() -> None:
    for allow_same, consequence in ((False, "left out"), (True, "too low")):
        score = told(n_reference_in_training=7)
        (verdict,) = judge(score | {"config": {"allow_same": allow_same}})
        assert any(f" of {1000 if allow_same else 993:,} held-out" in text for text in verdict.sentences)
        (said,) = (text for text in verdict.sentences if "7 reference images are in the training set" in text)
        assert consequence in said


@pytest.mark.parametrize(("precision", "level"), [(0.0, "noise"), (0.4, "far"), (None, "far")])
def test_noise_is_called_noise(precision: float | None, level: str) -> None:
    score = told(ratio=2.3)
    score["values"] |= {"precision/s": precision}
    (verdict,) = judge(score)
    assert verdict.level == level and verdict.headline.startswith("Noise") == (level == "noise")


@pytest.mark.parametrize(
    ("kept", "words"),
    [(0.5, "50 % of the training set's: the images contract"), (1.0, "do not contract"), (3.0, "noise")],
)
def test_contraction_is_told_beside_copying(kept: float, words: str) -> None:
    score = told(ratio=0.7)
    score["values"] |= {"variance_ratio/s": kept}
    assert any(words in sentence for sentence in judge(score)[0].sentences)
    assert words.rpartition(": ")[2] in meaning(score, "variance_ratio", "s")


def test_a_wide_set_is_not_said_to_be_noise_nor_a_high_score_low() -> None:
    """A variance alone tells neither: kinds that the training set lacks are wide too, and a blur may be far off."""
    score = told(ratio=1.1)
    for kept, words in ((3.9, "they are spread wider, as by noise"), (0.25, "the images contract, which lowers a")):
        score["values"] |= {"variance_ratio/s": kept}
        assert meaning(score, "variance_ratio", "s").startswith(words)


def test_why_there_is_no_score_over_spacing_is_said() -> None:
    score = told()
    score["values"] |= {"spacing_ratio/s": None}
    assert meaning(score, "spacing_ratio", "s").startswith("not finite: the training images are alike in pairs")
    assert any(text.startswith("The training images are alike in pairs") for text in judge(score)[0].sentences)


def test_the_distance_is_told_in_units_of_the_spacing_too() -> None:
    rng = np.random.default_rng(0)
    sets = {role: rng.normal(size=(n, 3)) for role, n in (("training", 60), ("generated", 40), ("reference", 50))}
    of = {role: spacing_ratio(generated=sets[role], training=sets["training"]) for role in ("generated", "reference")}
    scores = [generalization_score(generated=sets[role], training=sets["training"]) for role in of]
    score = told(ratio=scores[0] / scores[1])
    score["values"] |= {"spacing_ratio/s": of["generated"]}
    said = f"generated images are {of['generated']:.2f} away from it, fresh real ones {of['reference']:.2f}."
    assert any(sentence.endswith(said) for sentence in judge(score)[0].sentences)
    assert not any("spacing" in sentence for sentence in judge(told())[0].sentences)


@pytest.mark.parametrize("n_reference", [10, 24, 100, 450])
def test_honest_images_are_hardly_ever_called_copies(n_reference: int) -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(1500):
        # All fresh: distances of one distribution.
        distances = rng.exponential(size=300 + n_reference)
        found = Copying(distances[:300], np.zeros(300, np.int64), distances[300:])
        numbers = {"n_generated": 300, "n_near_copies": int(found.near_copies.sum()), "ratio": found.ratio}
        score = told(**numbers) | {"sizes": {"reference": {"used": n_reference}}}
        alarms += judge(score)[0].is_alarming
    # 1.5 at most are to be expected.
    assert alarms <= 8


def test_what_few_held_out_images_cannot_tell_is_said() -> None:
    few = told(n_near_copies=200) | {"sizes": {"reference": {"used": 24}}}
    (verdict,) = judge(few)
    assert not verdict.is_alarming
    assert "24 held-out images are few: copies that are fewer than 254 in 1,000" in " ".join(verdict.sentences)
    assert "held-out images are few" not in " ".join(judge(told())[0].sentences)
    few["values"]["near_copy_rate/s"] = 0.2
    assert meaning(few, "near_copy_rate", "s") == "20 % near copies, up to 25 % may be chance"
