"""What all rooms share: one thread per process, so that times and float sums are those of the checked machine."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in the background of a shell, pytest and all that its tests start would not hear of Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
