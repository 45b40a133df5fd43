"""Generators: what is trained in each iteration and makes the next images."""

from entropick.generators.base import Generator
from entropick.generators.ddpm import DDPM
from entropick.generators.export import save_pipeline
from entropick.generators.kde import KDE
from entropick.generators.pipeline import Pipeline

__all__ = ["DDPM", "KDE", "Generator", "Pipeline", "save_pipeline"]
