"""Faults to be planted in a path that is not the plain one, and tiny models to plant them in."""

from __future__ import annotations

import numpy as np
import torch

from entropick.generators import DDPM
from entropick.random_stream import RandomStream

TRAIN, SAMPLE = RandomStream(1, 2, "train"), RandomStream(1, 2, "sample")
TINY = {
    "network": "mlp",
    "width": 32,
    "depth": 2,
    "steps": 60,
    "batch_size": 12,
    "warmup_steps": 5,
    "sampling_steps": 6,
    "sampling_chunk": 8,
    "precision": "float32",
    "device": "cpu",
}
IMAGES = np.random.default_rng(0).integers(0, 256, (31, 6, 6, 1), dtype=np.uint8)
LABELS = np.arange(31) % 3

right_layer_norm = torch.nn.functional.layer_norm


def tiny(**changes):
    return DDPM(**{**TINY, **changes})


def fitted(work=None, labels=None, **changes):
    return tiny(**changes).fit(IMAGES, labels, stream=TRAIN, work=work)


class WrongBackward(torch.autograd.Function):
    """Gives what it gets, and half of the gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0.5


def is_low(x):
    return x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")


def wrong_layer_norm(x, *args):
    """A kernel that is wrong in low precision alone: a fifth too large."""
    return right_layer_norm(x, *args) * (1.2 if is_low(x) else 1.0)


def wrong_gradient_of_layer_norm(x, *args):
    """A kernel whose backward pass alone is wrong, in low precision alone."""
    found = right_layer_norm(x, *args)
    return WrongBackward.apply(found) if is_low(x) else found
