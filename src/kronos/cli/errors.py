"""Error messages and exit statuses of the commands.

Status 1: the command was right but failed (weights, device, disk, a source). Status 2: wrong usage (a file, an option).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from kronos.errors import CheckpointError, DeviceError, KronosError, SourceError, StorageError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


class CommandGroup(TyperGroup):
    """A group of commands that prints one message per error instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and turn errors that users can fix into a message and an exit status."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KronosError as error:
            raise _exit(str(error), status_of(error)) from error
        except MemoryError as error:
            raise _exit("Out of memory: use fewer samples or steps, or fewer files at once.", FAILED) from error
        except BrokenPipeError:
            _silence_stdout()
            raise typer.Exit(FAILED) from None
        except OSError as error:
            _silence_stdout()
            raise _exit(_os_message(error), FAILED) from error
        return result


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
        _print_error(f"{name}: {error}")
    if failures:
        raise typer.Exit(max(status_of(error) for _, error in failures))


def _exit(message: str, status: int) -> typer.Exit:
    _print_error(message)
    return typer.Exit(status)


def _print_error(message: str) -> None:
    typer.echo(f"Error: {' '.join(message.split())}", err=True)


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
