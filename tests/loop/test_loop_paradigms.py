"""Loops with fresh real data, a fixed share of it, planted garbage and a guard, as their ledgers tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from loop_parts import N_GENERATED, N_REAL, N_SELECTED, SELECTORS, born, entries, make_loop, write_images

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
    loop.dataset.reference = str(tmp_path / "reference.npz")
    fresh = np.random.default_rng(1).integers(0, 256, (120, 4, 4, 1), np.uint8)
    for n_same, n, said in ((1, 120, "they count as new"), (3, 120, "only exact copies count as near ones")):
        np.savez(tmp_path / "reference.npz", images=np.concatenate([fresh[: n - n_same], kept[:n_same]]))
        with pytest.warns(DuplicateWarning, match=rf"reference: {n_same} of {n} are among .*, so that {said}"):
            loop.run(tmp_path / f"of-{n_same}")
    np.savez(tmp_path / "reference.npz", images=np.concatenate([fresh[:10], kept[:11]]))
    with pytest.raises(InputError, match=r"other images than the real ones, but 11 of 21 are among the real images"):
        loop.run(tmp_path / "none")


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


def test_a_plan_loads_the_images_of_each_size_once(images, monkeypatch):
    arms = {"a": fresh_loop(images), "b": fresh_loop(images, n_fresh=2)}
    loaded, cls = [], type(arms["a"].dataset)
    load = cls.load
    monkeypatch.setattr(cls, "load", lambda dataset: (loaded.append(dataset.n_images), load(dataset))[1])
    plan_study(Study(name="plan", arms=arms, sizes=(20, 40)))
    assert loaded == [20, 40]


def test_a_guard_that_leaves_too_little_gives_the_least_extreme_back(tmp_path, images):
    loop = make_loop(images, paradigm=Replace(), selector=Greedy(n_samples=N_SELECTED), n_iterations=2)
    loop.guard = OutlierGuard(k=1, quantile=0.01, factor=1.0)
    told = loop.run(tmp_path).find(2, "select").values["selection"]
    assert told["guard_returned"] > 0
    assert told["guard_set_aside"] - told["guard_returned"] == N_GENERATED - N_SELECTED


STRICT = OutlierGuard(k=1, quantile=0.01, factor=1.0)


def test_a_guard_gives_back_what_a_fixed_share_owes_the_least_extreme_first(tmp_path, images):
    """The real images alone would be enough for the number of samples, but not for the share of generated ones."""
    settings = {"paradigm": FixedRealShare(share=0.25, keep="newest"), "selector": Random(n_samples=N_SELECTED)}
    history = make_loop(images, guard=STRICT, n_iterations=2, **settings).run(tmp_path)
    values, chosen = history.find(2, "select").values, history.load(2, "selection.parquet")
    assert values["shares"] == {"0": 0.25, "1": 0.75}
    guarding = values["selection"]
    n_owed = N_SELECTED - N_SELECTED // 4
    n_free = N_GENERATED - guarding["guard_set_aside"]
    assert guarding["guard_returned"] == n_owed - n_free > 0
    # As many generated images as are owed are left, so they are those nearest to a real one.
    real, generated = (born(history, n).reshape(-1, 16).astype(float) for n in (0, 1))
    nearest = np.sqrt(((generated[:, None] - real[None]) ** 2).sum(axis=2)).min(axis=1)
    assert sorted(chosen["row"][chosen["source"] == 1]) == sorted(np.argsort(nearest)[:n_owed])


def test_a_guard_never_sets_aside_what_a_selection_begins_with(tmp_path, images):
    selector = Greedy(n_samples=N_SELECTED, initial=(5, 30, 20))
    loop = make_loop(images, paradigm=Replace(), selector=selector, guard=STRICT, n_iterations=2)
    chosen = loop.run(tmp_path).load(2, "selection.parquet")["pool_row"]
    assert chosen[:3].tolist() == [5, 30, 20]
    assert len(set(chosen.tolist())) == N_SELECTED


OWED = {
    "a source that the pool has no more": (
        {"paradigm": Replace(), "selector": Greedy(n_samples=N_SELECTED, minimum={0: 0.5})},
        "at least 16 rows of source 0, but the pool of iteration 2 has 0",
    ),
    "a source that is yet to come": (
        {"selector": Greedy(n_samples=N_SELECTED, minimum={0: 0.5, 1: 0.25})},
        "at least 8 rows of source 1, but the pool of iteration 1 has 0",
    ),
    "rows that there are not": (
        {"selector": Greedy(n_samples=N_SELECTED, initial=(0, N_REAL))},
        r"that of iteration 1 has rows 0 to 39, got 0 to 40\. Name rows that every pool has",
    ),
}


@pytest.mark.parametrize("case", OWED)
def test_what_a_selector_owes_or_begins_with_is_looked_for_in_every_pool_before_the_first_stage(tmp_path, images, case):
    settings, expected = OWED[case]
    with pytest.raises(InputError, match=expected):
        make_loop(images, **settings).run(tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


def test_rows_of_another_source_that_leave_no_place_for_those_that_are_owed(tmp_path, images):
    # Fresh real images lie last in a pool: in iteration 2 rows 36 to 39 are generated ones.
    selector = Greedy(n_samples=8, initial=(36, 37, 38, 39), minimum={0: 0.75})
    loop = fresh_loop(images, selector=selector, n_generated=40, n_iterations=2)
    loop.paradigm = FreshData(n_fresh=8, keep="newest")
    with pytest.raises(InputError, match=r"expected places for 6 owed rows .* in iteration 2 the 4 rows of initial"):
        loop.run(tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


@dataclass(kw_only=True)
class Told(Replace):
    """Says what it is told."""

    what: ClassVar[dict] = {}

    def sources(self, iteration):
        return self.what["sources"](iteration) if "sources" in self.what else super().sources(iteration)

    def fresh(self, iteration):
        return self.what["fresh"](iteration) if "fresh" in self.what else super().fresh(iteration)

    def n_real(self, iteration, n_samples):
        return self.what["n_real"](iteration) if "n_real" in self.what else super().n_real(iteration, n_samples)


@pytest.mark.parametrize("made", [range, np.arange, lambda n: tuple(range(n))])
def test_sources_of_others_may_be_any_whole_numbers_in_a_row(tmp_path, images, monkeypatch, made):
    monkeypatch.setattr(Told, "what", {"sources": made})
    found = make_loop(images, paradigm=Told(), n_iterations=2).run(tmp_path / "own")
    usual = make_loop(images, n_iterations=2).run(tmp_path / "usual")
    assert found.metrics == usual.metrics


WRONG = {
    "itself": ("sources", lambda n: [0, n]),
    "later": ("sources", lambda n: [n]),
    "before the first": ("sources", lambda n: [-1]),
    "nothing": ("sources", lambda n: None),
    "none": ("sources", lambda n: []),
    "twice": ("sources", lambda n: [0, 0]),
    "fractions": ("sources", lambda n: [0.0]),
    "backwards": ("sources", lambda n: list(range(n))[::-1] if n > 1 else [0]),
    "every second row": ("fresh", lambda n: range(0, 4 * (n - 1), 2)),
    "a list of rows": ("fresh", lambda n: [0, 1]),
    "fresh ones at once": ("fresh", lambda n: range(4)),
    "a share": ("n_real", lambda n: 0.5),
    "more than all": ("n_real", lambda n: 1000),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_paradigm_of_others_is_held_to_its_contract_before_the_first_stage(tmp_path, images, monkeypatch, case):
    name, function = WRONG[case]
    monkeypatch.setattr(Told, "what", {name: function})
    with pytest.raises(InputError, match=rf"paradigm 'Told': expected .* as `{name}` of iteration \d, got .* Mend"):
        fresh_loop_of(Told(), images).run(tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


def fresh_loop_of(paradigm, images):
    loop = fresh_loop(images, selector=Greedy(n_samples=8))
    loop.paradigm = paradigm
    return loop


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
