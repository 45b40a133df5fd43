"""Study files: TOML in, components out."""

from entropick.config.components import build, component_class, is_known, kinds, parse_value
from entropick.config.study_files import load_study, presets, set_parameter

__all__ = ["build", "component_class", "is_known", "kinds", "load_study", "parse_value", "presets", "set_parameter"]
