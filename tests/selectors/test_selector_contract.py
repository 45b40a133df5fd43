"""What every selector keeps to, one test per promise, over all of them."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys

import clouds
import numpy as np
import pytest
import reference
from registered import makers
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from entropick import selectors
from entropick.config.components import component_class
from entropick.errors import DuplicateWarning, InputError
from entropick.selectors import Selection, Selector

SELECTORS = makers(
    "selector",
    {
        "density-greedy": {"k": 2},
        "gist": {"gist": {}, "gist, uniform": {"utility": "uniform"}},
        "latent-space-filter": {"n_classes": 4},
        "threshold-decay": {"threshold": {"threshold": 2.0}, "auto": {"threshold": "auto"}},
        "random": {"random": {}, "stratified": {"stratify": True}},
    },
)


@pytest.fixture(params=SELECTORS)
def make(request):
    return lambda n, **more: SELECTORS[request.param](n_samples=n, **more)


@pytest.fixture(params=[name for name, make in SELECTORS.items() if not make(n_samples=1).trusts])
def make_without_trusted(request):
    """Those that do with one row, or with nothing but copies: there is no density to follow in these."""
    return lambda n, **more: SELECTORS[request.param](n_samples=n, **more)


@pytest.fixture(scope="module")
def X():  # noqa: N802 - a matrix
    return clouds.cloud("normal", 60, 6)


def test_room_lists_its_names_in_order():
    assert selectors.__all__ == sorted(selectors.__all__)
    assert {make.func.kind for make in SELECTORS.values()} >= {"greedy", "threshold-decay", "random"}


def test_is_a_selector_known_by_its_kind(make):
    selector = make(3)
    assert isinstance(selector, Selector) and component_class("selector", selector.kind, "tests") is type(selector)


def test_says_what_it_trusts(make, X):
    selector = make(3)
    assert all(isinstance(number, int) for number in selector.trusts)
    assert (selector.least_trusted > 0) == bool(selector.trusts)
    if selector.trusts:
        n, foreign = selector.least_trusted, max(selector.trusts) + 1
        selector.fit(X, np.where(np.arange(len(X)) < n, selector.trusts[0], foreign))
        with pytest.raises(InputError, match="trusted"):
            selector.fit(X, np.where(np.arange(len(X)) < n - 1, selector.trusts[0], foreign))


def test_import_loads_neither_torch_nor_sklearn_nor_rooms_above():
    """A first call in a process waits for what is imported."""
    others = "('torch', 'sklearn', 'numpy.ma', 'entropick.metrics', 'entropick.selection', 'entropick.loop')"
    code = f"import sys, entropick.selectors; print([m for m in {others} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_fit_returns_self_and_fitted_state(make, X):
    selector = make(20, random_state=0)
    assert selector.fit(X) is selector
    assert selector.indices_.dtype == np.int64 and selector.distances_.dtype == np.float64
    assert selector.indices_.shape == selector.distances_.shape == (20,)
    assert len(np.unique(selector.indices_)) == 20
    assert selector.n_distinct_ == 20


def test_distances_are_to_the_picks_before(make, X):
    selector = make(30, random_state=0).fit(X)
    np.testing.assert_array_equal(selector.distances_, reference.in_order(X, selector.indices_.tolist()))
    assert selector.min_distance_ == selector.distances_.min()


def test_all_rows(make, X):
    assert sorted(make(len(X), random_state=0).fit(X).indices_) == list(range(len(X)))


def test_one_row_of_one(make_without_trusted):
    selector = make_without_trusted(1).fit([[3.0]])
    assert selector.indices_.tolist() == [0] and selector.distances_.tolist() == [np.inf]


def test_same_seed_same_rows_other_seed_other_rows(make, X):
    rows = [make(20, random_state=seed).fit(X).indices_.tolist() for seed in (4, 4, 5)]
    assert rows[0] == rows[1] != rows[2]


NARROW = {
    "approximate-greedy": {"eps": 0.1},
    "density-greedy": {"power": 1.3, "quantile": 0.9},
    "gist": {"epsilon": 0.1, "diversity": 0.7},
    "latent-space-filter": {"penalty": 0.3},
    "threshold-decay": {"decay": 0.9, "threshold": 2.3},
}


@pytest.mark.parametrize("kind", NARROW)
def test_narrow_numbers_give_the_rows_of_the_same_wide_ones(kind, X):
    narrow = {name: np.float32(value) for name, value in NARROW[kind].items()}
    rows = [
        component_class("selector", kind, "tests")(n_samples=30, random_state=0, **of).fit(X).indices_.tolist()
        for of in (narrow, {name: float(value) for name, value in narrow.items()})
    ]
    assert rows[0] == rows[1]


def test_a_narrow_decay_ends_where_all_rows_are_taken(X):
    make = component_class("selector", "threshold-decay", "tests")
    copies, decay = np.concatenate([X, X]), np.float32(0.9)
    with pytest.warns(DuplicateWarning):
        rows = [make(n_samples=100, decay=of, random_state=0).fit(copies).indices_ for of in (decay, float(decay))]
    np.testing.assert_array_equal(*rows)


def test_a_generator_moves_on(make, X):
    rng = np.random.default_rng(0)
    first, second = (make(20, random_state=rng).fit(X).indices_.tolist() for _ in range(2))
    again = make(20, random_state=np.random.default_rng(0)).fit(X).indices_.tolist()
    assert first == again != second


def test_clone_and_refit(make, X):
    selector = make(12, random_state=1).fit(X)
    twin = clone(selector)
    assert twin.get_params() == selector.get_params()
    with pytest.raises(NotFittedError):
        _ = twin.indices_
    np.testing.assert_array_equal(twin.fit(X).indices_, selector.indices_)
    selector.set_params(n_samples=5).fit(X[:30])
    assert selector.indices_.shape == (5,) and selector.indices_.max() < 30


@pytest.mark.parametrize("name", ["indices_", "distances_", "n_distinct_", "min_distance_", "covering_radius_"])
def test_says_that_it_is_not_fitted(make, name):
    with pytest.raises(NotFittedError, match=f"is not fitted, so there is no {name} yet. Call fit"):
        getattr(make(3), name)
    assert not hasattr(make(3), name)


def test_missing_attributes_and_pickle_are_ordinary(make, X):
    selector = make(3, random_state=0).fit(X)
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = selector.colour
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(selector)).indices_, selector.indices_)


def test_describe_and_summary_are_json(make, X):
    selector = make(10, random_state=0)
    assert json.loads(json.dumps(selector.describe()))["kind"] == selector.kind
    summary = json.loads(json.dumps(selector.fit(X).summary(), allow_nan=False))
    certified = {"core_rows", "core_distance", "core_radius", "radius_at_most", "factor_at_most"}
    known = {"n_samples", "n_distinct", "covering_radius", "min_distance", "threshold"}
    assert set(summary) == known | (certified if selector.kind == "approximate-greedy" else set())
    assert summary["n_samples"] == summary["n_distinct"] == 10
    assert summary["min_distance"] == selector.min_distance_


def test_summary_of_one_row_has_no_infinity(make, X):
    assert make(1).fit(X).summary()["min_distance"] is None


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32])
def test_takes_other_dtypes(make, kind):
    X = np.arange(24).reshape(12, 2).astype(kind)
    expected = make(4, random_state=0).fit(X.astype(np.float32))
    np.testing.assert_array_equal(make(4, random_state=0).fit(X).indices_, expected.indices_)


def test_takes_a_memory_map_and_leaves_it_alone(make, X, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    selector = make(20, random_state=0).fit(np.load(path, mmap_mode="r"))
    np.testing.assert_array_equal(selector.indices_, make(20, random_state=0).fit(X.copy()).indices_)
    np.testing.assert_array_equal(np.load(path), X)


def test_takes_other_memory_layouts(make, X):
    expected = make(20, random_state=0).fit(X).indices_
    for other in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], np.tile(X, 2)[:, :6]):
        np.testing.assert_array_equal(make(20, random_state=0).fit(other).indices_, expected)


def test_copies_fill_up_with_a_warning(make_without_trusted):
    X = np.repeat(clouds.cloud("normal", 8, 3), 5, axis=0)
    with pytest.warns(DuplicateWarning, match="expected 25 distinct points"):
        selector = make_without_trusted(25, random_state=0).fit(X)
    assert len(np.unique(selector.indices_)) == 25
    assert selector.n_distinct_ == len(np.unique(X[selector.indices_], axis=0))
    assert not np.isnan(selector.distances_).any()


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
def test_refuses_bad_n_samples(make, value):
    with pytest.raises(InputError, match="n_samples"):
        make(value).check()


@pytest.mark.parametrize("value", [-1, 1.5, "seed", np.random.RandomState(0)])
def test_refuses_bad_random_state(make, value):
    with pytest.raises(InputError, match="random_state"):
        make(3, random_state=value).check()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array([[0.0], [np.nan], [1.0]]), "finite.*row 1, column 0"),
        (np.array([[0.0], [np.inf], [1.0]]), "finite"),
        (np.array([[0.0], [1e39], [1.0]]), "finite"),
        (np.zeros(5), "matrix"),
        (np.zeros((5, 2, 2)), "matrix"),
        (np.zeros((0, 2)), "at least one row"),
        (np.array([["a"], ["b"]]), "real numbers"),
        (np.zeros((2, 2), complex), "real numbers"),
        (np.zeros((2, 2)), "n_samples: expected at most 2"),
    ],
)
def test_refuses_bad_data(make, data, message):
    with pytest.raises(InputError, match=message):
        make(3).fit(data)


@pytest.mark.parametrize("y", [np.zeros(59, int), np.zeros(60), np.zeros((60, 1), int)])
def test_refuses_bad_sources(make, X, y):
    with pytest.raises(InputError, match="60 integers"):
        make(3).fit(X, y)


def test_a_failed_fit_keeps_the_fitted_state(make, X):
    selector = make(3, random_state=0).fit(X)
    rows = selector.indices_.copy()
    with pytest.raises(InputError):
        selector.fit(X[:2])
    np.testing.assert_array_equal(selector.indices_, rows)


BROKEN = {
    "0 different|1 different": lambda n: (np.zeros(n, np.int64), np.ones(n), {}),
    "rows of shape": lambda n: (np.arange(n - 1), np.ones(n - 1), {}),
    "rows from -1": lambda n: (np.arange(n) - 1, np.ones(n), {}),
    "dtype float64": lambda n: (np.arange(n) + 0.5, np.ones(n), {}),
    "NaN": lambda n: (np.arange(n), np.full(n, np.nan), {}),
    "distances of shape": lambda n: (np.arange(n), np.ones(n + 1), {}),
    "fact 'odd'": lambda n: (np.arange(n), np.ones(n), {"odd": np.ones(3)}),
}


@pytest.mark.parametrize("came", BROKEN)
def test_a_rule_that_breaks_its_contract_is_named(came):
    @dataclasses.dataclass(kw_only=True)
    class Broken(Selector):
        kind = "broken"

        def _select(self, X, sources, initial, work):
            return Selection(*BROKEN[came](self.n_samples))

    with pytest.raises(InputError, match=f"selector 'broken': expected 5 different rows of 20.*({came})"):
        Broken(n_samples=5).fit(np.random.default_rng(0).normal(size=(20, 3)))
