"""What a command that went wrong prints and returns: one sentence, and a status.

Status 1 says that it failed although it was asked rightly (weights, device, disk, a source), 2 that it was misused.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from kronos.errors import CheckpointError, DeviceError, KronosError, SourceError, StorageError

FAILED, MISUSED = 1, 2


class Commands(TyperGroup):
    """A group of commands whose errors are sentences."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and turn what users can mend into a sentence and a status."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KronosError as error:
            raise _end(str(error), status_of(error)) from error
        except MemoryError as error:
            sentence = "Memory ran out; ask for fewer samples or steps, or give fewer files at once."
            raise _end(sentence, FAILED) from error
        except BrokenPipeError:
            _silence_stdout()
            raise typer.Exit(FAILED) from None
        except OSError as error:
            _silence_stdout()
            raise _end(_sentence(error), FAILED) from error
        return result


def status_of(error: KronosError) -> int:
    """The exit status of an error: 1 if the machine or the network failed, 2 if the command was misused."""
    return FAILED if isinstance(error, CheckpointError | DeviceError | SourceError | StorageError) else MISUSED


def _end(sentence: str, status: int) -> typer.Exit:
    typer.echo(f"Error: {' '.join(sentence.split())}", err=True)
    return typer.Exit(status)


def _sentence(error: OSError) -> str:
    """What the system refused, and about which file."""
    reason = error.strerror or type(error).__name__
    about = f" on {error.filename}" if error.filename else ""
    return f"The system refused to read or write{about}: {reason[0].lower()}{reason[1:]}; check space and rights."


def _silence_stdout() -> None:
    """Let Python's own flush at exit go nowhere once stdout refuses; streams without a descriptor need no help."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
