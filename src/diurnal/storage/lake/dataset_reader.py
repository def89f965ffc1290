"""Reading packages: each file held against its digest, each page against its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diurnal.errors import CorruptPackageError, NotFoundError
from diurnal.storage.lake.file_store import Place
from diurnal.storage.lake.manifest import SUFFIX, Manifest
from diurnal.storage.lake.parquet_writer import rows_a_group
from diurnal.storage.lake.partitions import parts_folder
from diurnal.types import Package


class Packages(Place):
    """Packages that are kept in a place.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    create : bool
        Whether a folder is made that is not there.
    """

    def __init__(self, root: str, *, create: bool = True) -> None:
        super().__init__(root, create=create)
        self._verified: set[str] = set()

    def batches(
        self, package: Package, columns: Sequence[str] | None = None, *, n_rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream a package, checksums verified; at least one batch comes, if only for its schema.

        Parameters
        ----------
        package : Package
            What to read.
        columns : sequence of str, optional
            Only these.
        n_rows : int, optional
            At most so many at once, where many packages are read side by side.
        """
        empty = True
        for path, digest in self._files(package):
            for batch in self.rows(path, digest, columns, n_rows):
                empty = False
                yield batch
        if empty:
            schema = self.schema(package)
            chosen = schema if columns is None else pa.schema([schema.field(c) for c in columns])
            yield pa.RecordBatch.from_pylist([], schema=chosen)

    def read(self, package: Package, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a package whole."""
        return pa.Table.from_batches(self.batches(package, columns))

    def urls(self, package: Package) -> list[str]:
        """Give the addresses of a package's Parquet files, in order, for other readers; its digest was checked.

        Of a package of parts, that is the digest of its manifest: who reads the parts reads page checksums.
        """
        files = self._files(package)
        if not package.path.endswith(SUFFIX):
            with self._opened(*files[0]):
                pass
        return [str(self.fs.unstrip_protocol(self.url(path))) for path, _ in files]

    def files_of(self, package: Package) -> list[str]:
        """Give the paths of all files that a package consists of, its manifest among them."""
        paths = [path for path, _ in self._files(package)]
        return paths if package.path in paths else [package.path, *paths]

    def folder_of_parts(self, package: Package) -> str:
        """Give the folder that holds a package's parts, if it has any."""
        return _parts_beside(package.path)

    def _files(self, package: Package) -> list[tuple[str, str]]:
        """Give the path and the digest of each Parquet file of a package."""
        if not package.path.endswith(SUFFIX):
            return [(package.path, package.digest)]
        folder = _parts_beside(package.path)
        return [(f"{folder}/{part.name}", part.digest) for part in self.manifest(package).parts]

    def manifest(self, package: Package) -> Manifest:
        """Read the manifest of a package of parts, once it was held against the package's digest."""
        try:
            data = self.fs.cat_file(self.url(package.path))
        except FileNotFoundError:
            raise _missing(package.path) from None
        if hashlib.sha256(data).hexdigest() != package.digest:
            raise _damaged(package.path, "it is not what its name says")
        return Manifest.loads(data)

    def schema(self, package: Package) -> pa.Schema:
        """Read the columns of a package."""
        with self._opened(*self._files(package)[0]) as file:
            return file.schema_arrow

    def rows(
        self, path: str, digest: str, columns: Sequence[str] | None = None, n_rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream one file, its digest and its checksums verified."""
        with self._opened(path, digest, buffer_size=2**20 if n_rows else 0) as file:
            most = rows_a_group(len(file.schema_arrow))
            for batch in file.iter_batches(min(most, n_rows or most), columns=columns):
                # pyarrow takes "a" for the beginning of a path, and reads a column "a.b" as well
                yield batch if columns is None else batch.select(list(columns))

    def may_have_nulls(self, path: str, column: str) -> bool:
        """Tell by a file's statistics whether a column may have nulls; its digest is checked when its rows are read."""
        with self.fs.open(self.url(path), "rb") as stream:
            footer = pq.ParquetFile(stream).metadata
        place = footer.schema.to_arrow_schema().get_field_index(column)
        for i in range(footer.num_row_groups):
            found = footer.row_group(i).column(place).statistics
            if found is None or not found.has_null_count or found.null_count:
                return True
        return False

    @contextmanager
    def _opened(self, path: str, digest: str, buffer_size: int = 0) -> Iterator[pq.ParquetFile]:
        try:
            with self.fs.open(self.url(path), "rb") as stream:
                self._refuse_another(path, digest, stream)
                yield pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False, buffer_size=buffer_size)
        except FileNotFoundError:
            raise _missing(path) from None
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the world's fault, not the file's
                raise
            raise _damaged(path, str(error)) from error

    def _refuse_another(self, path: str, digest: str, stream: Any) -> None:
        """Hold a file against its digest, once for each process: page checksums do not see a file that was swapped."""
        if path in self._verified:
            return
        if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
            raise _damaged(path, "it is not what its name says")
        stream.seek(0)
        self._verified.add(path)

    def digest_of(self, path: str, hashed: dict[str, str | None] | None = None) -> str | None:
        """Hash a package again, with all its parts.

        Parameters
        ----------
        path : str
            Of the package.
        hashed : dict, optional
            What was hashed just before, by path: packages share parts.

        Returns
        -------
        str or None
            What it is: the package's digest, or that of the first part that is damaged. None if something lacks.
        """
        hashed = {} if hashed is None else hashed
        found = self.hash(path)
        if not path.endswith(SUFFIX) or found != PurePosixPath(path).stem:
            return found
        for part in Manifest.loads(self.get(path)).parts:
            part_path = f"{_parts_beside(path)}/{part.name}"
            if part_path not in hashed:
                hashed[part_path] = self.hash(part_path)
            if hashed[part_path] != part.digest:
                return hashed[part_path]
        return found


def _parts_beside(manifest: str) -> str:
    """Give the folder of the parts that a manifest names, from its path ``<experiment>/<kind>/<interval>/...``."""
    experiment, _, key, _ = manifest.split("/")
    return parts_folder(experiment, key)


def _missing(path: str) -> NotFoundError:
    return NotFoundError(
        f"the lake has no package {path}",
        hint="restore it from a backup; `diurnal verify` lists all that is missing",
    )


def _damaged(path: str, what: str) -> CorruptPackageError:
    return CorruptPackageError(
        f"the package {path} is damaged: {what}",
        hint="restore it from a backup, or delete it and run its data interval again",
    )
