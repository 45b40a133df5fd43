"""copying and authpct: the rule for near copies, its rate of false alarms, baselines at equal numbers, MNIST."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import betabinom
from sklearn.datasets import load_digits

from entropick.errors import InputError
from entropick.metrics import authpct, copying
from entropick.metrics.near_copies import most_by_chance

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def cloud(seed, n=60, d=4):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def with_noise(images, sd, seed=0):
    noise = np.random.default_rng(seed).normal(scale=sd, size=images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.float32)


def test_equals_brute_force():
    G, T, R = cloud(0), cloud(1, 80), cloud(2, 50)
    found = copying(generated=G, training=T, reference=R)
    to_training = cdist(G.astype(float), T.astype(float))
    np.testing.assert_allclose(found.distances, to_training.min(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.neighbors, to_training.argmin(axis=1))
    np.testing.assert_allclose(
        found.baseline_distances, cdist(R.astype(float), T.astype(float)).min(axis=1), rtol=1e-12
    )
    assert found.score == pytest.approx(found.distances.mean())
    assert found.ratio == pytest.approx(found.distances.mean() / found.baseline_distances.mean())
    assert found.distances.dtype == found.baseline_distances.dtype == np.float64
    assert found.neighbors.dtype == np.int64 and found.near_copies.dtype == bool
    assert found.near_copies.shape == (60,) and found.near_copy_rate == found.near_copies.mean()


@pytest.mark.parametrize(("n_reference", "share", "rank"), [(99, 0.01, 1), (399, 0.01, 4), (5, 0.01, 1), (99, 0.5, 50)])
def test_the_rank_that_sets_the_distance(n_reference, share, rank):
    G, T, R = cloud(0, 300), cloud(1), cloud(2, n_reference)
    found = copying(generated=G, training=T, reference=R, false_alarms=share)
    assert found.near_copy_distance == np.sort(found.baseline_distances)[rank - 1]
    np.testing.assert_array_equal(found.near_copies, found.distances < found.near_copy_distance)


def test_false_alarms_on_fresh_data_are_as_stated():
    # 300 references of 99 rows, rank 1: the mean rate over references is 1 % exactly, here within 4 standard errors.
    rng = np.random.default_rng(0)
    T, rates = cloud(1, 100, 3), []
    for _ in range(300):
        fresh, R = rng.normal(size=(200, 3)), rng.normal(size=(99, 3))
        rates.append(copying(generated=fresh, training=T, reference=R).near_copy_rate)
    assert np.mean(rates) == pytest.approx(0.01, abs=4 * np.std(rates) / np.sqrt(300))


@pytest.mark.parametrize(("n_fresh", "n_reference"), [(40, 7), (200, 24), (150, 99), (300, 450)])
def test_what_chance_brings_is_counted_out(n_fresh, n_reference):
    """Of all orders of n + m exchangeable rows, those in which k of n stand before the r-th of m."""
    rank, most = max(1, (n_reference + 1) // 100), most_by_chance(n_fresh, n_reference)
    orders = math.comb(n_fresh + n_reference, n_fresh)

    def share(k: int) -> Fraction:
        before, behind = math.comb(k + rank - 1, k), math.comb(n_fresh - k + n_reference - rank, n_fresh - k)
        return Fraction(before * behind, orders)

    beyond = sum(share(k) for k in range(most + 1, n_fresh + 1))
    assert beyond <= Fraction(1, 1000) < beyond + share(most)


def test_exact_copies_count_even_where_real_images_have_some():
    T = cloud(0)
    R = np.concatenate([cloud(1, 30), T[:20]])
    found = copying(generated=np.concatenate([T[30:35], cloud(2, 5) + 9]), training=T, reference=R)
    assert found.near_copy_distance == 0
    assert found.near_copies.tolist() == [True] * 5 + [False] * 5


def test_a_scale_changes_no_verdict():
    G, T, R = cloud(0, 200), cloud(1), cloud(2, 30)
    found = copying(generated=G, training=T, reference=R, false_alarms=0.2)
    scaled = copying(generated=G * 1024, training=T * 1024, reference=R * 1024, false_alarms=0.2)
    np.testing.assert_array_equal(found.near_copies, scaled.near_copies)
    assert found.ratio == scaled.ratio and 0 < found.near_copy_rate < 1


def test_held_out_rows_score_one_whatever_their_number():
    rng = np.random.default_rng(0)
    T = rng.normal(size=(500, 8))
    for n in (200, 2000):
        ratio = copying(generated=rng.normal(size=(3000, 8)), training=T, reference=rng.normal(size=(n, 8))).ratio
        assert ratio == pytest.approx(1, abs=0.05)


def test_real_images_beside_a_generated_training_set():
    G, T, R, real = cloud(0), 0.1 * cloud(1, 80), cloud(2, 50), cloud(3, 80)
    found = copying(generated=G, training=T, reference=R, real=real)
    assert found.score == copying(generated=G, training=T, reference=R).score
    assert found.baseline == copying(generated=G, training=real, reference=R).baseline
    with pytest.raises(InputError, match=r"real: expected as many rows as training, 80, .* got 60"):
        copying(generated=G, training=T, reference=R, real=real[:60])


def test_the_same_set_twice():
    T, R = cloud(0), cloud(1)
    with pytest.raises(InputError, match="generated and training: expected two sets, got one array"):
        copying(generated=T, training=T.copy(), reference=R)
    assert copying(generated=T, training=T, reference=R, allow_same=True).near_copy_rate == 1
    for allow_same in (False, True):
        with pytest.raises(InputError, match="reference: expected real images that no model was trained on"):
            copying(generated=R, training=T, reference=T.copy(), allow_same=allow_same)


def test_a_baseline_of_zero_is_no_ratio():
    T = cloud(0)
    found = copying(generated=cloud(1), training=T, reference=T[:10])
    assert found.baseline == 0 and np.isnan(found.ratio) and found.copying_ratio is None


@pytest.mark.parametrize("share", [0, 1, -0.1, "1%"])
def test_bad_false_alarms(share):
    with pytest.raises(InputError, match="false_alarms: expected"):
        copying(generated=cloud(0), training=cloud(1), reference=cloud(2), false_alarms=share)


@pytest.mark.parametrize("role", ["generated", "training", "reference", "real"])
def test_bad_features(role):
    sets = {"generated": cloud(0), "training": cloud(1), "reference": cloud(2), "real": cloud(3)}
    for bad in (np.full((60, 4), np.nan), np.ones(4), np.ones((60, 5))):
        with pytest.raises(InputError, match=f"{role}"):
            copying(**(sets | {role: bad}))


# -- AuthPct ----------------------------------------------------------------------------------------------------------


def test_authpct_equals_brute_force():
    G, T = cloud(0, 200, 3), cloud(1, 100, 3)
    between, own = cdist(G.astype(float), T.astype(float)), cdist(T.astype(float), T.astype(float))
    np.fill_diagonal(own, np.inf)
    authentic = [row.min() >= own[row.argmin()].min() for row in between]
    assert authpct(generated=G, training=T) == np.mean(authentic)
    assert 0.1 < np.mean(authentic) < 0.9


def test_authpct_of_copies_and_of_strangers():
    T = cloud(0)
    assert authpct(generated=T + np.float32(1e-4), training=T) == 0
    assert authpct(generated=T + 100, training=T) == 1
    with pytest.raises(InputError, match=r"training: expected at least k .* 2 rows"):
        authpct(generated=T, training=T[:1])
    with pytest.raises(InputError, match="one array"):
        authpct(generated=T, training=T)


# -- real images ------------------------------------------------------------------------------------------------------


def digits():
    """8x8 digits in random order, 0..255."""
    images = np.rint(load_digits().data * 255 / 16).astype(np.float32)
    images = images[np.random.default_rng(0).permutation(len(images))]
    return images[:900], images[900:1350], images[1350:]


def mnist():
    if not DATA.is_dir():
        pytest.skip("no data beside the repository")
    train, test = (
        np.load(DATA / f"mnist_{name}.npz", allow_pickle=False)["images"].reshape(-1, 784).astype(np.float32)
        for name in ("train_12000", "test_2000")
    )
    return train[:2000], train[2000:2800], test[:800]


@pytest.mark.parametrize("images", [digits, mnist])
def test_novel_images_copies_and_a_mix_are_told_apart(images):
    training, reference, fresh = images()
    copies = with_noise(training[: len(fresh)], sd=3)
    half = np.concatenate([fresh[::2], copies[1::2]])
    novel, copied, mixed = (copying(generated=G, training=training, reference=reference) for G in (fresh, copies, half))
    # The rate of one reference of m rows scatters around 1 % like Beta(r, m + 1 - r) with r = (m + 1) / 100.
    m, rank = len(reference), (len(reference) + 1) // 100
    assert novel.ratio == pytest.approx(1, abs=0.05)
    assert novel.near_copies.sum() <= betabinom(len(fresh), rank, m + 1 - rank).ppf(0.9999)
    assert copied.ratio < 0.1 and copied.near_copy_rate == 1
    np.testing.assert_array_equal(copied.neighbors, np.arange(len(copies)))
    assert mixed.ratio == pytest.approx(0.5, abs=0.1)
    assert mixed.near_copy_rate == pytest.approx(0.5, abs=0.02)
    # Worst first: all planted copies come before all fresh images.
    assert set(np.argsort(mixed.distances)[: len(copies) // 2]) == set(range(len(fresh[::2]), len(half)))
