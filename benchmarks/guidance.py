"""Classifier-free guidance on the digits: the asked-for class against diversity, at several weights, over seeds.

    python benchmarks/guidance.py

The protocol, written down before it was run:

- Conditional perceptrons (w = 256) are trained on the same 1,024 of scikit-learn's digits. Each seed gives a model its
  own first weights, order, noise and samples; the images are sampled at every weight from the same streams, as many as
  were trained on, balanced classes.
- The budget is chosen without any sample: of 250, 500, 1,000, 2,000, 4,000 and 8,000 steps the one after which a model
  (of a seed that is not measured) denoises held-out digits best. Fewer steps leave the model unfinished; after more of
  them it knows its training set by heart, classes included, and guidance has nothing left to add. To see the latter,
  the same is measured at 6,000 steps.
- Asked-for class: the share that a support vector machine, trained on the same real digits, assigns to the class that
  was asked for. Diversity: the Vendi score within a class, averaged, and recall against the held-out digits, both in
  pixels. Precision is told beside them, because a Vendi score also rises where images leave the data.
- Guidance is expected to raise the first and to lower both measures of diversity. A measure has risen or fallen from
  weight 0 where the 95 % t-interval of its paired differences over seeds says so; else it is undecided.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from entropick.datasets import Digits
from entropick.diffusion.process import NoiseTable
from entropick.features import Pixels
from entropick.generators import DDPM
from entropick.metrics import precision, recall, vendi_score
from entropick.random_stream import RandomStream

N_IMAGES = 1024
BUDGETS = (250, 500, 1000, 2000, 4000, 8000)
# The digits preset's, with classes.
SETTINGS: dict[str, Any] = {"network": "mlp", "width": 256, "depth": 2, "learning_rate": 3e-3, "ema": 0.998}
SETTINGS |= {"warmup_steps": 200, "sampling_steps": 100, "conditional": True, "precision": "float32", "device": "cpu"}
MEASURES = ("asked-for class", "Vendi within a class", "recall", "precision")
CHOOSING_SEED = 1000
N_DRAWS = 16


@dataclasses.dataclass(frozen=True)
class Digit:
    """Real digits, held-out ones, and the judge of both; labels of all."""

    images: np.ndarray
    labels: np.ndarray
    reference: np.ndarray
    reference_labels: np.ndarray
    judge: SVC

    @classmethod
    def load(cls) -> Digit:
        """Split as a loop splits them."""
        real = Digits(n_images=N_IMAGES).load()
        assert real.labels is not None
        levels, labels = load_digits(return_X_y=True)
        pixels = np.round(levels * (255 / 16)).astype(np.uint8)
        # A dataset does not tell the labels of its reference; their pixels do.
        known = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
        held_out = np.array([known[image.tobytes()] for image in real.reference])
        judge = SVC(C=10.0, gamma=1e-5).fit(Pixels().extract(real.images), real.labels)
        return cls(real.images, real.labels, real.reference, held_out, judge)

    def measured(self, images: np.ndarray, labels: np.ndarray, others: np.ndarray) -> list[float]:
        """The `MEASURES` of images of asked-for labels; recall and precision against `others`."""
        X, reference = Pixels().extract(images), Pixels().extract(others)
        n = min(len(X), len(reference))
        roles = {"generated": X[:n], "reference": reference[:n]}
        right = float((self.judge.predict(X) == labels).mean())
        within = float(np.mean([vendi_score(X[labels == label]) for label in np.unique(labels)]))
        return [right, within, recall(**roles), precision(**roles)]


def trained(digits: Digit, steps: int, seed: int) -> DDPM:
    """One model of the protocol."""
    model = DDPM(**SETTINGS, steps=steps)
    return model.fit(digits.images, digits.labels, stream=RandomStream(seed, 1, "train"))


@torch.no_grad()
def held_out_loss(model: DDPM, digits: Digit) -> float:
    """Mean squared error of the noise predicted in held-out digits, at timesteps drawn as in training."""
    random = torch.Generator().manual_seed(0)
    table = NoiseTable.build(model.timesteps, torch.device("cpu"))
    x = torch.from_numpy(digits.reference).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    classes = torch.from_numpy(digits.reference_labels).long()
    losses = []
    for _ in range(N_DRAWS):
        noise = torch.randn(x.shape, generator=random)
        timestep = torch.randint(model.timesteps, (len(x),), generator=random)
        predicted = model.network_(table.add_noise(x, noise, timestep), timestep, classes)
        losses.append(float((predicted - noise).square().mean()))
    return float(np.mean(losses))


def chosen_budget(digits: Digit) -> int:
    """The steps after which a model denoises held-out digits best."""
    losses = {steps: held_out_loss(trained(digits, steps, CHOOSING_SEED), digits) for steps in BUDGETS}
    print("| steps | held-out loss |\n| ---: | ---: |")
    print("\n".join(f"| {steps:,} | {loss:.4f} |" for steps, loss in losses.items()), flush=True)
    return min(losses, key=losses.__getitem__)


def at_weights(digits: Digit, model: DDPM, weights: Sequence[float], seed: int) -> np.ndarray:
    """(weights, measures) of one model."""
    rows = []
    for weight in weights:
        guided = dataclasses.replace(model, guidance=weight).restore(*model.state())
        stream = RandomStream(seed, 1, "sample")
        labels = guided.sample_labels(N_IMAGES, stream=stream)
        assert labels is not None
        rows.append(digits.measured(guided.sample(N_IMAGES, stream=stream), labels, digits.reference))
    return np.array(rows)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half the width of its 95 % t-interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def cells(values: np.ndarray, *, signed: bool) -> str:
    """One line of a table of (seeds, measures)."""
    found = [interval(column) for column in values.T]
    return " | ".join(f"{mean:{'+' if signed else ''}.3f} ± {half:.3f}" for mean, half in found)


def change(values: np.ndarray) -> str:
    """What the interval of paired differences says."""
    mean, half = interval(values)
    return "undecided" if abs(mean) <= half else "risen" if mean > 0 else "fallen"


def print_table(name: str, found: np.ndarray, weights: Sequence[float]) -> None:
    """One budget's (seeds, weights, measures): means, paired differences to weight 0, and what they say."""
    print(f"\n**{name}**\n\n| guidance | {' | '.join(MEASURES)} |\n| --- | {' | '.join(['---:'] * len(MEASURES))} |")
    for i, weight in enumerate(weights):
        print(f"| {weight:g} | {cells(found[:, i], signed=False)} |")
    for i, weight in list(enumerate(weights))[1:]:
        differences = found[:, i] - found[:, 0]
        print(f"| {weight:g} - {weights[0]:g} | {cells(differences, signed=True)} |")
        print(f"| | {' | '.join(change(column) for column in differences.T)} |", flush=True)


def main() -> None:
    """Choose the budget, then train and sample at it and at those beside it, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="at least 2, for an interval")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 2.0, 5.0], help="the first is compared with")
    parser.add_argument("--beside", type=int, nargs="*", default=[6000], help="budgets measured beside the chosen one")
    arguments = parser.parse_args()
    digits, weights = Digit.load(), arguments.weights
    budget = chosen_budget(digits)
    real = digits.measured(digits.reference, digits.reference_labels, digits.images)
    print(f"\nheld-out digits: {', '.join(f'{name} {value:.3f}' for name, value in zip(MEASURES, real, strict=True))}")
    for steps in (budget, *arguments.beside):
        found = [at_weights(digits, trained(digits, steps, seed), weights, seed) for seed in arguments.seeds]
        print_table(f"{steps:,} steps, {len(found)} seeds", np.array(found), weights)


if __name__ == "__main__":
    main()
