"""Processors and processes: which device computes, the ranks that share one run, tasks spread over processes."""

from entropick.processes.hardware import limited_threads, usable_device
from entropick.processes.ranks import ALONE, Ranks, joined
from entropick.processes.spread import run_in_processes

__all__ = ["ALONE", "Ranks", "joined", "limited_threads", "run_in_processes", "usable_device"]
