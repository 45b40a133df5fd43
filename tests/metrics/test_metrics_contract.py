"""What every metric of features promises."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import entropick.metrics as metrics
from entropick.errors import InputError

FUNCTIONS = [getattr(metrics, name) for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]
OF_FEATURES = [f for f in FUNCTIONS if inspect.signature(f).return_annotation == "float"]
OF_PAIRS = [f for f in OF_FEATURES if "generated" in inspect.signature(f).parameters]


def roles(metric):
    return [
        name for name in inspect.signature(metric).parameters if name in ("X", "generated", "training", "reference")
    ]


def inputs(metric, n=30, d=4):
    rng = np.random.default_rng(0)
    return {role: rng.normal(size=(n + i, d)).astype(np.float32) for i, role in enumerate(roles(metric))}


# Small enough that 30 rows of 4 columns make several blocks, the last one not full.
_BLOCKS = {
    "neighbors.search._QUERY_ROWS": 7,
    "neighbors.search._POINT_ROWS": 11,
    "metrics.diversity._BLOCK_VALUES": 25,
    "neighbors.search._BALL_ROWS": 7,
    "neighbors.search._BALL_COLUMNS": 11,
    "metrics.fidelity._TILE_ROWS": 7,
}

metric_and_role = pytest.mark.parametrize(
    ("metric", "role"), [(f, role) for f in OF_FEATURES for role in roles(f)], ids=lambda v: getattr(v, "__name__", v)
)
every = pytest.mark.parametrize("metric", OF_FEATURES, ids=lambda f: f.__name__)


def test_what_is_promised_here_is_promised_of_all():
    assert len(OF_FEATURES) == 15 and len(OF_PAIRS) == 10


@every
def test_returns_a_float_and_leaves_its_input_alone(metric):
    sets = inputs(metric)
    before = {role: X.copy() for role, X in sets.items()}
    for X in sets.values():
        X.flags.writeable = False
    assert type(metric(**sets)) is float
    assert metric(**sets) == metric(**sets)
    assert all(np.array_equal(before[role], X) for role, X in sets.items())


@every
def test_takes_lists_float64_integers_and_memory_maps(metric, tmp_path):
    rng = np.random.default_rng(0)
    sets = {role: rng.integers(0, 200, size=(20, 3)) for role in roles(metric)}
    expected = metric(**sets)
    assert metric(**{role: X.tolist() for role, X in sets.items()}) == expected
    assert metric(**{role: X.astype(np.float64) for role, X in sets.items()}) == expected
    assert metric(**{role: X.astype(np.uint8) for role, X in sets.items()}) == expected
    for role, X in sets.items():
        np.save(tmp_path / f"{role}.npy", X.astype(np.float32))
    assert metric(**{role: np.load(tmp_path / f"{role}.npy", mmap_mode="r") for role in sets}) == expected


@every
def test_row_order_does_not_matter(metric):
    rng = np.random.default_rng(0)
    sets = inputs(metric)
    shuffled = {role: X[rng.permutation(len(X))] for role, X in sets.items()}
    assert metric(**shuffled) == pytest.approx(metric(**sets), rel=1e-11)


@every
def test_arguments_are_named_by_role(metric):
    if metric in OF_PAIRS:
        with pytest.raises(TypeError):
            metric(*inputs(metric).values())


@every
@pytest.mark.parametrize("value", [0.0, 255.0, -0.1])
def test_constant_data(metric, value):
    # A collapsed set is what these measures are for: a number comes out, without a warning.
    sets = {role: np.full((20 + i, 4), value, np.float32) for i, role in enumerate(roles(metric))}
    assert not np.isnan(metric(**sets))


@every
def test_size_of_blocks_does_not_matter(metric, monkeypatch):
    sets = inputs(metric)
    whole = metric(**sets)
    for name, size in _BLOCKS.items():
        monkeypatch.setattr(f"entropick.{name}", size)
    assert metric(**sets) == pytest.approx(whole, rel=1e-11)


@every
def test_number_of_threads_does_not_matter(metric):
    import torch
    from threadpoolctl import threadpool_limits

    sets = inputs(metric, n=300, d=40)
    values, before = [], torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            with threadpool_limits(n):
                values.append(metric(**sets))
    finally:
        torch.set_num_threads(before)
    assert values[0] == pytest.approx(values[1], rel=1e-11)


@metric_and_role
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite(metric, role, bad):
    sets = {name: X.astype(np.float64) for name, X in inputs(metric).items()}
    sets[role][7, 2] = bad
    with pytest.raises(InputError, match=f"{role}: expected finite .* row 7, column 2"):
        metric(**sets)


@metric_and_role
@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((2, 3, 4)), np.zeros((0, 4)), np.zeros((5, 0)), "text", 1.0])
def test_another_shape(metric, role, bad):
    with pytest.raises(InputError, match=f"{role}: expected"):
        metric(**(inputs(metric) | {role: bad}))


@pytest.mark.parametrize("metric", OF_PAIRS, ids=lambda f: f.__name__)
def test_another_width(metric):
    first, second = roles(metric)
    sets = inputs(metric) | {second: np.ones((30, 5))}
    with pytest.raises(InputError, match=f"{first} has 4, {second} has 5"):
        metric(**sets)


def test_import_is_light():
    code = "import sys, entropick.metrics; print(sorted({'torch', 'scipy', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
