"""Everything that entropick raises on purpose, and the warnings it gives.

::

    EntropickError
    ├── InputError            data or a parameter is not what was expected (also a ValueError)
    │   └── ConfigError       a study file, a preset, a name or an override is not usable
    ├── RunError              a run directory cannot be used as it is
    │   ├── RunLocked         another process is working in it
    │   ├── RunChanged        its config or data differ from what was asked now
    │   ├── RunDamaged        a ledger line or a file is not what was written
    │   └── UndeclaredInput   a stage asked for something that is not part of its key
    ├── StorageError          a file could not be read or written (full or broken disk, no permission)
    ├── MemoryExhausted       memory has run out, the machine's or a GPU's
    ├── MissingDependency     an optional package is not installed
    ├── TrainingDiverged      the loss of a generator became NaN or infinite
    ├── StudyFailed           one or more arms of a study failed; the others are done
    ├── ProcessLost           one of several processes that share a run has ended
    └── BudgetSpent           stopped on purpose at a checkpoint; the same call goes on

    EntropickWarning
    ├── DuplicateWarning      fewer distinct points than were needed
    ├── TrustWarning          what is trusted is like a part of the rows only
    └── TrackerWarning        a tracker has failed; the study goes on without it

Every message says what was expected, what came, and what to do.
"""

from __future__ import annotations

import errno
import traceback

# Letters of a value in a message.
_SHOWN = 200
# What is the matter with a path itself, on whatever disk: nothing there, a folder, a loop of links, no permission.
_OF_PATHS = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO),
    *(errno.EACCES, errno.EPERM),
)


class EntropickError(Exception):
    """The root of every exception that entropick raises on purpose."""


class InputError(EntropickError, ValueError):
    """Data or a parameter is not what was expected."""


class ConfigError(InputError):
    """A study file, a preset, a component's name or an override is not usable."""


class RunError(EntropickError):
    """A run directory cannot be used as it is."""


class RunLocked(RunError):
    """Another process is working in the run directory."""


class RunChanged(RunError):
    """The run directory was made with another config or other data."""


class RunDamaged(RunError):
    """A ledger line or a file is not what was written."""


class UndeclaredInput(RunError):
    """A stage asked for something that it had not declared, and that is therefore not part of its key."""


class StorageError(EntropickError):
    """A file could not be read or written; nothing half-written is left behind."""


class MemoryExhausted(EntropickError):
    """Memory has run out, the machine's or a GPU's."""


class MissingDependency(EntropickError, ImportError):
    """An optional package is not installed."""


class TrainingDiverged(EntropickError):
    """The loss of a generator became NaN or infinite."""


class StudyFailed(EntropickError):
    """One or more arms of a study failed; what the others did is kept."""


class ProcessLost(EntropickError):
    """One of several processes that share a run has ended; what was finished is kept and the same call goes on."""


class BudgetSpent(EntropickError):
    """The time budget was spent; a checkpoint was written and the same call goes on."""


class EntropickWarning(UserWarning):
    """The root of every warning that entropick gives."""


class DuplicateWarning(EntropickWarning):
    """There are fewer distinct points than were needed."""


class TrustWarning(EntropickWarning):
    """What a rule trusts is like a part of the rows only: it turns a choice toward that part."""


class TrackerWarning(EntropickWarning):
    """A tracker has failed, and the study goes on without it."""


def shown(value: object) -> str:
    """A value of a user as messages have it, in quotes where it is text: of a long one its first 200 letters."""
    try:
        return cut(repr(value))
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"
    except Exception:  # whatever code of others does when it is asked
        return f"something of type {type(value).__name__}"


def cut(text: object) -> str:
    """What a user has named, as messages have it without quotes: of something long its first 200 letters.

    >>> cut("word"), len(cut("x" * 10_000))
    ('word', 201)
    """
    text = str(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def counted(n: int, noun: str) -> str:
    """A number of things, one or many.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def is_of_disk(error: BaseException | None) -> bool:
    """Whether the disk, the network or the system failed, and not the file: the next time all may be well.

    What is judged by such an error, such as that an image cannot be used, would be remembered wrongly.
    """
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_PATHS


def storage_error(error: OSError) -> StorageError:
    """What a user is told of an OSError wherever it comes from."""
    where = "a file" if error.filename is None else cut(error.filename)
    return StorageError(
        f"could not read or write {where}: {error.strerror or error}. Mend the disk or the permissions, then repeat "
        "the same command: what was finished is kept."
    )


def memory_error(error: BaseException) -> MemoryExhausted | None:
    """What a user is told where memory has run out, wherever that was; None for any other error.

    >>> memory_error(KeyError("x")) is None
    True
    """
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        what = "the GPU is out of memory"
        advice = "A smaller batch_size, width or sampling_chunk, or fewer workers (--workers) on one GPU, take less"
    elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error)):
        what = "out of memory"
        advice = "Fewer or smaller images, an encoder's space instead of pixels, or fewer workers (--workers) take less"
    else:
        return None
    reason = " ".join(str(error).partition(". GPU")[0].split())
    return MemoryExhausted(f"{what}{f' ({cut(reason)})' if reason else ''}. {advice}; what was finished is kept.")


def as_told(error: Exception) -> EntropickError:
    """An error as another process can raise it, and as a user is told of it: with its traceback where nobody expected
    it.

    Packages of others have errors of their own, which a process may be unable to send, or another to make again: of
    these goes on which of the errors here they are, and what they say.
    """
    if isinstance(error, EntropickError):
        own = next(of for of in type(error).__mro__ if of.__module__ == __name__)
        is_plain = type(error) is own and error.args == (str(error),) and not vars(error)
        return error if is_plain else own(str(error))
    if isinstance(error, OSError):
        return storage_error(error)
    return memory_error(error) or StudyFailed("".join(traceback.format_exception(error)))
