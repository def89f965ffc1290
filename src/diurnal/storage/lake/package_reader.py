"""Reads packages: the digest of each file and the checksum of each page are verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diurnal.errors import CorruptPackageError, NotFoundError
from diurnal.storage.file_store import FileStore
from diurnal.storage.lake.manifest import SUFFIX, Manifest
from diurnal.storage.lake.package_key import PackageKey
from diurnal.storage.lake.parquet_writer import row_group_size
from diurnal.types import Package


class PackageReader(FileStore):
    """Reads the packages of a file store.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    create : bool
        Whether to create a local folder that does not exist.
    """

    def __init__(self, root: str, *, create: bool = True) -> None:
        super().__init__(root, create=create)
        self._verified: set[str] = set()

    def batches(
        self, package: Package, columns: Sequence[str] | None = None, *, n_rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of a package; a package without rows yields one empty batch, which has the schema.

        Parameters
        ----------
        package : Package
            The package to read.
        columns : sequence of str, optional
            The columns to read; all by default.
        n_rows : int, optional
            The maximum number of rows of a batch, where many packages are read side by side.
        """
        empty = True
        for path, digest in self._files(package):
            for batch in self.read_file(path, digest, columns, n_rows):
                empty = False
                yield batch
        if empty:
            schema = self.schema(package)
            selected = schema if columns is None else pa.schema([schema.field(c) for c in columns])
            yield pa.RecordBatch.from_pylist([], schema=selected)

    def read(self, package: Package, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a package into memory."""
        return pa.Table.from_batches(self.batches(package, columns))

    def urls(self, package: Package) -> list[str]:
        """Return the URLs of a package's Parquet files, in order, for other readers; the package's digest is verified.

        For a package of parts, that is the digest of its manifest. Its readers verify page checksums only.
        """
        files = self._files(package)
        if not package.path.endswith(SUFFIX):
            with self._open(*files[0]):
                pass
        return [str(self.fs.unstrip_protocol(self.url(path))) for path, _ in files]

    def files_of(self, package: Package) -> list[str]:
        """Return the paths of all files of a package, including its manifest."""
        paths = [path for path, _ in self._files(package)]
        return paths if package.path in paths else [package.path, *paths]

    def parts_folder(self, package: Package) -> str:
        """Return the folder of a package's parts, which may not exist."""
        return PackageKey.of(package.path).parts_folder

    def _files(self, package: Package) -> list[tuple[str, str]]:
        """Return the path and the digest of each Parquet file of a package."""
        if not package.path.endswith(SUFFIX):
            return [(package.path, package.digest)]
        folder = self.parts_folder(package)
        return [(f"{folder}/{part.name}", part.digest) for part in self.manifest(package).parts]

    def manifest(self, package: Package) -> Manifest:
        """Read the manifest of a package of parts and verify its digest."""
        try:
            data = self.fs.cat_file(self.url(package.path))
        except FileNotFoundError:
            raise _missing_package(package.path) from None
        if hashlib.sha256(data).hexdigest() != package.digest:
            raise _corrupt_package(package.path, "its content does not match its digest")
        return Manifest.loads(data)

    def schema(self, package: Package) -> pa.Schema:
        """Read the schema of a package."""
        with self._open(*self._files(package)[0]) as file:
            return file.schema_arrow

    def read_file(
        self, path: str, digest: str, columns: Sequence[str] | None = None, n_rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of one file and verify its digest and its page checksums."""
        with self._open(path, digest, buffer_size=2**20 if n_rows else 0) as file:
            group_size = row_group_size(len(file.schema_arrow))
            for batch in file.iter_batches(min(group_size, n_rows or group_size), columns=columns):
                # pyarrow takes "a" for the beginning of a path, and reads a column "a.b" as well
                yield batch if columns is None else batch.select(list(columns))

    def may_have_nulls(self, path: str, column: str) -> bool:
        """Return whether a file's statistics allow nulls in a column; the digest is verified when its rows are read."""
        with self.fs.open(self.url(path), "rb") as stream:
            footer = pq.ParquetFile(stream).metadata
        index = footer.schema.to_arrow_schema().get_field_index(column)
        for i in range(footer.num_row_groups):
            statistics = footer.row_group(i).column(index).statistics
            if statistics is None or not statistics.has_null_count or statistics.null_count:
                return True
        return False

    @contextmanager
    def _open(self, path: str, digest: str, buffer_size: int = 0) -> Iterator[pq.ParquetFile]:
        try:
            with self.fs.open(self.url(path), "rb") as stream:
                self._check_digest(path, digest, stream)
                yield pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False, buffer_size=buffer_size)
        except FileNotFoundError:
            raise _missing_package(path) from None
        except (pa.ArrowException, OSError) as error:
            # an OSError with an errno is a failure of the disk or the network; without one, Arrow rejects the content
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _corrupt_package(path, str(error)) from error

    def _check_digest(self, path: str, digest: str, stream: Any) -> None:
        """Verify a file's digest, once in each process: page checksums do not detect a file that was replaced."""
        if path in self._verified:
            return
        if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
            raise _corrupt_package(path, "its content does not match its digest")
        stream.seek(0)
        self._verified.add(path)

    def digest_of(self, path: str, digests: dict[str, str | None] | None = None) -> str | None:
        """Compute the digest of a package and of all its parts again.

        Parameters
        ----------
        path : str
            The path of the package.
        digests : dict, optional
            The digests that were computed before, by path: packages share parts. New ones are added.

        Returns
        -------
        str or None
            The digest of the package, or that of the first part that differs from the manifest. None if a file is
            missing.
        """
        digests = {} if digests is None else digests
        digest = self.compute_digest(path)
        # a manifest that does not match its own name is not parsed
        if not path.endswith(SUFFIX) or digest != PurePosixPath(path).stem:
            return digest
        folder = PackageKey.of(path).parts_folder
        for part in Manifest.loads(self.get(path)).parts:
            part_path = f"{folder}/{part.name}"
            if part_path not in digests:
                digests[part_path] = self.compute_digest(part_path)
            if digests[part_path] != part.digest:
                return digests[part_path]
        return digest


def _missing_package(path: str) -> NotFoundError:
    return NotFoundError(
        f"the lake has no package {path}",
        hint="restore it from a backup; `diurnal verify` lists all missing files",
    )


def _corrupt_package(path: str, reason: str) -> CorruptPackageError:
    return CorruptPackageError(
        f"the package {path} is damaged: {reason}",
        hint="restore it from a backup, or delete it and run its data interval again",
    )
