"""Feature spaces: where distances between images are measured."""

from entropick.features.base import Features
from entropick.features.pixels import Pixels

__all__ = ["Features", "Pixels"]
