"""A folder, here or anywhere that fsspec reaches, in which a file appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from diurnal.errors import NotFoundError
from diurnal.runtime import fault_injection


class Place:
    """Where files are put.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    create : bool
        Whether a folder is made that is not there.
    """

    def __init__(self, root: str, *, create: bool = True) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(root)
        self.local = "file" in self.fs.protocol
        if self.local and create:
            Path(self.root).mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """The root as a URL that names it in every process, wherever that one was started."""
        return str(self.fs.unstrip_protocol(self.root))

    def url(self, path: str) -> str:
        """Give the address of a path below the root, for :attr:`fs`."""
        return f"{self.root.rstrip('/')}/{path}"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Give a temporary local folder, beside the files where these are local, and remove it at the end."""
        parent = Path(self.root) / ".tmp" if self.local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="diurnal-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def leftovers(self) -> Iterator[Path]:
        """Give the temporary folders that a killed process left behind."""
        if self.local:
            yield from (Path(self.root) / ".tmp").glob("diurnal-*")

    def move_in(self, temporary: Path, path: str, point: str = "lake.put") -> None:
        """Move a local file to its place, whole or not at all; tests kill the process at `point`."""
        fault_injection.reach(f"{point}:before")
        target = self.url(path)
        if self.local:
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(folder)
        else:  # also over what is there: a store without atomic puts may hold half of it
            self.fs.put_file(str(temporary), target)
        fault_injection.reach(f"{point}:after")

    def put(self, path: str, data: bytes, point: str = "lake.put") -> str:
        """Keep bytes under a path whose name is theirs alone, whole or not at all; gives the path."""
        with self.workspace() as folder:
            temporary = folder / "data"
            temporary.write_bytes(data)
            self.move_in(temporary, path, point)
        return path

    def replace(self, path: str, data: bytes) -> None:
        """Write bytes under a path that may already be there: only for what nobody relies on, such as a quarantine."""
        if not self.local:
            self.fs.pipe_file(self.url(path), data)
            return
        self.put(path, data)

    def get(self, path: str) -> bytes:
        """Give the bytes under a path."""
        try:
            data: bytes = self.fs.cat_file(self.url(path))
        except FileNotFoundError:
            raise NotFoundError(f"the lake has no {path}", hint="run the data interval again") from None
        return data

    def exists(self, path: str) -> bool:
        """Return whether there is a file under a path."""
        return bool(self.fs.exists(self.url(path)))

    def delete(self, path: str) -> None:
        """Remove a file that nothing refers to."""
        self.fs.rm_file(self.url(path))

    def hash(self, path: str) -> str | None:
        """Hash a file again; None if it is not there."""
        try:
            with self.fs.open(self.url(path), "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
