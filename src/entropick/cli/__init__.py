"""The command line. Thin: it parses, calls, prints and chooses the exit code; the only place that prints.

Exit codes: 0 done, 1 a condition of --fail-if holds, 2 a mistake that the message explains, 70 what nobody expected
(the traceback is in a file that the message names), 75 the budget is spent or a signal asked to stop (repeat the
command), 130 interrupted.

With ``--json`` stdout is one line, the summary of the command, and all that is for people goes to stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
import typing
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import tyro
from tyro.constructors import ConstructorRegistry

from entropick import __version__
from entropick.cli.completion import Completion
from entropick.cli.flags import Ended, Failed, numbers
from entropick.cli.inspect import Export, Report, Status, Verify
from entropick.cli.run import Run
from entropick.cli.score import Score
from entropick.cli.select import Select
from entropick.cli.terminal import harmless, steady_output
from entropick.component import check_known
from entropick.errors import BudgetSpent, ConfigError, EntropickError, ProcessLost, cut, memory_error, storage_error
from entropick.processes.ranks import Ranks, joined
from entropick.processes.spread import plain_warning
from entropick.work import stoppable

EXIT_MISTAKE = 2
EXIT_UNEXPECTED = 70
EXIT_BUDGET = 75
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
_JSON = "--json"

Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Select, tyro.conf.subcommand("select")]
    | Annotated[Score, tyro.conf.subcommand("score")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Completion, tyro.conf.subcommand("completion")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    warnings.formatwarning = plain_warning
    try:
        with steady_output(), joined() as ranks:
            exit_code = _lead(arguments, ranks) if ranks.rank == 0 else _follow(ranks)
            sys.stdout.flush()
        ranks.leave(exit_code)
        return exit_code
    except BrokenPipeError:
        # The reader of the output has ended (`entropick --help | head`): print nothing more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except EntropickError as error:  # before there was a command
        return _early(str(error), "error: ", EXIT_MISTAKE).code
    except Exception as error:
        return _tell_unexpected(error)


def _tell_unexpected(error: Exception) -> int:
    """One line; the traceback goes into a file, because it helps nobody but who mends it."""
    text = "".join(traceback.format_exception(error))
    what = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="entropick-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
        where = f"The traceback is in {file.name}; please report it"
    except OSError:
        where = "Its traceback could not be written"
    print(f"entropick: error: something unexpected, {harmless(what)}. {where}.", file=sys.stderr)
    return EXIT_UNEXPECTED


def _lead(arguments: Sequence[str], ranks: Ranks) -> int:
    """Run the command; processes that `ranks` has beside this one end with the same exit code."""
    exit_code = EXIT_UNEXPECTED
    try:
        exit_code = _run(arguments, ranks)
    except SystemExit as leaving:  # as tyro leaves
        exit_code = int(leaving.code or 0)
        raise
    finally:
        ranks.dismiss(exit_code)
    return exit_code


def _follow(ranks: Ranks) -> int:
    """Compute a share of what the first process asks for, and print nothing."""
    try:
        return ranks.follow()
    except ProcessLost:
        return EXIT_INTERRUPTED


def _run(arguments: Sequence[str], ranks: Ranks) -> int:
    if "--version" in arguments and {*arguments} <= {"--version", _JSON, "--quiet"}:
        print(
            json.dumps({"exit_code": 0, "version": __version__}) if _JSON in arguments else f"entropick {__version__}"
        )
        return 0
    try:
        ended = _ended(arguments, ranks)
    except SystemExit as leaving:  # as tyro leaves, when it has said what is wrong
        if leaving.code and _JSON in arguments:
            _print_summary(arguments, Ended({"error": "the command line is not understood"}, int(leaving.code)))
        raise
    if _JSON in arguments:
        _print_summary(arguments, ended)
    return ended.code


def _ended(arguments: Sequence[str], ranks: Ranks) -> Ended:
    """Run the command; what ends it early is told on stderr."""
    try:
        command = _parsed(arguments)
        if sys.flags.optimize > 1 and _draws(command):
            raise ConfigError(
                "expected a Python that keeps docstrings, without which Altair draws no charts, but it is run with -OO "
                "or PYTHONOPTIMIZE=2. Use -O, or PYTHONOPTIMIZE=1."
            )
        with stoppable() if isinstance(command, Run | Select | Score) else contextlib.nullcontext():
            try:
                if isinstance(command, Completion):
                    return command.execute(Command)
                return command.execute(ranks) if isinstance(command, Run) else command.execute()
            except SystemExit as leaving:
                raise RuntimeError(f"code of another package has called sys.exit({leaving.code!r})") from leaving
    except BudgetSpent as stop:
        return _early(str(stop), "", EXIT_BUDGET)
    except KeyboardInterrupt:
        return _early("interrupted. What was finished is kept; repeat the same command to go on.", "", EXIT_INTERRUPTED)
    except EntropickError as error:
        more = error.summary if isinstance(error, Failed) else {}
        return _early(str(error), "error: ", EXIT_MISTAKE, **more)
    except BrokenPipeError:
        raise
    except (MemoryError, RuntimeError) as error:
        if (told := memory_error(error)) is None:
            raise
        return _early(str(told), "error: ", EXIT_MISTAKE)
    except OSError as error:
        if error.errno is None or error.filename is None:
            raise
        return _early(str(storage_error(error)), "error: ", EXIT_MISTAKE)


def _draws(command: Any) -> bool:
    """Whether the command imports what draws charts."""
    return isinstance(command, Run | Select | Score | Report) or (isinstance(command, Status) and command.costs)


def _parsed(arguments: Sequence[str]) -> Any:
    """The command that the arguments ask for; SystemExit once it is said what is wrong with them, or help is given."""

    registry = ConstructorRegistry()
    registry.primitive_rule(numbers)
    commands = {of.__metadata__[0].name: of.__origin__ for of in typing.get_args(Command)}
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    if name:
        check_known(name, tuple(commands), "command")

    def parsed(arguments: Sequence[str]) -> Any:
        # A command by itself: what is said of it then names its own help.
        return tyro.cli(
            commands.get(name, Command),
            prog=f"entropick {name}".rstrip(),
            description=None
            if name
            else "Self-consuming loops of generative models, measured and resumable.\n\n"
            "entropick --version prints the version; entropick COMMAND --help says what a command takes.",
            args=arguments[1:] if name else arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            registry=registry,
        )

    with _colours_as_asked():
        if (short := [cut(argument) for argument in arguments]) == list(arguments):
            return parsed(arguments)
        # Messages repeat arguments as they are: what is wrong with long ones is said of short ones.
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                return parsed(arguments)
        except SystemExit:
            parsed(short)
            raise


@contextlib.contextmanager
def _colours_as_asked() -> Iterator[None]:
    """Within, tyro, which does not look at NO_COLOR, takes the terminal for one without colours where that is set."""
    before = os.environ.get("TERM")
    if not os.environ.get("NO_COLOR") or before is None:
        yield
        return
    os.environ["TERM"] = "dumb"
    try:
        yield
    finally:
        os.environ["TERM"] = before


def _early(reason: str, kind: str, code: int, **summary: Any) -> Ended:
    print(f"entropick: {kind}{harmless(reason)}", file=sys.stderr)
    return Ended({"error": reason, **summary}, code)


def _print_summary(arguments: Sequence[str], ended: Ended) -> None:
    """One line of JSON, whatever happened."""
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    print(json.dumps({"command": command, "exit_code": ended.code, **ended.summary}, default=str))
