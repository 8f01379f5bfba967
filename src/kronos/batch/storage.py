"""Folders on this machine and in object storage behind one interface: list, read, and write files that appear whole.

A path is a folder of this machine. An address such as ``s3://bucket/folder`` is opened by Arrow's own file systems, and
any other (``az://``, ``memory://`` …) by fsspec, which needs the package of that storage.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from kronos.atomic import atomic_path, remove_temporary_files
from kronos.errors import DataError, ParameterError, StorageError
from kronos.formatting import expand_user, os_error_reason, truncate


@dataclass(frozen=True)
class Storage:
    """A folder; picklable, so that worker processes open the same one.

    Attributes:
        address: The folder as it was given.
        root: The folder in its file system.
        filesystem: Arrow's file system.
    """

    address: str
    root: str
    filesystem: Any = field(repr=False, compare=False)

    @classmethod
    def open(cls, location: str | Path) -> Storage:
        """Open a folder, which need not exist.

        Raises:
            ParameterError: If the address is of an unknown kind, or its package is not installed.
        """
        text = str(location)
        if "://" not in text:
            return cls(text, str(expand_user(text).absolute()), fs.LocalFileSystem())
        try:
            filesystem, root = fs.FileSystem.from_uri(text)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            filesystem, root = _open_with_fsspec(text, error)
        return cls(text, root.rstrip("/"), filesystem)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def __str__(self) -> str:
        return self.address

    def path(self, name: str = "") -> str:
        """The path of a file in the file system."""
        return f"{self.root}/{name}" if name else self.root

    def is_within(self, other: Storage) -> bool:
        """Whether it is another folder or in it."""
        same = self.filesystem.equals(other.filesystem)
        return same and PurePosixPath(self.root).is_relative_to(PurePosixPath(other.root))

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of this name."""
        return bool(self._info(name).type != fs.FileType.NotFound)

    def is_file(self, name: str = "") -> bool:
        """Whether there is a file of this name."""
        return bool(self._info(name).type == fs.FileType.File)

    def names(self) -> list[str]:
        """List the files in the folder and its sub-folders by their paths in it, sorted; none if it does not exist.

        Names that begin with a point or underscore, and what is in such folders, are left out, as other readers of
        Parquet folders do.

        Raises:
            DataError: If the folder cannot be read.
        """
        selector = fs.FileSelector(self.root, allow_not_found=True, recursive=True)
        try:
            found = self.filesystem.get_file_info(selector)
        except OSError as error:
            raise DataError(f"Cannot list {self}: {os_error_reason(error)}; check the address.") from error
        paths = [info.path for info in found if info.type == fs.FileType.File]
        names = [str(PurePosixPath(path).relative_to(PurePosixPath(self.root))) for path in paths]
        return sorted(name for name in names if not any(part.startswith((".", "_")) for part in name.split("/")))

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            DataError: If it cannot be read.
        """
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                return bytes(stream.read())
        except OSError as error:
            raise DataError(f"Cannot read {name} in {self}: {os_error_reason(error)}.") from error

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Yield a binary stream, and give the file its name when the block succeeds: readers never see a part of it.

        Raises:
            StorageError: If the file cannot be written.
        """
        if self.is_local:
            with atomic_path(self.path(name)) as temporary, temporary.open("wb") as stream:
                yield stream
            return
        folder, _, last = self.path(name).rpartition("/")
        temporary_path = f"{folder}/.{secrets.token_hex(4)}.tmp-{last}"
        try:
            self.filesystem.create_dir(folder, recursive=True)
            with self.filesystem.open_output_stream(temporary_path) as stream:
                yield stream
            self.filesystem.move(temporary_path, self.path(name))
        except OSError as error:
            raise StorageError(f"Cannot write {name} in {self}: {os_error_reason(error)}.") from error
        finally:
            with suppress(OSError):  # it has its final name already, unless the block failed
                self.filesystem.delete_file(temporary_path)

    def write(self, name: str, data: bytes) -> None:
        """Write a file; an existing one is replaced.

        Raises:
            StorageError: If it cannot be written.
        """
        with self.writing(name) as stream:
            stream.write(data)

    def remove_leftovers(self) -> None:
        """Remove the temporary files of killed writers on this machine; call it only while nobody else can write."""
        if self.is_local:
            remove_temporary_files(Path(self.root))

    def delete(self, name: str) -> None:
        """Remove a file, and the folders that this leaves empty on this machine.

        Raises:
            StorageError: If it cannot be removed.
        """
        try:
            self.filesystem.delete_file(self.path(name))
            if self.is_local:
                for folder in Path(self.path(name)).parents:
                    if any(folder.iterdir()) or not folder.is_relative_to(self.root):
                        break
                    folder.rmdir()
        except OSError as error:
            raise StorageError(f"Cannot remove {name} in {self}: {os_error_reason(error)}.") from error

    def _info(self, name: str) -> Any:
        try:
            return self.filesystem.get_file_info(self.path(name))
        except OSError as error:
            raise DataError(f"Cannot reach {self}: {os_error_reason(error)}; check the address.") from error


def _open_with_fsspec(address: str, reason: BaseException) -> tuple[Any, str]:
    """A file system of fsspec as Arrow's, and the path in it."""
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations

        protocol = address.partition("://")[0]
        if protocol not in known_implementations:
            raise ParameterError(
                f"Unknown kind of address '{truncate(address, 80)}': give a path, or s3://, gs://, az://."
            )
        filesystem, root = url_to_fs(address)
    except (ImportError, OSError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(
            f"Cannot open {truncate(address, 80)}: {truncate(error or reason, 160)}. Check the address and its "
            "credentials, and that the package of this storage is installed."
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root
