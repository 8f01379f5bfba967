"""Files that options name: candles on stdin, and outputs that must not replace what the command reads."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kronos.errors import DataError, ParameterError
from kronos.formatting import join_names

STDIO = Path("-")
_NAME = "stdin"  # of the series, whatever number the descriptor has
_DESCRIPTOR = re.compile(r"/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")
_CHUNK = 1 << 20


@contextmanager
def files_from_stdin(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield the paths with ``-``, and pipes of the shell such as ``/dev/fd/63``, replaced by files with their content.

    Readers need to look at a file more than once, and the numbers of descriptors must not name a series.

    Raises:
        DataError: If there is more to read than candle files may have.
    """
    if not any(map(_is_stream, paths)):
        yield list(paths)
        return
    with tempfile.TemporaryDirectory(prefix="kronos-stdin-") as folder:
        copies = []
        for number, path in enumerate(paths):
            copy = Path(folder) / str(number) / _NAME if _is_stream(path) else path
            if copy is not path:
                copy.parent.mkdir()
                _copy(path, copy)
            copies.append(copy)
        yield copies


def _is_stream(path: Path) -> bool:
    return path == STDIO or _DESCRIPTOR.fullmatch(str(path)) is not None


def _copy(source: Path, target: Path) -> None:
    from kronos.candles.content import MAX_BYTES

    try:
        stream: BinaryIO = sys.stdin.buffer if source == STDIO else source.open("rb")
        with target.open("wb") as file:
            size = 0
            while part := stream.read(_CHUNK):
                size += file.write(part)
                if size > MAX_BYTES:
                    raise DataError(f"{source} has more than {MAX_BYTES >> 30} GiB, the limit for candles; split it.")
    except (OSError, AttributeError) as error:  # AttributeError: no stdin
        if getattr(error, "filename", None) == str(target):
            raise
        raise DataError(f"{source} cannot be read ({getattr(error, 'strerror', 'no stdin')}).") from error


def check_suffix(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Check that the name of an output ends in one of these suffixes.

    Raises:
        ParameterError: If it does not.
    """
    if path.suffix.lower() not in suffixes:
        known = join_names(suffixes, None, "or")
        raise ParameterError(f"Invalid {option} {path.name}: use a name that ends in {known}.")


def check_no_folder(option: str, path: Path) -> None:
    """Check that an output file is not an existing folder.

    Raises:
        ParameterError: If it is one.
    """
    if path.is_dir():
        raise ParameterError(f"Invalid {option} {path}: a folder of that name exists; choose another name.")


def check_folder(option: str, path: Path) -> None:
    """Check that an output folder is not an existing file.

    Raises:
        ParameterError: If it is one.
    """
    if path.exists() and not path.is_dir():
        raise ParameterError(f"Invalid {option} {path}: it is a file; choose another folder.")


def check_not_read(option: str, outputs: Iterable[Path], inputs: Iterable[str | Path]) -> None:
    """Check that no output is a file that the command reads, by whatever name: links, other case.

    Args:
        option: The option that names the outputs.
        outputs: The files to write.
        inputs: Files that are read, and folders all of whose files are.

    Raises:
        ParameterError: If one is.
    """
    read = [Path(path) for path in inputs]
    for output in outputs:
        for path in read:
            if _is_within(output, path):
                raise ParameterError(
                    f"Invalid {option} {output}: writing it would replace {path}, which is read; choose another name."
                )


def _is_within(output: Path, path: Path) -> bool:
    """Whether an output is a file, or an existing file in a folder."""
    try:
        if path.is_dir():
            return output.exists() and Path(os.path.realpath(path)) in Path(os.path.realpath(output)).parents
        return output.samefile(path)
    except (OSError, ValueError):  # one does not exist
        return os.path.realpath(output) == os.path.realpath(path)
