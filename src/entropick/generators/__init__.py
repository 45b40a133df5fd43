"""Generators: what is trained in each iteration and makes the next images."""

from entropick.generators.base import Generator
from entropick.generators.ddpm import DDPM
from entropick.generators.kde import KDE
from entropick.generators.pipeline import Pipeline, save_pipeline

__all__ = ["DDPM", "KDE", "Generator", "Pipeline", "save_pipeline"]
