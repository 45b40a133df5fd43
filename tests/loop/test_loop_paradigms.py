"""Loops with fresh real data, a fixed share of it, planted garbage and a guard, as their ledgers tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from loop_parts import N_GENERATED, N_REAL, N_SELECTED, SELECTORS, entries, make_loop, write_images

from entropick import FixedRealShare, FreshData, Replace, Study
from entropick.errors import DuplicateWarning, InputError, RunChanged
from entropick.features.pixels import Pixels
from entropick.loop.plan import plan_study
from entropick.run import History
from entropick.selectors import Greedy, Random
from entropick.selectors.guards import OutlierGuard

pytestmark = pytest.mark.usefixtures("one_thread")

N_HELD_OUT = 8


def fresh_loop(images, n_fresh=4, **changes):
    loop = make_loop(images, paradigm=FreshData(n_fresh=n_fresh), **changes)
    # 60 images: 40 to begin with, 8 as the reference, 12 in stock.
    loop.dataset.n_reference = N_HELD_OUT
    return loop


def test_fresh_images_enter_each_iteration_and_count_as_real(tmp_path, images):
    history = fresh_loop(images).run(tmp_path)
    assert history.find(0, "data").values["n_stock"] == 12
    stock, real = history.load(0, "stock.npy"), history.load(0, "real.npy")
    for n in (1, 2, 3):
        chosen, n_fresh = history.load(n, "selection.parquet"), 4 * (n - 1)
        of_real = chosen["row"][chosen["source"] == 0]
        assert sorted(of_real) == list(range(N_REAL + n_fresh))
        assert len(chosen["row"]) == N_REAL + n_fresh + N_GENERATED * (n - 1)
    known = {image.tobytes() for images in (real, history.load(0, "reference.npy")) for image in images}
    assert not known & {image.tobytes() for image in stock}


def test_a_loop_without_fresh_data_keeps_no_stock(tmp_path, images):
    make_loop(images, n_iterations=1).run(tmp_path)
    assert not (tmp_path / "iteration-000" / "stock.npy").exists()


def test_more_fresh_images_than_there_are_is_said_before_the_first_training(tmp_path, images):
    with pytest.raises(InputError, match=r"iteration 3 takes 14 fresh real images, but the dataset has 12"):
        fresh_loop(images, n_fresh=7).run(tmp_path)
    assert list(tmp_path.rglob("*.npy")) == []


def test_a_fresh_loop_grows_like_any_other(tmp_path, images):
    whole = fresh_loop(images).run(tmp_path / "whole")
    fresh_loop(images, n_iterations=1).run(tmp_path / "grown")
    # The stock is kept when it is first needed, so the two ledgers have the same lines in another order at most.
    assert fresh_loop(images).run(tmp_path / "grown").metrics == whole.metrics


@pytest.mark.parametrize("selector", ["random", "greedy", "threshold-decay"])
@pytest.mark.parametrize("keep", ["all", "newest"])
def test_a_fixed_share_is_exact_for_every_selector(tmp_path, images, selector, keep):
    paradigm = FixedRealShare(share=0.3, keep=keep)
    history = make_loop(images, paradigm=paradigm, selector=SELECTORS[selector]).run(tmp_path)
    n_real = round(0.3 * N_SELECTED)
    shares = [history.find(n, "select").values["shares"]["0"] for n in (1, 2, 3)]
    assert shares == [1.0, n_real / N_SELECTED, n_real / N_SELECTED]
    sources = set(history.load(3, "selection.parquet")["source"].tolist())
    assert sources <= ({0, 1, 2} if keep == "all" else {0, 2})


@pytest.mark.parametrize("selector", [None, Random(n_samples=9, stratify=True), Greedy(n_samples=9, minimum={0: 0.1})])
def test_a_fixed_share_wants_a_selector_that_it_can_tell(images, selector):
    with pytest.raises(InputError, match="'fixed-real-share' expects a selector"):
        make_loop(images, paradigm=FixedRealShare(share=0.3), selector=selector).check()


def test_a_share_that_the_pool_cannot_give_is_said_at_once(tmp_path, images):
    loop = make_loop(images, paradigm=FixedRealShare(share=0.1), selector=Greedy(n_samples=40), n_generated=20)
    with pytest.raises(InputError, match=r"asks for 36 generated images .* pool of iteration 2 has 20"):
        loop.run(tmp_path)


@pytest.fixture
def grey(tmp_path):
    """Images that noise is far from: all pixels near the middle grey."""
    path = tmp_path / "grey.npz"
    np.savez(path, images=np.random.default_rng(0).normal(128, 10, (60, 4, 4, 1)).astype(np.uint8))
    return path


def planted(images, **changes):
    return make_loop(images, selector=Greedy(n_samples=N_SELECTED), garbage_share=0.1, **changes)


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
def test_greedy_picks_planted_garbage_and_the_guard_keeps_it_out(tmp_path, grey):
    alone = planted(grey).run(tmp_path / "alone")
    guarded = planted(grey, guard=OutlierGuard(k=2)).run(tmp_path / "guarded")
    found = [[run.find(n, "select").values["n_garbage"] for n in (1, 2, 3)] for run in (alone, guarded)]
    # 5 noise images beside each of the earlier generations: none in iteration 1, all of them picked in iteration 2;
    # after that, what was trained on them has garbage of its own.
    assert found[0][:2] == [0, 5] and found[0][2] >= 5 and found[1] == [0, 0, 0]
    assert guarded.find(3, "select").values["selection"]["guard_set_aside"] >= 10
    assert alone.find(3, "select").values["n_pool"] == N_REAL + 2 * (N_GENERATED + 5)


def test_garbage_is_the_same_noise_every_time_and_never_measured(tmp_path, grey):
    first, second = (planted(grey).run(tmp_path / name) for name in ("a", "b"))
    assert first.seal == second.seal
    assert entries(tmp_path / "a")[2, "measure"].values["n_generated"] == N_REAL


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
def test_the_guard_trusts_real_images_that_are_not_in_the_pool(tmp_path, grey):
    history = planted(grey, paradigm=Replace(), guard=OutlierGuard(k=2)).run(tmp_path)
    chosen = history.load(2, "selection.parquet")
    assert set(chosen["source"].tolist()) == {1} and history.find(2, "select").values["n_garbage"] == 0


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
def test_without_a_selector_a_guard_keeps_garbage_out_all_the_same(tmp_path, grey):
    loop = make_loop(grey, garbage_share=0.1, guard=OutlierGuard(k=2))
    history = loop.run(tmp_path)
    for n in (1, 2, 3):
        told, chosen = history.find(n, "select").values, history.load(n, "selection.parquet")
        aside = told["selection"]["guard_set_aside"]
        assert told["n_garbage"] == 0 and told["n_selected"] == len(chosen["row"]) == told["n_pool"] - aside
        assert aside >= 5 * (n - 1)


def test_a_reference_of_real_images_is_refused_and_few_of_them_are_told(tmp_path, images):
    with np.load(images) as whole:
        kept = whole["images"]
    np.savez(tmp_path / "real.npz", images=kept[:40])
    loop = make_loop(tmp_path / "real.npz", n_iterations=1)
    np.savez(tmp_path / "reference.npz", images=np.concatenate([kept[40:], kept[3:4]]))
    loop.dataset.reference = str(tmp_path / "reference.npz")
    with pytest.raises(InputError, match=r"other images than the real ones, but 1 of 21 are among the real images"):
        loop.run(tmp_path / "a")
    fresh = np.random.default_rng(1).integers(0, 256, (120, 4, 4, 1), np.uint8)
    np.savez(tmp_path / "reference.npz", images=np.concatenate([fresh, kept[3:4]]))
    with pytest.warns(DuplicateWarning, match=r"reference: 1 of 121 are among the real images"):
        loop.run(tmp_path / "b")


def test_fresh_images_are_in_proportion_to_the_size(images):
    loop = fresh_loop(images).at_size(20)
    assert (loop.paradigm.n_fresh, loop.n_generated, loop.dataset.n_images) == (2, 25, 20)
    with pytest.raises(InputError, match=r"the paradigm's n_fresh = 4 for 40 real images is no whole number for 25"):
        fresh_loop(images, n_generated=None).at_size(25)


def test_a_plan_counts_sizes_fresh_and_planted_images(images):
    arms = {"fresh": fresh_loop(images, garbage_share=0.1)}
    (plan,) = plan_study(Study(name="plan", arms=arms, seeds=(0, 1), sizes=(20, 40)))
    # At 40 in the third iteration: 40 real, 8 fresh, two generations of 50 with 5 planted images each.
    assert plan.n_training == 40 + 8 + 2 * 55
    assert plan.n_generated == 2 * 3 * (25 + 50)
    too_many = make_loop(images, selector=Greedy(n_samples=41))
    with pytest.raises(InputError, match=r"arm 'a': selector: n_samples = 41, but the pool of iteration 1 has 40"):
        plan_study(Study(name="plan", arms={"a": too_many}))


def test_a_guard_that_leaves_too_little_gives_the_least_extreme_back(tmp_path, images):
    loop = make_loop(images, paradigm=Replace(), selector=Greedy(n_samples=N_SELECTED), n_iterations=2)
    loop.guard = OutlierGuard(k=1, quantile=0.01, factor=1.0)
    told = loop.run(tmp_path).find(2, "select").values["selection"]
    assert told["guard_returned"] > 0
    assert told["guard_set_aside"] - told["guard_returned"] == N_GENERATED - N_SELECTED


def test_maps_lie_on_the_real_datas_axes(tmp_path, images):
    history = make_loop(images, n_iterations=2).run(tmp_path)
    frame, real = history.load(0, "axes.npy"), history.load(0, "real.npy").reshape(N_REAL, -1).astype(float)
    exact = np.linalg.svd(real - real.mean(axis=0))[2][:2]
    np.testing.assert_allclose(np.abs(np.sum(frame[1:] * exact, axis=1)), 1, atol=1e-6)
    for n in (0, 1, 2):
        density = history.load(n, "spread.npy")
        told = history.find(n, "measure" if n else "baseline").values["spread"]
        assert density.shape == (40, 40) and density.sum() == pytest.approx(1 - told["outside"], abs=1e-6)


@dataclass(kw_only=True)
class Costly(Pixels):
    """Pixels whose features are kept, as those of an encoder are."""

    kind: ClassVar[str] = "costly"
    cheap: ClassVar[bool] = False


def test_fresh_and_planted_images_have_features_where_those_of_emitted_ones_are_kept(tmp_path, images):
    found = []
    for features in (Pixels(), Costly()):
        loop = fresh_loop(images, selector=Greedy(n_samples=N_SELECTED), garbage_share=0.1, features=features)
        run = loop.run(tmp_path / features.kind)
        found.append([run.load(n, "selection.parquet")["pool_row"].tolist() for n in (1, 2, 3)])
    assert found[0] == found[1]


def test_a_stock_of_data_that_changed_on_the_way_is_refused_and_not_passed_on(tmp_path, images):
    # The stock is read in iteration 2, perhaps hours after the real images.
    kept, others = images.read_bytes(), None

    def replaced(event):
        nonlocal others
        if (event.iteration, event.stage, event.status) == (1, "measure", "done"):
            write_images(images, seed=1)
            others = images.read_bytes()

    loop = fresh_loop(images)
    with pytest.raises(RunChanged, match=r"(?s)the data changed.*Restore the images"):
        loop.run(tmp_path / "run", observer=replaced, shared=tmp_path / "shared")
    assert others is not None and History(tmp_path / "run").find(0, "stock") is None
    images.write_bytes(kept)
    undisturbed = loop.run(tmp_path / "alone")
    assert loop.run(tmp_path / "run", shared=tmp_path / "shared").seal == undisturbed.seal
