"""The loss of a batch: what the network is shown, what it is told, and gradients that an optimizer can trust."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from planted import IMAGES, LABELS
from torch import nn

from entropick.diffusion.execution import Execution
from entropick.diffusion.networks import Velocity, build_network
from entropick.diffusion.process import NoiseTable, cumulative_alphas
from entropick.diffusion.step import Batch, Objective

CPU = torch.device("cpu")
TABLE = NoiseTable.build(1000, CPU)


class Seen(nn.Module):
    """Keeps what it is shown and told, and predicts a constant."""

    def __init__(self):
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(()))

    def forward(self, x, timestep, classes):
        self.x, self.classes = x, classes
        return x * 0 + self.constant


def batch(n, **changes):
    torch.manual_seed(0)
    drawn = Batch(torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.randn(n, 1, 6, 6))
    return dataclasses.replace(drawn, **changes)


def objective(network, **changes):
    return Objective(network=network, images=torch.from_numpy(IMAGES), table=TABLE, execution=Execution(CPU), **changes)


def test_the_loss_is_the_mean_squared_error_of_the_noise():
    drawn, network = batch(5), Seen()
    found = objective(network)(drawn)
    assert float(found.loss) == pytest.approx(float(drawn.noise.square().mean()), rel=1e-6)
    assert float(found.of_parameters[0]) == pytest.approx(-2 * float(drawn.noise.mean()), rel=1e-4)


def test_the_loss_of_the_velocity_is_its_own_mean_squared_error():
    torch.manual_seed(0)
    network = build_network("mlp", width=16, depth=1, image_shape=(6, 6, 1))
    nn.init.normal_(network.exit.weight)
    drawn = batch(5, timestep=torch.tensor([0, 200, 500, 900, 999]))
    found = objective(Velocity(network, 1000), predicts="velocity")(drawn)
    x = torch.from_numpy(IMAGES[:5]).permute(0, 3, 1, 2).double() / 127.5 - 1.0
    signal = torch.from_numpy(cumulative_alphas(1000)).sqrt()[drawn.timestep].view(-1, 1, 1, 1)
    level = (1 - signal**2).sqrt()
    velocity = signal * drawn.noise - level * x
    told = network((signal * x + level * drawn.noise).float(), drawn.timestep)
    loss = (told - velocity).square().mean()
    assert float(found.loss) == pytest.approx(loss.item(), rel=1e-5)
    (expected,) = torch.autograd.grad(loss, [network.exit.weight])
    place = [name for name, _ in network.named_parameters()].index("exit.weight")
    torch.testing.assert_close(found.of_parameters[place], expected, rtol=1e-3, atol=1e-5)
    # What is told is the noise that makes x_t of x_0, given that velocity.
    noisy = signal * x + level * drawn.noise
    as_noise = level * noisy + signal * told
    torch.testing.assert_close(found.predicted.double(), as_noise, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(level * noisy + signal * velocity, drawn.noise.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bounds", [(0, 5), (0, 2, 5), (0, 1, 2, 5)])
def test_losses_and_gradients_of_weighted_parts_add_up_to_those_of_the_batch(bounds):
    torch.manual_seed(0)
    network = build_network("mlp", width=16, depth=1, image_shape=(6, 6, 1), n_classes=3)
    drawn = batch(5, flipped=torch.arange(5) % 2 == 0, untold=torch.arange(5) == 3)
    classes = {"classes": torch.from_numpy(LABELS), "untold_class": 3}
    whole = objective(network, **classes)(drawn).summands
    parts = [
        objective(network, weight=(stop - start) / 5, **classes)(drawn.part(slice(start, stop))).summands
        for start, stop in itertools.pairwise(bounds)
    ]
    for expected, *found in zip(whole, *parts, strict=True):
        torch.testing.assert_close(sum(found), expected, rtol=1e-5, atol=1e-7)


def test_some_images_are_mirrored():
    flipped = torch.tensor([True, False, True, False, False])
    straight, mirrored = Seen(), Seen()
    objective(straight)(batch(5, noise=torch.zeros(5, 1, 6, 6)))
    objective(mirrored)(batch(5, noise=torch.zeros(5, 1, 6, 6), flipped=flipped))
    for row, is_flipped in enumerate(flipped):
        expected = straight.x[row].flip(-1) if is_flipped else straight.x[row]
        assert torch.equal(mirrored.x[row], expected)


def test_some_classes_are_not_told():
    network, untold = Seen(), torch.tensor([False, True, False, True, False])
    classes = torch.from_numpy(LABELS)
    objective(network, classes=classes, untold_class=3)(batch(5, untold=untold))
    assert network.classes.tolist() == [0, 3, 2, 3, 1]


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3)])
def test_gradients_are_those_of_backward_in_the_layout_of_their_parameters(shape):
    torch.manual_seed(0)
    network = build_network("unet", width=16, depth=1, image_shape=shape)
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    drawn = batch(4, noise=torch.randn(4, shape[2], 8, 8))
    found = dataclasses.replace(objective(network), images=images)(drawn)
    x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    predicted = network(TABLE.add_noise(x, drawn.noise, drawn.timestep), drawn.timestep)
    nn.functional.mse_loss(predicted, drawn.noise).backward()
    for parameter, gradient in zip(network.parameters(), found.of_parameters, strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert parameter.stride() == gradient.stride()
