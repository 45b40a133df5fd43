"""The run directory: what a command leaves on the disk, how it is written, resumed, locked, verified and read.

Knows no machine learning. `inputs.py` is what a stage depends on, `directory.py` passes stages, `ledger.py` says which
are done, `seal.py` that the small files beside it are as they were; `folder.py` is the folder that they work in,
`work_folder.py` what lies beside it and can be computed again, `history.py` reads all of it, `files.py` writes whole
files or none.

Files are written aside, fsynced, hashed and renamed; then, and only then, one line in the ledger says that the stage
is done. A process can be killed at any moment: what has its ledger line is kept, everything else is computed again from
the last checkpoint inside its stage.
"""

from entropick.run.directory import Event, Observer, Outcome, Run, ignore
from entropick.run.files import fingerprint, read_content, read_json, remove_partial, write_atomic, write_json
from entropick.run.folder import (
    MAY_GROW,
    begun_with,
    check_config,
    flatten,
    free_bytes,
    is_locked,
    locked,
    read_config,
    record_environment,
)
from entropick.run.history import (
    History,
    Place,
    Verification,
    find_runs,
    places,
    read_study_file,
    repair_run,
    verify,
    verify_run,
)
from entropick.run.inputs import NUMERICS, Content, Given, Inputs
from entropick.run.ledger import LEDGER, Entry, Ledger
from entropick.run.seal import STUDY, Seal
from entropick.run.work_folder import Pace, Shared

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
    "Seal",
    "Shared",
    "Verification",
    "begun_with",
    "check_config",
    "find_runs",
    "fingerprint",
    "flatten",
    "free_bytes",
    "ignore",
    "is_locked",
    "locked",
    "places",
    "read_config",
    "read_content",
    "read_json",
    "read_study_file",
    "record_environment",
    "remove_partial",
    "repair_run",
    "verify",
    "verify_run",
    "write_atomic",
    "write_json",
]
