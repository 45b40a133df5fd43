"""What is measured in a space, against the measures themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics import copying
from entropick.scoring.measuring import check_rows, measure_space, shown_pairs
from entropick.work import Work

RNG = np.random.default_rng(0)
T, G, R = (RNG.standard_normal((n, 3)).astype(np.float32) for n in (40, 25, 30))


def measured(**changed: Any) -> Any:
    return measure_space({"training": T, "generated": G, "reference": R} | changed, ["recall"], "s", None, Work())


def test_each_generated_row_is_told() -> None:
    G[:5] = T[:5]
    G[5] = T[5] + np.float32(1e-4)
    found, expected = measured(), copying(generated=G, training=T, reference=R)
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(found.near_copies, expected.near_copies)
    assert found.worst_first()[:6].tolist() == [0, 1, 2, 3, 4, 5]
    told = found.summary()
    assert (told["n_exact_copies"], told["ratio"]) == (5, expected.ratio)
    assert told["n_near_copies"] == expected.near_copies.sum() >= 6


def test_reference_rows_that_are_training_rows_do_not_hide_copies() -> None:
    clean = measured(generated=T[:20] + np.float32(1e-3), reference=R)
    leaked = {"generated": T[:20] + np.float32(1e-3), "reference": np.concatenate([R, T[:2]])}
    assert clean.near_copies.all()
    found = measured(**leaked)
    assert found.near_copies.all() and found.near_copy_distance == clean.near_copy_distance
    assert found.n_shared == 2 and found.values == clean.values
    assert found.summary()["n_reference_in_training"] == 2
    # Who allows it gets what the files say: a baseline of 0.
    allowed = measure_space({"training": T, **leaked}, ["recall"], "s", None, Work(), allow_same=True)
    assert allowed.near_copy_distance == 0 and not allowed.near_copies.any()


def test_a_reference_of_training_rows_alone_is_refused() -> None:
    with pytest.raises(InputError, match="all 10 are in the training set"):
        measured(reference=T[:10])


def test_the_histogram_holds_every_image_once() -> None:
    told = measured(generated=np.concatenate([G, [[1e6, 0, 0]]]).astype(np.float32)).summary()["histogram"]
    assert sum(told["generated"]) == pytest.approx(1) and sum(told["reference"]) == pytest.approx(1)
    assert len(told["edges"]) == len(told["generated"]) + 1 and told["edges"][0] == 0


def test_without_a_reference_only_exact_copies_are_known() -> None:
    found = measure_space({"training": T, "generated": T[:4]}, ["authpct"], "s", None, Work())
    assert found.near_copies.all() and found.near_copy_distance is None and found.ratio is None


def nearest(n_exact: int, n_near: int, n_others: int, training: list[int] | None = None) -> dict[str, list[Any]]:
    """A table of so many pairs of each kind, the nearest first."""
    distances = [0.0] * n_exact + [1.0 + row for row in range(n_near + n_others)]
    n = len(distances)
    near_copy = [1] * (n_exact + n_near) + [0] * n_others
    originals = [*(training or range(n_exact)), *range(n_exact, n)]
    return {"rank": list(range(n)), "distance": distances, "near_copy": near_copy, "training_row": originals}


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ((500, 500, 500), (20, 20, 8)),
        ((500, 0, 500), (40, 0, 8)),
        ((0, 500, 500), (0, 40, 8)),
        ((3, 500, 500), (3, 37, 8)),
        ((500, 4, 0), (44, 4, 0)),
        ((0, 0, 500), (0, 0, 48)),
        ((5, 6, 7), (5, 6, 7)),
        ((1, 1, 500), (1, 1, 46)),
    ],
)
def test_pairs_of_every_kind_are_shown(kinds: tuple[int, int, int], shown: tuple[int, int, int]) -> None:
    table = nearest(*kinds)
    rows = shown_pairs(table, 48)
    assert rows == sorted(set(rows)) and len(rows) <= 48
    borders = np.cumsum([0, *kinds])
    assert tuple(np.histogram(rows, borders - 0.5)[0]) == shown


def test_exact_copies_of_different_images_and_near_copies_of_all_distances_are_shown() -> None:
    rows = shown_pairs(nearest(100, 100, 0, training=[7] * 95 + [1, 2, 3, 4, 5]), 12)
    assert {0, 95, 96, 97, 98, 99} == set(rows[:6])
    assert rows[6] == 100 and rows[-1] == 199


def test_too_few_rows_are_told_what_is_enough_for_all_measures() -> None:
    """Not what the first of them needs: with that many the next one would refuse."""
    for halves, least in ((False, 4), (True, 8)):
        with pytest.raises(InputError, match=f"generated: expected at least {least} usable rows for recall"):
            check_rows({"training": 50, "generated": 1}, ["variance_ratio", "recall"], halves=halves)
        check_rows({"training": 50, "generated": least}, ["variance_ratio", "recall"], halves=halves)
    check_rows({"training": 50, "generated": 1}, [], halves=False)
