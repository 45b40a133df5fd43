"""A selection as a torch `Subset`: train on the chosen images without copying the dataset."""

import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import entropick as ep

data = ep.datasets.Digits(n_images=1200).load()
pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1  # (n, c, h, w) in -1..1
dataset = TensorDataset(pixels, torch.from_numpy(data.labels))

X = ep.features.Pixels().extract(data.images)
selector = ep.selectors.Greedy(n_samples=300, random_state=0).fit(X)

# Subset wants plain indices; in order of selection, so that the first 100 are the greedy choice of 100.
subset = Subset(dataset, selector.indices_.tolist())
half = Subset(dataset, selector.indices_[:150].tolist())

loader = DataLoader(subset, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0))
images, labels = next(iter(loader))
print(f"{len(subset)} of {len(dataset)} images, {len(half)} in the first half, batches of {tuple(images.shape)}")
print(f"labels in the first batch: {sorted(set(labels.tolist()))}")
