"""What ``kronos data`` tells on the way: retries and waits, on stderr, as much as is wanted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kronos.errors import ParameterError

_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
_ALSO = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR", "TRACE": "DEBUG"}


def level(*, verbose: bool, quiet: bool = False) -> int:
    """How much to tell: flags, else ``KRONOS_LOG_LEVEL``, else ``LOG_LEVEL``, else warnings.

    Raises:
        ParameterError: If a variable names no level.
    """
    if quiet:
        return logging.ERROR
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
def telling(*, verbose: bool, quiet: bool = False) -> Iterator[None]:
    """Send the sources' log to stderr for a block, and take the handler away again."""
    logger = logging.getLogger("kronos")
    wanted = level(verbose=verbose, quiet=quiet)
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


class _Sentences(logging.Handler):
    """Log records as sentences above whatever progress is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        from kronos.cli.console import stderr

        stderr().print(record.getMessage(), style="dim", markup=False)
