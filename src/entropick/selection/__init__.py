"""Selections without a loop: what a choice tells, and choosing from files into files."""

from entropick.selection.appraisal import Appraisal, Certificate, Measures, appraise
from entropick.selection.choice import Choice

__all__ = ["Appraisal", "Certificate", "Choice", "Measures", "appraise"]
