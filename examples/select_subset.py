"""Choose a diverse training set from a pool of real and generated images.

Half of the pool is real digits, half comes from a generator that mostly copies them. A random subset takes what comes;
a greedy one picks images that are far from all it has already, so near-copies stay behind.
"""

import numpy as np

import entropick as ep

N = 300

# Your own images would do as well: any uint8 array (n, h, w) or (n, h, w, c).
real = ep.datasets.Digits(n_images=600).load().images
generated = ep.generators.KDE(bandwidth=4.0).fit(real[:100]).sample(600)

images = np.concatenate([real, generated])
source = np.repeat([0, 1], [len(real), len(generated)])  # 0: real, 1: generated
X = ep.features.Pixels().extract(images)  # float32 (n, d); embeddings of your own go in the same way

selectors = {
    "random": ep.selectors.Random(n_samples=N, random_state=0),
    "greedy": ep.selectors.Greedy(n_samples=N, random_state=0),
    "threshold decay": ep.selectors.ThresholdDecay(n_samples=N, threshold=1000.0, random_state=0),
}

print(f"{N} of {len(images)} images, half of them real")
print(f"{'selector':16} {'entropy':>8} {'variance':>9} {'share real':>10}")
for name, selector in selectors.items():
    selector.fit(X, y=source)
    chosen = X[selector.indices_]  # in order of selection; selector.distances_ tells how far each was from the others
    shares = ep.metrics.source_shares(source[selector.indices_], n_sources=2)
    entropy, variance = ep.metrics.knn_entropy(chosen, k=1), ep.metrics.total_variance(chosen)
    print(f"{name:16} {entropy:8.1f} {variance:9.0f} {shares[0]:10.2f}")

print("Higher entropy, and a larger share of real images: the copies were left behind.")
