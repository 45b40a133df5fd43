"""A selection of a Hugging Face dataset: `.select(...)` with the chosen rows. Needs `pip install datasets`."""

import sys

try:
    from datasets import Dataset
except ImportError:
    sys.exit("the package 'datasets' is not installed: pip install datasets")

import numpy as np

import entropick as ep

# Any dataset would do, for instance datasets.load_dataset("cifar10", split="train").
digits = ep.datasets.Digits(n_images=600).load()
dataset = Dataset.from_dict({"image": digits.images[..., 0].tolist(), "label": digits.labels.tolist()})

# Features of all rows: pixels here, else a column of embeddings: np.asarray(dataset["embedding"], np.float32).
images = np.asarray(dataset["image"], np.uint8)
X = ep.features.Pixels().extract(images)

selector = ep.selectors.Greedy(n_samples=100, random_state=0).fit(X)
chosen = dataset.select(selector.indices_)

print(f"{len(chosen)} of {len(dataset)} rows, the first four show {', '.join(map(str, chosen['label'][:4]))}")
