"""Atomic writes of files and folders: readers never see a partial file.

Data is written to a temporary file in the target's folder, flushed to disk and renamed over the target, so a reader
finds either the old or the new file, and a crash leaves the old one. The temporary name keeps the target's suffix,
because writers choose their format by it. File system errors (no space, no permission) become a `StorageError`.

A process that is killed may leave temporary files, and between the two renames that replace a folder it leaves the old
folder under another name: `atomic_folder` and `recover_folder` give it its name back.
"""

from __future__ import annotations

import errno
import os
import re
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
    errno.EACCES: "permission denied; choose another folder or change its permissions",
    errno.EPERM: "permission denied; choose another folder or change its permissions",
    errno.EISDIR: "a folder of that name exists; choose another file name",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another path",
    errno.ENAMETOOLONG: "the file name is too long; choose a shorter one",
}
# These concern the disk, whichever file the failing call named.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(?P<kind>tmp|old)-(?P<name>.+)", re.DOTALL)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path and rename it over the target when the block succeeds.

    Missing parent folders are created. A symbolic link stays one, and an existing file keeps its permissions. If the
    block raises, the temporary file is removed and the target is unchanged.

    Args:
        target: The file to write.

    Yields:
        A path in the target's folder that does not exist yet.

    Raises:
        StorageError: If the file cannot be written, or the block wrote nothing.
    """
    final = Path(os.path.realpath(target))
    temporary = final.with_name(f".{secrets.token_hex(4)}.tmp-{final.name}")
    try:
        with _storage_errors(target, temporary, final):
            if final.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder", str(final))
            final.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if not temporary.exists():
                raise StorageError(f"Nothing was written for {target}; the previous file, if any, is untouched.")
            _publish(temporary, final)
    finally:
        # Usually renamed already; an error here must not hide the one that the block raised.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(target: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder and rename it to the target when the block succeeds.

    A folder that an earlier call was replacing when it was killed is restored first.

    Args:
        target: The folder to create; it may exist if it is empty.
        replace: Whether to replace a folder that is not empty, once the new one is complete.

    Yields:
        An empty folder next to the target.

    Raises:
        StorageError: If the folder cannot be written, or the target exists and may not be replaced.
    """
    final = Path(os.path.realpath(target))
    building = final.with_name(f".{secrets.token_hex(4)}.tmp-{final.name}")
    try:
        with _storage_errors(target, building, final):
            restore_folder(final)
            building.mkdir(parents=True)
            yield building
            _publish_folder(building, final, target, replace=replace)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _publish_folder(building: Path, final: Path, target: str | Path, *, replace: bool) -> None:
    """Rename a folder to its target; restore the folder that it replaces if that fails."""
    if not final.exists():
        building.rename(final)
        return
    if not final.is_dir() or (any(final.iterdir()) and not replace):
        raise StorageError(f"Cannot write {target}: it exists already; choose another folder.")
    old = final.with_name(f".{secrets.token_hex(4)}.old-{final.name}")
    final.rename(old)
    try:
        building.rename(final)
    except OSError:
        old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(target: str | Path) -> bool:
    """Restore a folder that was being replaced when the process was killed; whether there was one.

    Raises:
        OSError: If it cannot be renamed.
    """
    final = Path(os.path.realpath(target))
    if final.exists():
        return False
    replaced = [path for kind, path in _leftovers(final) if kind == "old" and path.is_dir()]
    if not replaced:
        return False
    max(replaced, key=lambda path: path.stat().st_mtime).rename(final)
    return True


def recover_folder(target: str | Path) -> None:
    """Restore a folder whose replacement was killed, and remove what killed writers left next to it.

    Call it only while nobody else can be writing the folder, for example under a lock.

    Raises:
        StorageError: If the folder cannot be restored.
    """
    final = Path(os.path.realpath(target))
    with _storage_errors(target, final, *(path for _, path in _leftovers(final))):
        restore_folder(final)
    for _, path in _leftovers(final):
        shutil.rmtree(path, ignore_errors=True)


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files in a folder and its sub-folders; call it only while nobody else can be writing."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    Path(parent, name).unlink()


def _leftovers(final: Path) -> list[tuple[str, Path]]:
    """What killed writers of a folder left next to it: ``old`` or ``tmp``, and the path."""
    try:
        names = sorted(os.listdir(final.parent))  # noqa: PTH208 (names only)
    except OSError:
        return []
    found = ((_TEMPORARY.fullmatch(name), final.parent / name) for name in names)
    return [(match["kind"], path) for match, path in found if match and match["name"] == final.name]


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write a file atomically; an existing one is replaced.

    Raises:
        StorageError: If the file cannot be written.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically, with line ends unchanged; an existing file is replaced.

    Lone surrogates, which names of files outside UTF-8 contain, become question marks.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_bytes(target, text.encode("utf-8", "replace"))


@contextmanager
def _storage_errors(target: str | Path, *paths: Path) -> Iterator[None]:
    """Turn an OSError about these paths or the disk into a StorageError; let other errors pass."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        own_path = error.filename is not None and _is_within(error.filename, paths)
        if error.errno not in _DISK_ERRORS and not own_path:
            raise
        reason = _REASONS.get(error.errno or 0, error.strerror or type(error).__name__)
        raise StorageError(f"Cannot write {target}: {reason}.") from error


def _is_within(filename: object, paths: tuple[Path, ...]) -> bool:
    """Whether the path that a call failed on is one of these paths or a folder above one of them."""
    name = Path(os.fsdecode(filename)) if isinstance(filename, str | bytes | os.PathLike) else None
    return name is not None and any(name == path or name in path.parents for path in paths)


def _publish(temporary: Path, final: Path) -> None:
    """Flush the file to disk, copy the permissions of the file it replaces, and rename it."""
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
