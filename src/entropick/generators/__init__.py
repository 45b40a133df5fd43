"""Generators: what is trained in each iteration and makes the next images."""

from entropick.generators.base import Generator
from entropick.generators.ddpm import DDPM
from entropick.generators.kde import KDE

__all__ = ["DDPM", "KDE", "Generator"]
