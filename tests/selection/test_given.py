"""Rows that are picked already: what is chosen after them, by every selector, with guards, shares, copies and gaps."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.selection import Choice, appraise
from entropick.selectors import DensityGreedy, Greedy, OutlierGuard, Random, ThresholdDecay
from entropick.sources import Space, open_sources

POOL = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
LABELLED = np.random.default_rng(1).standard_normal((12, 3)).astype(np.float32)
BOTH = np.concatenate([POOL, LABELLED])
SOURCE = np.repeat([0, 1], [60, 12])
GIVEN = np.arange(60, 72)

SELECTORS = [
    Greedy(n_samples=9, random_state=3),
    ThresholdDecay(n_samples=9, threshold="auto", random_state=3),
    DensityGreedy(n_samples=9, trusted=1, random_state=3),
    Random(n_samples=9, random_state=3),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("pool.npy", POOL)
    np.save("labelled.npy", LABELLED)
    return tmp_path


def choice(selector: Any, *, sources: tuple[str, ...] = ("pool=pool.npy", "labelled=labelled.npy"), **more: Any) -> Any:
    return Choice(sources=open_sources(sources), selector=selector, given=("labelled",), **more)


def rows(out: str = "out") -> list[tuple[str, int, bool]]:
    with open(f"{out}/manifest.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in table] == list(range(len(table)))
    return [(row["source"], int(row["row"]), row["given"] == "True") for row in table]


def as_told(indices: Any) -> list[tuple[str, int, bool]]:
    return [("labelled", int(i) - 60, True) if i >= 60 else ("pool", int(i), False) for i in indices]


def after(selector: Any, **more: Any) -> Any:
    """The same from Python."""
    whole = type(selector)(**{**selector.get_params(), "n_samples": 12 + selector.n_samples, "initial": GIVEN, **more})
    return whole.fit(BOTH, SOURCE)


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: selector.kind)
def test_the_rows_are_those_of_initial(place: Path, selector: Any) -> None:
    result = choice(selector).run(place / "out")
    expected = after(selector)
    assert rows() == as_told(expected.indices_)
    assert result["n_given"] == 12 and result["n_samples"] == 21
    assert result["sources"]["labelled"]["given"] == 12 and result["sources"]["labelled"]["chosen"] == 0
    assert result["sources"]["pool"]["chosen"] == 9


def test_the_random_choice_beside_it_has_the_same_start(place: Path) -> None:
    result = choice(SELECTORS[0]).run(place / "out")
    beside = appraise(after(SELECTORS[0]), BOTH).summary()
    assert result["control"] == beside["control"] and result["selection"] == beside["selection"]
    start = appraise(Greedy(n_samples=12, initial=GIVEN).fit(BOTH), BOTH)
    # Nothing is left to chance.
    assert start.control.covering_radius == pytest.approx(start.selection.covering_radius)


def test_shares_are_of_what_is_chosen(place: Path) -> None:
    np.save("second.npy", POOL[:30] + 0.01)
    sources = ("pool=pool.npy", "second=second.npy", "labelled=labelled.npy")
    result = choice(SELECTORS[0], sources=sources, quotas={"second": 0.9}).run(place / "out")
    # Of nine, not of twenty-one.
    assert result["sources"]["second"]["chosen"] == 8
    X, y = np.concatenate([POOL, POOL[:30] + 0.01, LABELLED]), np.repeat([0, 1, 2], [60, 30, 12])
    greedy = Greedy(n_samples=21, initial=np.arange(90, 102), minimum={1: 8 / 21}, random_state=3).fit(X, y)
    starts = {"pool": 0, "second": 60, "labelled": 90}
    assert [starts[source] + row for source, row, _ in rows()] == greedy.indices_.tolist()


def test_classes_share_what_is_chosen(place: Path) -> None:
    images = np.random.default_rng(2).integers(0, 256, (72, 4, 4)).astype(np.uint8)
    np.savez("pool.npz", images=images[:60], labels=np.repeat([0, 1, 2], [40, 17, 3]))
    np.save("labelled.npy", images[60:])
    from entropick.features import Pixels

    sources = ("pool=pool.npz", "labelled=labelled.npy")
    greedy = Greedy(n_samples=11, random_state=0)
    result = choice(greedy, sources=sources, balance=True, space=Space("pixels", encoder=Pixels())).run(place / "out")
    assert {name: of["chosen"] for name, of in result["classes"].items()} == {"0": 4, "1": 4, "2": 3}
    assert {name: of["candidates"] for name, of in result["classes"].items()} == {"0": 40, "1": 17, "2": 3}


def test_no_guard_sets_them_aside(place: Path) -> None:
    np.save("labelled.npy", LABELLED + 1000)
    np.save("noise.npy", np.full((2, 3), 500, np.float32) * [[1], [-1]])
    sources = ("pool=pool.npy", "labelled=labelled.npy", "noise=noise.npy")
    result = choice(SELECTORS[0], sources=sources, guard=OutlierGuard(trusted=0)).run(place / "out")
    assert result["guard"]["n_set_aside"] == 2 and result["guard"]["n_kept"] == 72
    assert result["sources"]["labelled"] == {
        "files_or_rows": 12,
        "skipped": 0,
        "given": 12,
        "set_aside": 0,
        "chosen": 0,
    }
    assert [given for _, _, given in rows()] == [True] * 12 + [False] * 9


def test_copies_of_them_come_last(place: Path) -> None:
    np.save("pool.npy", np.concatenate([LABELLED, POOL[:5]]))
    result = choice(Greedy(n_samples=6, random_state=0)).run(place / "out")
    chosen = [row for _, row, given in rows() if not given]
    assert set(chosen[:5]) == set(range(12, 17)) and chosen[5] == 0 and result["n_distinct"] == 17


def test_those_that_cannot_be_used_are_skipped(place: Path) -> None:
    spoilt = LABELLED.copy()
    spoilt[3, 1] = np.nan
    np.save("labelled.npy", spoilt)
    with pytest.raises(InputError, match="1 row cannot be used"):
        choice(SELECTORS[0]).run(place / "out")
    result = choice(SELECTORS[0], skip_bad=True).run(place / "out")
    assert result["n_given"] == 11 and ("labelled", 3, True) not in rows()
    expected = Greedy(n_samples=20, initial=np.arange(60, 71), random_state=3).fit(np.delete(BOTH, 63, axis=0))
    assert [row for _, row, given in rows() if not given] == expected.indices_[11:].tolist()


def test_the_same_again_does_nothing_and_without_it_is_another(place: Path) -> None:
    result = choice(SELECTORS[0]).run(place / "out")
    said: list[str] = []
    assert choice(SELECTORS[0]).run(place / "out", say=said.append) == result and "complete already" in said[0]
    assert json.loads((place / "out" / "selection.json").read_text())["config"]["given"] == ["labelled"]
    with pytest.raises(Exception, match="given: was"):
        Choice(sources=choice(SELECTORS[0]).sources, selector=SELECTORS[0]).run(place / "out")


MISTAKES = {
    "a name": (Greedy(n_samples=5), {"given": ("gone",)}, "given: expected the name of a source"),
    "too many": (Greedy(n_samples=61), {}, "n: expected at most 60, as many as there are candidates, got 61"),
    "two kinds": (Greedy(n_samples=5, initial=[0]), {}, "given: expected sources .* or initial of the selector"),
    "a share": (Greedy(n_samples=5), {"quotas": {"labelled": 0.5}}, "given: expected no quota of labelled"),
    "strata": (Random(n_samples=5, stratify=True), {}, "stratify: expected no initial"),
    "all": (Greedy(n_samples=5), {"given": ("pool", "labelled")}, "n: expected at most 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_before_anything_is_written(place: Path, mistake: str) -> None:
    selector, more, message = MISTAKES[mistake]
    wanted: dict[str, Any] = {"given": ("labelled",), **more}
    sources = open_sources(("pool=pool.npy", "labelled=labelled.npy"))
    with pytest.raises(InputError, match=message):
        Choice(sources=sources, selector=selector, **wanted).run(place / "out")
    assert not (place / "out").exists()
