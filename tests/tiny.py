"""Texts of study files that run in a second."""

from __future__ import annotations

ONE_ARM = """
name = "tiny"
n_images = 24
[loop]
n_iterations = 1
dataset = "digits"
generator = { kind = "kde", bandwidth = 4 }
[arms.one]
paradigm = "replace"
"""
TWO_ARMS = (
    ONE_ARM.replace("n_iterations = 1", "n_iterations = 2")
    + """[arms.two]
paradigm = "accumulate"
selector = "random"
"""
)
