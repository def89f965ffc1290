"""A folder, local or on any fsspec filesystem, in which a file appears whole or not at all.

Locally, a file is written to a temporary folder on the same disk, flushed with ``fsync``, and renamed: a rename is
atomic, so a reader sees all of it or nothing, also after a power failure. An object store has no rename, but a put of
one object is atomic by itself. Several files are put in order, so the last one marks that all are there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import fsspec

from diurnal.errors import NotFoundError
from diurnal.runtime import fault_injection


class FileStore:
    """Files below a root that are written atomically.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    create : bool
        Whether to create a local folder that does not exist.
    """

    def __init__(self, root: str, *, create: bool = True) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(root)
        self.local = "file" in self.fs.protocol
        if self.local and create:
            Path(self.root).mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """The root as an absolute URL, valid in every process and working directory."""
        return str(self.fs.unstrip_protocol(self.root))

    def url(self, path: str) -> str:
        """Return the location of a path below the root, for :attr:`fs`."""
        return f"{self.root.rstrip('/')}/{path}"

    @property
    def _temporary_root(self) -> Path:
        return Path(self.root) / ".tmp"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Create a temporary local folder, on the disk of the files where these are local; remove it at the end."""
        parent = self._temporary_root if self.local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="diurnal-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def leftovers(self) -> Iterator[Path]:
        """Yield the temporary folders of killed processes."""
        if self.local:
            yield from self._temporary_root.glob("diurnal-*")

    def publish_file(self, temporary: Path, path: str, fault_point: str = "lake.put") -> None:
        """Move a complete local file to its path atomically; tests stop the process at `fault_point`."""
        fault_injection.fault_point(f"{fault_point}:before")
        target = self.url(path)
        if self.local:
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(folder)
        else:  # also over an existing object: a store without atomic puts may hold a part of it
            self.fs.put_file(str(temporary), target)
        fault_injection.fault_point(f"{fault_point}:after")

    def write_immutable(self, path: str, data: bytes, fault_point: str = "lake.put") -> str:
        """Write bytes atomically to a path that no other content ever has; return the path."""
        with self.workspace() as folder:
            temporary = folder / "data"
            temporary.write_bytes(data)
            self.publish_file(temporary, path, fault_point)
        return path

    def overwrite(self, path: str, data: bytes) -> None:
        """Write bytes to a path that may exist: only for files that no record refers to, such as a quarantine."""
        if not self.local:
            self.fs.pipe_file(self.url(path), data)
            return
        self.write_immutable(path, data)

    def write_folder(self, path: str, files: Mapping[str, bytes], fault_point: str) -> None:
        """Write the files of one folder: locally all at once, in an object store in order, the last one last.

        A folder that exists already stays: the caller names it by its content, so it holds the same files.
        """
        fault_injection.fault_point(f"{fault_point}:before")
        if self.local:
            self._write_local_folder(Path(self.url(path)), files)
        else:
            self._put_objects(path, files)
        fault_injection.fault_point(f"{fault_point}:after")

    def _write_local_folder(self, target: Path, files: Mapping[str, bytes]) -> None:
        # not tempfile.mkdtemp: only the owner may read such a folder, and another user may serve this one
        temporary = self._temporary_root / f"diurnal-{secrets.token_hex(8)}"
        temporary.mkdir(parents=True)
        try:
            for name, data in files.items():
                with (temporary / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            _sync_folder(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            _rename_if_absent(temporary, target)
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _put_objects(self, path: str, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self.fs.pipe_file(f"{self.url(path)}/{name}", data)

    def refresh_folder(self, path: str, files: Mapping[str, bytes]) -> None:
        """Set the times of the files of a folder to now, so that a garbage collection by age spares them."""
        if not self.local:
            self._put_objects(path, files)  # an object gets a new time in no other way
            return
        with suppress(PermissionError):  # another user owns them: using them needs no right to write
            for name in files:
                os.utime(f"{self.url(path)}/{name}")

    def refresh(self, path: str) -> bool:
        """Set the time of a file to now, as that of :meth:`refresh_folder`; return False if it does not exist."""
        try:
            if not self.local:
                self.fs.pipe_file(self.url(path), self.fs.cat_file(self.url(path)))
                return True
            with suppress(PermissionError):
                os.utime(self.url(path))
        except FileNotFoundError:
            return False
        return True

    def get(self, path: str) -> bytes:
        """Return the bytes of a file."""
        try:
            data: bytes = self.fs.cat_file(self.url(path))
        except FileNotFoundError:
            raise NotFoundError(f"the lake has no {path}", hint="run the data interval again") from None
        return data

    def exists(self, path: str) -> bool:
        """Return whether a file exists."""
        return bool(self.fs.exists(self.url(path)))

    def find(self, folder: str = "") -> Iterator[str]:
        """Yield the path of each file below a folder, or of all files, without temporary ones."""
        prefix = self.root.rstrip("/") + "/"
        for path in self.fs.find(self.url(folder).rstrip("/")):
            name = str(path).removeprefix(prefix)
            if name.split("/")[0] != ".tmp":
                yield name

    def size(self, path: str) -> int:
        """Return the number of bytes of a file; 0 if it does not exist."""
        try:
            return int(self.fs.size(self.url(path)))
        except FileNotFoundError:
            return 0

    def modified(self, path: str) -> datetime:
        """Return the time at which a file was written."""
        moment: datetime = self.fs.modified(self.url(path))
        return moment

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Delete a file that nothing refers to, unless another process has done so; with `recursive`, a folder."""
        with suppress(FileNotFoundError):
            if recursive:
                self.fs.rm(self.url(path), recursive=True)
            else:
                self.fs.rm_file(self.url(path))

    def delete_empty_folders(self, folder: str) -> None:
        """Delete a local folder and those below it, except those with files. An object store has no folders."""
        if self.local:
            for path, _, _ in os.walk(self.url(folder), topdown=False):
                with suppress(OSError):  # it has files
                    Path(path).rmdir()

    def compute_digest(self, path: str) -> str | None:
        """Return the SHA-256 of a file's present content; None if the file does not exist."""
        try:
            with self.fs.open(self.url(path), "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            return None


def _rename_if_absent(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        # the target exists: its name is its digest, and it was renamed whole, so it holds the same files
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
