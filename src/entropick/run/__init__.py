"""The run directory: what a run is on disk, how it is written, resumed, locked and verified. Knows no machine learning.

Files are written aside, fsynced, hashed and renamed; then, and only then, one line in the ledger says that the stage
is done. A process can be killed at any moment: what has its ledger line is kept, everything else is computed again from
the last checkpoint inside its stage.
"""

from entropick.run.directory import MAY_GROW, Event, Observer, Outcome, Run, check_config, flatten, free_bytes, ignore
from entropick.run.environment import record_environment
from entropick.run.files import fingerprint, read_content, read_json, write_atomic, write_json
from entropick.run.history import History
from entropick.run.inputs import NUMERICS, Content, Given, Inputs
from entropick.run.layout import STUDY, Place, places, read_study_file
from entropick.run.ledger import LEDGER, Entry, Ledger
from entropick.run.lock import is_locked, locked
from entropick.run.shared import Shared
from entropick.run.stage_work import Pace
from entropick.run.verify import Verification, find_runs, repair_run, verify_run

__all__ = [
    "LEDGER",
    "MAY_GROW",
    "NUMERICS",
    "STUDY",
    "Content",
    "Entry",
    "Event",
    "Given",
    "History",
    "Inputs",
    "Ledger",
    "Observer",
    "Outcome",
    "Pace",
    "Place",
    "Run",
    "Shared",
    "Verification",
    "check_config",
    "find_runs",
    "fingerprint",
    "flatten",
    "free_bytes",
    "ignore",
    "is_locked",
    "locked",
    "places",
    "read_content",
    "read_json",
    "read_study_file",
    "record_environment",
    "repair_run",
    "verify_run",
    "write_atomic",
    "write_json",
]
