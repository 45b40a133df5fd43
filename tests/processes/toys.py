"""What actors are made of in tests."""

import os
import signal
import sys
import time
from dataclasses import dataclass

from entropick.errors import InputError
from entropick.processes import hardware
from entropick.processes.engine import engine


class Counter:
    """Counts what it is told, until its process is lost."""

    def __init__(self, name):
        self.name, self.total = name, 0

    def add(self, number):
        self.total += number
        return self.name, self.total

    def pid(self):
        return os.getpid()

    def gpus(self):
        """The GPUs that it may see, and what part of their memory it may use."""
        return os.environ.get("CUDA_VISIBLE_DEVICES"), hardware._gpu_shares

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def refuse(self):
        raise InputError("expected something else.")

    def fail(self):
        return 1 / 0


class Power:
    """Raises numbers to a power; 0 ends its process, but only the first time if there is no `file` yet."""

    def __init__(self, power, file=None):
        self.power, self.file = power, file

    def __call__(self, number):
        if number == 0 and (self.file is None or not self.file.exists()):
            if self.file is not None:
                self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number < 0:
            raise InputError(f"number: expected at least 0, got {number}.")
        return number**self.power, os.getpid()


@dataclass
class Item:
    """What a process is given to do, by what it is to raise."""

    path: str


class Remade(InputError):
    """An error that takes more to make than what it says."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")


def raising(item, observer):
    """A task that raises errors as packages of others have them."""
    if item.path == "remade":
        raise Remade("something", "it was odd")
    if item.path == "holding":
        error = InputError("it holds what cannot be sent")
        error.how = lambda: None
        raise error


class RowSum:
    """Sums of rows that lie in a file."""

    def __init__(self, X):
        self.X = X

    def __call__(self, rows):
        return self.X[rows].sum(axis=1)


def unmakeable(name):
    raise InputError(f"{name}: expected a file, but there is none.")


if __name__ == "__main__":
    # Prints the numbers of two actors' processes, and waits to be killed.
    with engine(sys.argv[1], 2).connected() as place, place.start(Counter, [("a",), ("b",)]) as actors:
        print(*actors.call("pid"), flush=True)
        time.sleep(60)
