"""Every measure has the same value of rows that stay in files as of arrays, to the last bit."""

from pathlib import Path

import numpy as np
import pytest

from entropick.arrays import FileRows, SomeRows
from entropick.metrics import MEASURES, Roles, interval, measure

ROLES = ("training", "generated", "reference", "real")


@pytest.fixture(params=[(60, 5), (24, 40)], ids=["many rows", "fewer rows than columns"])
def sets(request, tmp_path):
    """The same sets as arrays, and as some rows of two files each."""
    n, width = request.param
    there, lying = {}, {}
    for number, role in enumerate(ROLES):
        X = np.random.default_rng(number).normal(size=(n + 3, width)).astype(np.float16)
        X[7] = X[4]
        maps = []
        for name, part in {"a": X[:9], "b": X[9:]}.items():
            np.save(Path(tmp_path / f"{role}-{name}.npy"), part)
            maps.append(np.load(tmp_path / f"{role}-{name}.npy", mmap_mode="r"))
        rows = np.arange(3, n + 3)
        there[role], lying[role] = X[rows].astype(np.float32), SomeRows(FileRows(maps), rows)
    return Roles(**there), Roles(**lying)


@pytest.mark.parametrize("name", MEASURES)
def test_of_files_as_of_arrays(sets, name):
    there, lying = sets
    expected = measure(there, [name], space="x")
    assert measure(lying, [name], space="x") == expected
    assert expected[f"{name}/x"] is not None


def test_intervals(sets):
    there, lying = sets
    for name in ("knn_entropy", "recall", "frechet_distance"):
        assert interval(name, lying, n_resamples=2) == interval(name, there, n_resamples=2)
