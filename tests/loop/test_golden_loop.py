"""The same inputs give the same results: `--reuse` links what another version computed as if it were this one's."""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest
from loop_parts import N_SELECTED, make_loop, write_images

from entropick.loop import stages
from entropick.run import NUMERICS
from entropick.selectors import Greedy, Random, ThresholdDecay
from entropick.selectors.guards import OutlierGuard

pytestmark = pytest.mark.usefixtures("one_thread")

ARMS = {
    "random": {"selector": Random(n_samples=N_SELECTED)},
    "greedy": {"selector": Greedy(n_samples=N_SELECTED), "garbage_share": 0.1},
    "guarded": {"selector": ThresholdDecay(n_samples=N_SELECTED, threshold=500.0), "guard": OutlierGuard(k=2)},
}
# Of each arm: which rows were picked in each iteration, and what was emitted.
GOLDEN = {
    "random": ["4e076881fb962013", "6a4b52d0010ca49c", "fb73f39a1a93870d", "165dc450b4171504"],
    "greedy": ["634f6da1634ed12e", "11f2d887f4ae8ce0", "26f5bc0e2148b49d", "a9b7a9917486296b"],
    "guarded": ["bc739a2d52abe11d", "cfca25a2999a48c2", "9a75972d4953a0c4", "38b2bba5a9c43c2e"],
}
METRICS = {
    "generalization_score": 48.30036877764728,
    "generalization_score_ratio": 0.9893213620213824,
    "near_copy_rate": 0.05,
    "knn_entropy": 83.97951772069109,
    "total_variance": 58770.70060483871,
    "frechet_distance": 27358.43064254109,
    "precision": 0.725,
    "density": 0.6,
}
REMINDER = (
    f"A loop gives other results than it did. If that is meant, raise NUMERICS in run/inputs.py (now {NUMERICS}), so "
    "that results of another version are not linked as if they were this one's, and write the new values here. If not, "
    "something changed the numbers."
)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("arm", ARMS)
def test_a_tiny_loop_picks_and_emits_what_it_always_did(tmp_path, arm):
    run = make_loop(write_images(tmp_path / "images.npz"), **ARMS[arm]).run(tmp_path / "run")
    picked = [digest(run.load(n, "selection.parquet")["pool_row"]) for n in (1, 2, 3)]
    assert [*picked, digest(run.load(3, "generated.npy"))] == GOLDEN[arm], REMINDER


def test_and_measures_what_it_always_did(tmp_path):
    run = make_loop(write_images(tmp_path / "images.npz"), **ARMS["greedy"]).run(tmp_path / "run")
    found = {name.removesuffix("/pixels"): value for name, value in run.metrics[-1].items() if name != "iteration"}
    assert {name: found[name] for name in METRICS} == pytest.approx(METRICS, rel=1e-6), REMINDER


def test_what_computes_a_stage_is_given_its_declared_inputs_and_nothing_that_decides():
    """Kept features and the checks before a first line are all that comes beside `given` and `work`."""
    computing = {
        name: getattr(stages, f"_{name}") for name in ("data", "stock", "learn", "baseline", "select", "train")
    }
    computing |= {name: getattr(stages, f"_{name}") for name in ("sample", "measure")}
    for name, function in computing.items():
        *more, given, work = inspect.signature(function).parameters
        assert (given, work) == ("given", "work") and set(more) <= {"kept", "check"}, name
        assert inspect.getclosurevars(function).nonlocals == {}, name
