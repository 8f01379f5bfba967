"""Writing files so that nobody ever sees half of one.

- Everything is written to a temporary file in the target's own folder, flushed to the disk, then renamed
  over the target: a reader finds the old file or the new one, and a crash leaves the old one.
- The temporary name ends as the target's does, because writers choose their format by it.
- What the file system refuses (no space, no permission) is a `StorageError` with one sentence.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kronos.errors import StorageError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; choose another folder or change its rights",
    errno.EPERM: "permission is denied; choose another folder or change its rights",
    errno.EISDIR: "a folder of that name exists; choose another file name",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another path",
    errno.ENAMETOOLONG: "the file name is too long; choose a shorter one",
}
_OF_ANY_WRITE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def expand_user(path: str | Path) -> Path:
    """A path with the home folder for its ``~``; one of nobody's is left as it is, as shells leave it."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises where there is no such user)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it over the target once the block has succeeded.

    Missing parent folders are made. A target that is a symbolic link keeps being one, and an existing file
    keeps its permissions. When the block raises, the temporary file is removed and the target stays as it
    was.

    Args:
        target: The file to write.

    Yields:
        A path in the target's folder that does not exist yet; write the whole file to it.

    Raises:
        StorageError: If the file system refuses, or the block wrote nothing.
    """
    final = Path(os.path.realpath(target))
    temporary = final.with_name(f".{secrets.token_hex(4)}.tmp-{final.name}")
    try:
        with _refusals(target, temporary, final):
            if final.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder", str(final))
            final.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if not temporary.exists():
                raise StorageError(f"Nothing was written for {target}; the previous file, if any, is untouched.")
            _publish(temporary, final)
    finally:
        # Usually renamed already; what made the block fail must not be hidden by what removing it would say.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(target: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder to fill, and rename it to the target once the block has succeeded.

    Args:
        target: The folder to make; an empty one may be there.
        replace: Whether one with something in it may be replaced; it goes only once the new one is whole.

    Yields:
        An empty folder beside the target.

    Raises:
        StorageError: If the file system refuses, or something is in the way.
    """
    final = Path(os.path.realpath(target))
    building = final.with_name(f".{secrets.token_hex(4)}.tmp-{final.name}")
    try:
        with _refusals(target, building, final):
            building.mkdir(parents=True)
            yield building
            _publish_folder(building, final, target, replace=replace)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _publish_folder(building: Path, final: Path, target: str | Path, *, replace: bool) -> None:
    """Rename a folder into its place; what it replaces is put back if that fails."""
    if not final.exists():
        building.rename(final)
        return
    if not final.is_dir() or (any(final.iterdir()) and not replace):
        raise StorageError(f"Cannot write {target}: something of that name exists; choose another folder.")
    old = final.with_name(f".{secrets.token_hex(4)}.old-{final.name}")
    final.rename(old)
    try:
        building.rename(final)
    except OSError:
        old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write a whole file, or nothing.

    Args:
        target: The file to write; replaced if it exists.
        data: Its content.

    Raises:
        StorageError: If the file system refuses.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: str | Path, text: str) -> None:
    """Write a whole text file in UTF-8 with line ends as given, or nothing.

    Args:
        target: The file to write; replaced if it exists.
        text: Its content.

    Raises:
        StorageError: If the file system refuses.
    """
    write_bytes(target, text.encode("utf-8"))


@contextmanager
def _refusals(target: str | Path, *ours: Path) -> Iterator[None]:
    """Turn refusals to write `target` into sentences; leave the block's other errors alone."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        about_ours = error.filename is not None and _is_about(error.filename, ours)
        if error.errno not in _OF_ANY_WRITE and not about_ours:
            raise
        reason = _REASONS.get(error.errno or 0, error.strerror or type(error).__name__)
        raise StorageError(f"Cannot write {target}: {reason}.") from error


def _is_about(filename: object, ours: tuple[Path, ...]) -> bool:
    """Tell whether a failing name is one of our files or a folder above them."""
    name = Path(os.fsdecode(filename)) if isinstance(filename, str | bytes | os.PathLike) else None
    return name is not None and any(name == path or name in path.parents for path in ours)


def _publish(temporary: Path, final: Path) -> None:
    """Flush the file to the disk, give it the old one's permissions, and rename it."""
    with temporary.open("rb+") as handle:
        os.fsync(handle.fileno())
    if final.exists():
        shutil.copymode(final, temporary)
    temporary.replace(final)
    if os.name == "posix":
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
