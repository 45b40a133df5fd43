"""Feature spaces: where distances between images are measured.

`base.py` opens the room with the contract. `Pixels` needs nothing; `DINOv2`, `Inception` and `Encoder` need weights,
which `network.py` finds, never downloads, and runs; `Classifier` learns from labels. `cache.py` keeps features on the
disk. Embeddings that were made elsewhere need no class: selectors and measures take any matrix of numbers.
"""

from entropick.features.base import Features, LearnedFeatures
from entropick.features.classifier import Classifier
from entropick.features.encoder import DINOv2, Encoder
from entropick.features.inception import Inception
from entropick.features.pixels import Pixels

__all__ = ["Classifier", "DINOv2", "Encoder", "Features", "Inception", "LearnedFeatures", "Pixels"]
