"""Does a generator make new images, or does it copy its training set?

The generalization score is the mean distance from a generated image to its nearest training image. It has the unit of
the features, so it needs something to be compared with: real images that the generator never saw.
"""

import numpy as np

import entropick as ep

data = ep.datasets.Digits(n_images=700).load()
training, unseen, fresh = data.images, data.reference[:500], data.reference[500:1000]

# Three "generators": one that makes images as new as fresh data, one that adds a little noise, one that copies.
rng = np.random.default_rng(0)
generators = {
    "as good as real": fresh,
    "noisy copies": ep.generators.KDE(bandwidth=6.0).fit(training).sample(500),
    "exact copies": training[rng.integers(len(training), size=500)],
}

pixels = ep.features.Pixels()
T = pixels.extract(training)
baseline = ep.metrics.generalization_score(generated=pixels.extract(unseen), training=T)
print(f"held-out real images: {baseline:.1f} grey levels from the nearest training image")

for name, images in generators.items():
    X = pixels.extract(images)
    score = ep.metrics.generalization_score(generated=X, training=T)
    recall = ep.metrics.recall(generated=X, reference=pixels.extract(unseen))
    verdict = "new images" if score > 0.9 * baseline else "copies"
    print(f"{name:16} {score:6.1f} = {score / baseline:4.2f} of the baseline, recall {recall:.2f}: {verdict}")

print("Recall does not tell copies from new images; the score against the baseline does.")
