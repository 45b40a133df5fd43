"""What actors are made of in tests."""

import os
import signal
import sys
import time

from entropick.errors import InputError
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

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def refuse(self):
        raise InputError("expected something else.")

    def fail(self):
        return 1 / 0


def unmakeable(name):
    raise InputError(f"{name}: expected a file, but there is none.")


if __name__ == "__main__":
    # Prints the numbers of two actors' processes, and waits to be killed.
    with engine(sys.argv[1], 2).connected() as place, place.start(Counter, [("a",), ("b",)]) as actors:
        print(*actors.call("pid"), flush=True)
        time.sleep(60)
