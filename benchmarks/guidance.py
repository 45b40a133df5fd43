"""Classifier-free guidance on the digits: the asked-for class against diversity, at several weights.

    python benchmarks/guidance.py --network mlp

One conditional model is trained on 1,024 of scikit-learn's digits and sampled at each weight from the same streams, as
many images as it was trained on. A classifier that was trained on the same real digits tells which digit an image
shows; its accuracy on held-out digits is the first line. Vendi score: exp of the entropy of the eigenvalues of the
cosine similarities between images, averaged over the asked-for classes; precision and recall against held-out digits.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
from sklearn.svm import SVC

from entropick.datasets import Digits
from entropick.features import Pixels
from entropick.generators import DDPM
from entropick.metrics import precision, recall
from entropick.random_stream import RandomStream

SETTINGS = {
    "mlp": {"network": "mlp", "width": 256, "depth": 2, "steps": 6000, "learning_rate": 3e-3, "ema": 0.998},
    "unet": {"network": "unet", "width": 32, "depth": 1, "steps": 1500, "learning_rate": 1e-3, "ema": 0.99},
}


def flat(images: np.ndarray) -> np.ndarray:
    """float64 ``(n, h w c)``."""
    return images.reshape(len(images), -1).astype(np.float64)


def vendi(images: np.ndarray) -> float:
    """How many different images there are, in effect."""
    rows = flat(images)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12
    share = np.linalg.eigvalsh(rows @ rows.T / len(rows)).clip(1e-15)
    return float(np.exp(-(share * np.log(share)).sum()))


def line(name: str, images: np.ndarray, labels: np.ndarray, classifier: SVC, reference: np.ndarray) -> str:
    """One row of the table."""
    right = (classifier.predict(flat(images)) == labels).mean()
    within = np.mean([vendi(images[labels == label]) for label in np.unique(labels)])
    n = min(len(images), len(reference))
    roles = {
        "generated": Pixels().extract(images[:n]),
        "reference": Pixels().extract(reference[:n]),
    }
    return f"| {name} | {right:.3f} | {within:.2f} | {precision(**roles):.3f} | {recall(**roles):.3f} |"


def main() -> None:
    """Train once, sample at each weight, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(SETTINGS), default="mlp")
    parser.add_argument("--steps", type=int, help="gradient steps")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 2.0, 5.0])
    arguments = parser.parse_args()
    real = Digits(n_images=1024).load()
    assert real.labels is not None
    classifier = SVC(C=10.0, gamma=1e-5).fit(flat(real.images), real.labels)
    settings: dict[str, Any] = {"warmup_steps": 200, "sampling_steps": 100, "device": "cpu", "precision": "float32"}
    settings |= SETTINGS[arguments.network] | ({"steps": arguments.steps} if arguments.steps else {})
    model = DDPM(conditional=True, **settings)
    model.fit(real.images, real.labels, stream=RandomStream(0, 1, "train"))
    print("| | asked-for class | Vendi within a class | precision | recall |\n| --- | ---: | ---: | ---: | ---: |")
    held_out = _held_out_labels(real.reference)
    print(line("held-out digits", real.reference, held_out, classifier, real.images))
    for weight in arguments.weights:
        guided = dataclasses.replace(model, guidance=weight).restore(*model.state())
        stream = RandomStream(0, 1, "sample")
        images, labels = guided.sample(1024, stream=stream), guided.sample_labels(1024, stream=stream)
        assert labels is not None
        print(line(f"guidance {weight:g}", images, labels, classifier, real.reference), flush=True)


def _held_out_labels(reference: np.ndarray) -> np.ndarray:
    """The labels of the held-out digits, which a dataset does not tell, by their pixels."""
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    pixels = np.round(levels * (255 / 16)).astype(np.uint8)
    known = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    return np.array([known[image.tobytes()] for image in reference])


if __name__ == "__main__":
    main()
