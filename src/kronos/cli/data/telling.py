"""What ``kronos data`` tells on stderr: retries and waits on the way, as much as is wanted, and what failed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from kronos.cli.errors import status_of
from kronos.errors import KronosError, ParameterError

_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
_ALSO = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR", "TRACE": "DEBUG"}


def level(*, verbose: bool) -> int:
    """How much to tell: flags, else ``KRONOS_LOG_LEVEL``, else ``LOG_LEVEL``, else warnings.

    Raises:
        ParameterError: If a variable names no level.
    """
    if verbose:
        return logging.INFO
    for name in ("KRONOS_LOG_LEVEL", "LOG_LEVEL"):
        text = os.environ.get(name, "").strip().upper()
        if text:
            word = _ALSO.get(text, text)
            if word not in _LEVELS:
                raise ParameterError(f"{name} cannot be '{text}'; take {', '.join(_LEVELS)}.")
            return _LEVELS[word]
    return logging.WARNING


@contextmanager
def telling(*, verbose: bool) -> Iterator[None]:
    """Send the sources' log to stderr for a block, and take the handler away again."""
    logger = logging.getLogger("kronos")
    wanted = level(verbose=verbose)
    handler = _Sentences()
    before, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(wanted)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagate


def end(failed: Sequence[tuple[str, KronosError]]) -> None:
    """Say what failed of several things, if anything did, and end with the status of the worst.

    Args:
        failed: What each is called, and why.

    Raises:
        typer.Exit: If anything failed.
    """
    for name, reason in failed:
        typer.echo(f"Error: {name}: {reason}", err=True)
    if failed:
        raise typer.Exit(max(status_of(reason) for _, reason in failed))


class _Sentences(logging.Handler):
    """Log records as sentences above whatever progress is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        # Plainly, as only what is written to sys.stderr itself is put above a progress bar.
        sys.stderr.write(record.getMessage() + "\n")
