"""Error messages and exit statuses of the commands.

- Status 1: the command was right but failed (weights, device, disk, a source). Status 2: wrong usage (a file, an
  option). Status 3: series were skipped because they cannot be used; the results of the others are complete.
- An error is one sentence on stderr. With ``--json``, stdout gets a JSON document in every case: the result, or
  ``{"error": …, "message": …, "status": …}``, where ``error`` is the name of the exception's class.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from kronos.cli.reading_options import name_options
from kronos.errors import CheckpointError, DeviceError, KronosError, SourceError, StorageError
from kronos.formatting import docstring, printable

FAILED, MISUSED, SKIPPED, INTERRUPTED = 1, 2, 3, 130
_SKIPPED_SHOWN = 20  # series named on stderr
# ``--json`` of ``serve`` is about its log; ``mcp`` has a protocol of its own on stdout.
_SERVERS = ("serve", "mcp")
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # typer does not export it


class CommandGroup(TyperGroup):
    """A group of commands that prints one message per error instead of a traceback."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Look up a command; its help is its function's docstring, also if Python dropped docstrings."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _restore_help(command)
        return command

    def get_help(self, ctx: Any) -> str:
        """Render the help, with the summaries of all commands."""
        for command in (self, *self.commands.values()):
            _restore_help(command)
        return super().get_help(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and note whether the errors of the command are to be JSON."""
        named = args[: args.index("--")] if "--" in args else args
        ctx.meta["kronos.json"] = "--json" in named and not (named and named[0] in _SERVERS)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and turn errors that users can fix into a message and an exit status."""
        as_json = bool(ctx.meta["kronos.json"])
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except KronosError as error:
            raise _exit(error, str(error), status_of(error), as_json=as_json) from error
        except MemoryError as error:
            message = "Out of memory: use fewer samples or steps, or fewer files at once."
            raise _exit(error, message, FAILED, as_json=as_json) from error
        except BrokenPipeError:
            _silence_stdout()
            raise typer.Exit(FAILED) from None
        except OSError as error:
            message = _os_message(error)
            if error.filename is None:
                _silence_stdout()  # it may be stdout that cannot be written
            raise _exit(error, message, FAILED, as_json=as_json) from error
        except _UsageError as error:
            if ctx.meta["kronos.json"]:  # typer prints the sentence, with the usage
                ctx.meta["kronos.json"] = False  # an outer group sees the same error
                words = getattr(error, "format_message", None)  # of a missing option, ``message`` is empty
                _print_json_error(error, str(words() if words else error), MISUSED)
            raise
        return result


def _restore_help(command: Any) -> None:
    function = getattr(command.callback, "__wrapped__", command.callback)
    if not command.help and function is not None:
        command.help = docstring(function)


def status_of(error: KronosError) -> int:
    """Return the exit status of an error."""
    return FAILED if isinstance(error, CheckpointError | DeviceError | SourceError | StorageError) else MISUSED


def report_failures(failures: Sequence[tuple[str, KronosError]]) -> None:
    """Print the failures of a command that handles several things, if any, and exit with the highest status.

    Args:
        failures: Name and error of each.

    Raises:
        typer.Exit: If there is a failure.
    """
    for name, error in failures:
        print_error(f"{name}: {error}")
    if failures:
        raise typer.Exit(max(status_of(error) for _, error in failures))


def report_skipped(skipped: Sequence[tuple[str, str]], *, listed: bool = False) -> None:
    """Print the series that a command has skipped, if any, and exit with the status that says so.

    Args:
        skipped: Name and problem of each.
        listed: Whether the command has listed them already.

    Raises:
        typer.Exit: With status 3 if there is one.
    """
    for name, problem in () if listed else skipped[:_SKIPPED_SHOWN]:
        typer.echo(f"Skipped {_one_line(problem if problem.startswith(name) else f'{name}: {problem}')}", err=True)
    if len(skipped) > _SKIPPED_SHOWN and not listed:
        typer.echo(f"… and {len(skipped) - _SKIPPED_SHOWN} more.", err=True)
    if skipped:
        raise typer.Exit(SKIPPED)


def print_error(message: str) -> None:
    """Print a message as one line on stderr."""
    typer.echo(f"Error: {_one_line(message)}", err=True)


def _exit(error: Exception, message: str, status: int, *, as_json: bool) -> typer.Exit:
    if as_json:
        _print_json_error(error, message, status)
    print_error(message)
    return typer.Exit(status)


def _print_json_error(error: Exception, message: str, status: int) -> None:
    from kronos.cli.console import print_json

    print_json({"error": type(error).__name__, "message": _one_line(message), "status": status})


def _one_line(message: str) -> str:
    return printable(" ".join(name_options(message).split()))


def _os_message(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    file = f" {error.filename}" if error.filename else ""
    return f"Cannot read or write{file}: {reason[0].lower()}{reason[1:]}; check free space and permissions."


def _silence_stdout() -> None:
    """Point stdout to the null device, so that Python's flush at exit does not fail again."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return  # replaced by a stream without a descriptor
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
