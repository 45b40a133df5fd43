"""Run a self-consuming loop, look at its numbers, and see it resume.

In each iteration a new generator is trained on a set chosen from everything so far, real and generated, and makes the
next images. A kernel density estimate trains in no time; `ep.generators.DDPM(network="mlp", ...)` is a real one.
"""

import sys
import tempfile
import time
from pathlib import Path

import entropick as ep

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "run"

loop = ep.Loop(
    dataset=ep.datasets.Digits(n_images=256),
    paradigm=ep.Accumulate(),  # the pool: real images and all generated since
    selector=ep.selectors.Greedy(n_samples=256),  # what chooses each training set from it
    generator=ep.generators.KDE(bandwidth=8.0),
    features=ep.features.Pixels(),
    n_iterations=3,
    seed=0,
)

history = loop.run(folder)
print(f"{'iteration':9} {'GS':>7} {'entropy':>8} {'recall':>7} {'share real':>10}")
for row in history.metrics:
    n = row["iteration"]
    shares = history.find(n, "select").values["shares"]
    score, entropy, recall = (row[f"{name}/pixels"] for name in ("generalization_score", "knn_entropy", "recall"))
    print(f"{n:9} {score:7.1f} {entropy:8.1f} {recall:7.2f} {shares['0']:10.2f}")

generated = history.load(3, "generated.npy")
print(f"iteration 3 made {len(generated)} images of shape {generated.shape[1:]}")

# The same call goes on where a run was interrupted; of a finished one it only reads the results.
started = time.monotonic()
again = loop.run(folder)
print(f"repeated in {time.monotonic() - started:.1f} s, same results: {again.seal == history.seal}")
print(f"everything is in {folder}")
