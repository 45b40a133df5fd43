"""A small classifier's own features: an evaluation space that needs no pretrained weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from entropick import arrays
from entropick.errors import InputError
from entropick.features.base import LearnedFeatures
from entropick.features.network import exact_arithmetic, hash_of, in_batches
from entropick.processes.hardware import limited_threads, usable_device
from entropick.random_stream import RandomStream
from entropick.work import Arrays, State, Work

_WIDTH = 84
_BATCH = 64
_EXTRACTED_TOGETHER = {"cpu": 32, "cuda": 1024}
_LEARNING_RATE = 2e-3
_HELD_OUT = 0.1
# From this side on, an image is halved after the first convolution too.
_LARGE = 16


@dataclass(kw_only=True)
class Classifier(LearnedFeatures):
    """The last hidden layer of a small convolutional network (LeNet) that learned the labels of real images.

    The convention of a "LeNet FID" on digits, for which features of natural photographs say little: 84 activations in
    front of the classes, here after their ReLU. A tenth of the images is held out, and `accuracy_` is the share of it
    that is classified rightly: features of a network that cannot tell the classes apart say little either.

    Learning takes place on the CPU in one thread, whatever the surroundings, so that it gives the same bits again on
    the same machine; on a GPU, where one asks for it, it is much faster and other bits each time. What was learned
    there is known as learned there. It does not depend on a loop's seed: all arms and seeds of a study are measured in
    one space.

    Parameters
    ----------
    path
        A ``.npz`` file with ``images`` and ``labels`` to learn from; None takes a loop's real images.
    steps
        Gradient steps of Adam on batches of 64.
    seed
        Of the first weights, the order of the images and the held-out tenth.
    device
        Where it learns and extracts: "cpu", "cuda", or "auto" for a GPU where there is one.

    Examples
    --------
    >>> images = np.zeros((40, 8, 8), np.uint8)
    >>> images[20:] = 255
    >>> space = Classifier(steps=20).fit(images, np.repeat([0, 1], 20))
    >>> space.extract(images).shape, space.accuracy_
    ((40, 84), 1.0)
    """

    kind: ClassVar[str] = "classifier"
    steps: int = 1000
    seed: int = 0
    device: str = "cpu"

    @property
    def name(self) -> str:
        """``"classifier"``."""
        return "classifier"

    @property
    def fitted(self) -> bool:
        """Whether it has learned."""
        return hasattr(self, "weights_")

    def check(self) -> None:
        """Raise InputError for an unusable path, number of steps, seed or device."""
        super().check()
        arrays.check_choice(self.device, ("auto", "cpu", "cuda"), name="device")
        usable_device(self.device)
        arrays.check_count(self.steps, name="steps")
        arrays.check_count(self.seed, name="seed", minimum=0)

    def check_lessons(self, images: Any, labels: Any) -> None:
        """Raise InputError unless there are labels, one per image, of at least two classes."""
        self._lessons(images, labels)

    def describe(self) -> dict[str, Any]:
        """The parameters, and the device where that is no processor: older results keep their names."""
        return self._with_device(self.device)

    def identity(self) -> dict[str, Any]:
        """`describe`, and a hash of what it learns from: the file, or the images that it was fitted on."""
        learned_from = self.learned_from_ if self.fitted else self._file_hash()
        return {**self._with_device(usable_device(self.device)), "learned_from": learned_from}

    def _with_device(self, device: str) -> dict[str, Any]:
        known = {**super().describe(), "device": device}
        return known if device != "cpu" else {key: value for key, value in known.items() if key != "device"}

    def width(self, shape: tuple[int, ...]) -> int:
        """84, whatever the shape."""
        return _WIDTH

    def fit(self, images: Any, labels: Any, *, work: Work | None = None) -> Self:
        """Learn the labels.

        Parameters
        ----------
        images
            uint8 ``(n, h, w, c)`` or ``(n, h, w)``.
        labels
            Integers ``(n,)`` of at least two classes.
        work
            Where progress is reported.

        Raises
        ------
        InputError
            For other images or labels.
        """
        import torch
        from torch.nn import functional

        self.check()
        pixels, classes = self._lessons(images, labels)
        self.classes_, targets = np.unique(classes, return_inverse=True)
        self.shape_ = pixels.shape[1:]
        self.learned_from_ = self._file_hash() or _hash(pixels, classes)
        stream, work = RandomStream(self.seed, stage="classifier"), work or Work()
        order = stream.rng().permutation(len(pixels))
        n_held_out = max(1, round(_HELD_OUT * len(pixels)))
        held_out, taught = order[:n_held_out], order[n_held_out:]
        device = usable_device(self.device)
        with limited_threads(1), exact_arithmetic(device):
            X, y = _as_tensor(pixels).to(device), torch.from_numpy(targets.astype(np.int64)).to(device)
            network = _network(self.shape_, len(self.classes_), seed=stream.integer(chunk=1)).to(device)
            optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
            for step, rows in enumerate(_batches(taught, stream, self.steps), start=1):
                loss = functional.cross_entropy(network(X[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                work.progress(step, self.steps, "learning to classify")
            self.weights_ = {key: value.detach().cpu().numpy() for key, value in network.state_dict().items()}
            scores = self._in_batches(network, pixels[held_out])
        self.accuracy_ = float(np.mean(scores.argmax(axis=1) == targets[held_out]))
        self.n_held_out_ = n_held_out
        return self

    def extract(self, images: Any) -> arrays.Features:
        """Return float32 ``(n, 84)``, row i for image i.

        Raises
        ------
        InputError
            For images of another shape than it learned from, or if it has not learned.
        """
        if not self.fitted:
            raise InputError("classifier: expected to have learned. Call fit(images, labels), or give path = FILE.npz.")
        images = arrays.check_images(images)
        if images.shape[1:] != self.shape_:
            raise InputError(f"classifier: learned from images of shape {self.shape_}, got {images.shape[1:]}.")
        network = _network(self.shape_, len(self.classes_), seed=0)
        network.load_state_dict(_tensors(self.weights_))
        return self._in_batches(network[:-1].to(usable_device(self.device)), images)

    def _in_batches(self, network: Any, images: arrays.Images) -> arrays.Features:
        device = usable_device(self.device)
        forward = lambda batch: network(_as_tensor(np.stack(batch)).to(device))  # noqa: E731
        with exact_arithmetic(device):
            return in_batches(forward, images, size=_EXTRACTED_TOGETHER[device])

    def summary(self) -> dict[str, Any]:
        """Share of held-out images that it classifies rightly, and their number."""
        return {"accuracy": self.accuracy_, "n_held_out": self.n_held_out_, "n_classes": len(self.classes_)}

    def state(self) -> tuple[Arrays, State]:
        """Weights, and what is known of them."""
        known = {
            "shape": list(self.shape_),
            "classes": self.classes_.tolist(),
            "learned_from": self.learned_from_,
            "accuracy": self.accuracy_,
            "n_held_out": self.n_held_out_,
        }
        return self.weights_, known

    def restore(self, arrays: Arrays, state: State) -> Self:
        """Take back what `state` gave."""
        self.weights_ = {name: np.array(value) for name, value in arrays.items()}
        self.shape_ = tuple(state["shape"])
        self.classes_ = np.array(state["classes"], np.int64)
        self.learned_from_ = state["learned_from"]
        self.accuracy_, self.n_held_out_ = state["accuracy"], state["n_held_out"]
        return self

    def _file_hash(self) -> str | None:
        return None if self.path is None else hash_of(Path(self.path))

    def _lessons(self, images: Any, labels: Any) -> tuple[arrays.Images, arrays.Integers]:
        pixels = arrays.check_images(images)
        if labels is None:
            raise InputError(
                "classifier: expected labels to learn from, but these images have none. Label them (an array 'labels', "
                "one subfolder per class), give path = FILE.npz, or take another feature space."
            )
        classes = arrays.check_sources(labels, len(pixels), name="labels")
        if (n_classes := len(np.unique(classes))) < 2:
            raise InputError(f"labels: expected at least 2 classes to tell apart, got {n_classes}.")
        return pixels, classes


def _network(shape: tuple[int, ...], n_classes: int, *, seed: int) -> Any:
    """LeNet-5 (LeCun et al. 1998) with ReLU and one hidden layer: 6 and 16 maps, 4 x 4 cells, 84 units, the classes."""
    import torch
    from torch import nn

    height, width, channels = shape
    first = [nn.MaxPool2d(2)] if min(height, width) >= _LARGE else []
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed a caller's random numbers on GPUs as well.
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            *first,
            nn.Conv2d(6, 16, 5, padding=2),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Linear(16 * 16, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, n_classes),
        )


def _hash(pixels: arrays.Images, classes: arrays.Integers) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    digest.update(np.ascontiguousarray(classes).data)
    return digest.hexdigest()


def _batches(rows: arrays.Integers, stream: RandomStream, n: int) -> Iterator[arrays.Integers]:
    """Consecutive pieces of an endless row of permutations."""
    size = min(_BATCH, len(rows))
    per_epoch = len(rows) // size
    for step in range(n):
        epoch, piece = divmod(step, per_epoch)
        if piece == 0:
            order = stream.rng(chunk=2 + epoch).permutation(rows)
        yield order[piece * size : (piece + 1) * size]


def _as_tensor(images: arrays.Images) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)) / 127.5 - 1.0


def _tensors(weights: Arrays) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
