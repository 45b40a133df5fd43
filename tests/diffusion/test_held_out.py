"""Stopping by held-out loss: what is held out, what is looked at, when it ends, and that looking changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from interruptions import Interrupting, with_interruptions

from entropick.diffusion import held_out
from entropick.diffusion.held_out import HeldOutLoss, TrainingSet, least_steps, looks
from entropick.diffusion.process import cumulative_alphas
from entropick.errors import InputError
from entropick.generators import DDPM
from entropick.random_stream import RandomStream
from entropick.work import Work

STREAM = RandomStream(1, 2, "train")
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
TINY = {"network": "mlp", "width": 16, "depth": 1, "batch_size": 8, "warmup_steps": 5, "learning_rate": 3e-3}
# Learns twelve images by heart in no time.
QUICK = {"images": IMAGES[:20], "width": 64}
TINY |= {"precision": "float32", "device": "cpu", "timesteps": 50, "sampling_steps": 5}


@pytest.fixture
def brief(monkeypatch):
    """Rules of a large training, on a small one."""
    monkeypatch.setattr(held_out, "_LEAST_STEPS", 100)
    monkeypatch.setattr(held_out, "_DRAWS", 64)


def watch(data, *, max_steps=1000, warmup_steps=5):
    return HeldOutLoss(TrainingSet(data), max_steps, warmup_steps, 50, STREAM, torch.device("cpu"))


def auto(max_steps, images=IMAGES, work=None, labels=None, **changes):
    settings = {**TINY, "steps": "auto", "max_steps": max_steps, **changes}
    return DDPM(**settings).fit(images, labels, stream=STREAM, work=work)


# -- what is held out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_held_out"), [(20, 8), (60, 8), (500, 50), (30_000, 2048)])
def test_a_tenth_is_held_out_within_bounds_and_nothing_is_lost(n, n_held_out):
    numbers = np.arange(n, dtype=np.uint32).view(np.uint8).reshape(n, 2, 2, 1)
    trained, kept_back = TrainingSet(numbers, np.arange(n), n).split(STREAM)
    assert len(kept_back) == n_held_out
    both = np.concatenate([trained.classes, kept_back.classes])
    np.testing.assert_equal(np.sort(both), np.arange(n))
    np.testing.assert_equal(kept_back.images, numbers[kept_back.classes])
    assert kept_back.classes.tolist() != list(range(n_held_out))


def test_copies_of_an_image_are_on_one_side():
    copied = np.repeat(IMAGES[:25], 4, axis=0)
    trained, kept_back = TrainingSet(copied).split(STREAM)
    sides = [{image.tobytes() for image in side.images} for side in (trained, kept_back)]
    assert not sides[0] & sides[1]
    assert len(kept_back) == 12 and len(trained) == 88


def test_another_seed_holds_out_other_images():
    ours, theirs = (TrainingSet(IMAGES).split(RandomStream(seed, 2, "train"))[1].images for seed in (1, 2))
    assert (ours != theirs).any()


@pytest.mark.parametrize("images", [IMAGES[:15], np.repeat(IMAGES[:1], 60, axis=0)])
def test_too_few_different_images_are_refused_with_their_numbers(images):
    with pytest.raises(InputError, match=f"steps: 'auto' expected at least 8 .* got {len(images)} with .*as a number"):
        auto(100, images)


# -- what is looked at ------------------------------------------------------------------------------------------------


def test_looks_are_four_to_a_doubling_and_the_last_step_is_one():
    assert looks(30) == [30]
    assert looks(170) == [50, 100, 150, 170]
    ratios = np.divide(looks(128_000)[9:-1], looks(128_000)[8:-2])
    assert (ratios < 1.26).all() and (ratios > 1.15).all() and looks(128_000)[-1] == 128_000


def test_the_loss_is_the_error_of_predicted_noise_at_levels_spread_evenly():
    loss = watch(IMAGES[:8])
    rows, levels = loss._draws
    assert (np.bincount(rows) == 128).all()
    assert np.bincount(levels, minlength=50).tolist() == pytest.approx([1024 / 50] * 50, abs=1)

    class OfNoisy(torch.nn.Module):
        """Says that the noise is what it is shown."""

        def forward(self, x, timestep, classes):
            return x

    # E|sqrt(a) x0 + (sqrt(1 - a) - 1) e|^2 over the noise, exactly; the draws come near it.
    alphas = cumulative_alphas(50)[levels]
    x0 = (IMAGES[:8].reshape(8, -1) / 127.5 - 1.0)[rows]
    expected = (alphas * (x0**2).mean(axis=1) + (np.sqrt(1 - alphas) - 1) ** 2).mean()
    loss.look(50, OfNoisy(), [], Work())
    assert loss.losses[0][1] == pytest.approx(expected, rel=0.03)
    loss.look(100, OfNoisy(), [], Work())
    assert loss.losses[0][1] == loss.losses[1][1] and loss.best[0] == 50


def test_processes_that_share_it_see_the_same_loss():
    network = torch.nn.Module()
    network.forward = lambda x, timestep, classes: torch.tanh(x)

    class Shared(Work):
        rank, n_processes = 0, 3

        def gather(self, part):
            others = [self.of(rank) for rank in (1, 2)]
            return [part, *others]

        def of(self, rank):
            found = []
            one = Work()
            one.rank, one.n_processes = rank, 3
            one.gather = lambda part: found.append(part) or [part]
            watch(IMAGES[:8])._loss(network, one)
            return found[0]

    assert watch(IMAGES[:8])._loss(network, Shared()) == watch(IMAGES[:8])._loss(network, Work())


# -- when it ends -----------------------------------------------------------------------------------------------------


def scripted(losses, **settings):
    """The step at which a training with these losses ends, and its watch."""
    loss, network = watch(IMAGES[:8], **settings), torch.nn.Linear(1, 1, bias=False)
    for step in looks(settings.get("max_steps", 1000)):
        loss._loss = lambda *_, at=step: losses(at)
        if loss.look(step, network, [torch.full((1, 1), float(step))], Work()):
            break
    return step, loss


def test_it_ends_when_the_least_loss_is_half_of_the_steps_ago():
    step, loss = scripted(lambda at: abs(at - 900), max_steps=50_000)
    assert (step, loss.best[0]) == (next(at for at in looks(50_000) if at >= 1800), 900)
    assert loss.best_weights()[0].item() == 900.0
    values = loss.values()
    assert (values["n_steps"], values["n_steps_taken"], values["stopped_by"]) == (900, step, "held-out loss")


def test_not_before_a_thousand_steps_and_twice_the_warm_up():
    assert scripted(lambda at: at, max_steps=50_000)[0] == least_steps(50_000, 5) == 1100
    assert scripted(lambda at: at, max_steps=50_000, warmup_steps=2000)[0] == least_steps(50_000, 2000) == 4150
    assert least_steps(70, 5) == 70


def test_where_the_maximum_ends_it_that_is_said():
    step, loss = scripted(lambda at: -at, max_steps=3000)
    assert step == 3000
    assert (loss.values()["n_steps"], loss.values()["stopped_by"]) == (3000, "max_steps")


# -- in a training ----------------------------------------------------------------------------------------------------


def test_looking_changes_nothing(brief):
    # So few steps that the loss falls to the last one.
    model = auto(150)
    assert model.training_values()["n_steps"] == 150
    trained, _ = TrainingSet(IMAGES).split(STREAM)
    plain = DDPM(**TINY, steps=150).fit(trained.images, stream=STREAM)
    np.testing.assert_equal(model.state(), plain.state())
    assert model.final_loss_ == plain.final_loss_


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"conditional": True}])
def test_it_keeps_the_best_weights_and_an_interrupted_one_is_bit_for_bit_the_same(brief, changes):
    labels = np.arange(20) % 3
    settings = {**QUICK, "labels": labels, **changes}
    undisturbed = auto(1000, **settings)
    values = undisturbed.training_values()
    assert values["stopped_by"] == "held-out loss"
    assert 2 * values["n_steps"] <= values["n_steps_taken"] < 1000
    assert values["held_out_loss"] == pytest.approx(min(loss for _, loss in values["held_out_losses"]), abs=1e-6)
    model, n_stopped = with_interruptions(lambda work: auto(1000, work=work, **settings), 20, 50, 51, 120)
    assert n_stopped == 4
    np.testing.assert_equal(model.state(), undisturbed.state())
    assert model.training_values() == values


def test_what_was_stopped_is_not_gone_on_with(brief):
    work = Interrupting()
    model = auto(1000, work=work, **QUICK)
    assert work.kept["training"][1]["step"] < model.training_values()["n_steps_taken"] < 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": "auto"}, "max_steps: steps = 'auto' expected the most steps that there may be, got none"),
        ({"steps": "few"}, "steps: expected a whole number, or 'auto', got 'few'"),
        ({"steps": 10, "max_steps": 20}, "max_steps: expected none beside steps = 10, got 20"),
        ({"steps": "auto", "max_steps": 0}, "max_steps: expected a whole number of at least 1, got 0"),
        ({"steps": "auto", "max_steps": 9, "epochs": 2}, "epochs: expected one budget, got epochs = 2 and steps"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DDPM(**TINY, **settings).check()


def test_older_results_keep_their_names():
    assert "max_steps" not in DDPM().describe()
    assert DDPM(steps="auto", max_steps=7).describe()["max_steps"] == 7
