"""What is measured in a space, against the measures themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.metrics import copying
from entropick.scoring.measuring import measure_space
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
