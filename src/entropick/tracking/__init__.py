"""What trackers are told of a study: each finished iteration of each run once, from the ledgers alone.

`points.py` is what the lines of a ledger say of an iteration, `tracker.py` what a tracker has to do, `tensorboard.py`,
`trackio.py` and `wandb.py` are those that do it. `study_log.py` brings them together: which run of a study is which run
of the tracker, what it has already, and that one which fails never stops a study. Nothing is imported, written or sent
unless asked for by name.
"""

from entropick.tracking.points import Point, points_of
from entropick.tracking.study_log import StudyLog
from entropick.tracking.tracker import REGISTRY, Tracker, TrackerRun, tracker_of

__all__ = ["REGISTRY", "Point", "StudyLog", "Tracker", "TrackerRun", "points_of", "tracker_of"]
