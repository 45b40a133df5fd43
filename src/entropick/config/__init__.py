"""Study files: TOML in, components out."""

from entropick.config.components import build, kinds
from entropick.config.study_files import load_study, presets
from entropick.config.values import parse_value

__all__ = ["build", "kinds", "load_study", "parse_value", "presets"]
