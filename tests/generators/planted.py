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


class FakeGraph:
    """What `Captured` does, without CUDA: fixed places, overwritten by every call; results may be spoilt by `error`."""

    error = 0.0

    def __init__(self, function, *example):
        self._function = function
        self._places = [None if tensor is None else tensor.clone() for tensor in example]
        self._result = None

    def __call__(self, *inputs):
        for place, tensor in zip(self._places, inputs, strict=True):
            if place is not None:
                place.copy_(tensor)
        found = self._function(*self._places)
        if isinstance(found, tuple):
            x, predicted = found
            return self._put(x + self.error), predicted * (1 + self.error)
        return type(found)(found.loss, found.predicted * (1 + self.error), found.of_parameters)

    def _put(self, x):
        if self._result is None:
            self._result = x.clone()
        return self._result.copy_(x)


class WrongGraph(FakeGraph):
    error = 0.2
