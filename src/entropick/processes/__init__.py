"""Processors and processes: which device computes, the ranks that share one run, tasks spread over processes."""

from entropick.processes.device import usable_device
from entropick.processes.ranks import ALONE, Team, joined
from entropick.processes.spread import run_in_processes

__all__ = ["ALONE", "Team", "joined", "run_in_processes", "usable_device"]
