"""Diffusion models: networks, the process they reverse, training and sampling, and how both are executed."""

from entropick.diffusion.networks import build_network

__all__ = ["build_network"]
