"""Immutable Parquet packages, named by their digest: the only module that imports ``pyarrow.parquet``.

A package is written to a temporary file, hashed, and put under ``<experiment>/<kind>/<interval>/<digest>.parquet``;
that name is never rewritten, so that a reader sees a whole package or none. Pages carry checksums, which are
verified on every read: without them most single flipped bits read as different data without an error.

Rows are ordered by the hash of their identity (:mod:`diurnal.splitting`). A batch that does not fit in memory is
dealt into buckets by the leading bits of that hash, on disk, and each bucket is ordered by itself: the file is the
same, byte for byte, as if all had been ordered at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from diurnal import faults
from diurnal.arranging import Arrangement, arrange
from diurnal.errors import NotFound, PackageRefused
from diurnal.values import DataInterval, Package

if TYPE_CHECKING:
    from diurnal.arranging import Hasher

ROWS_A_GROUP = 131_072
BUCKET_BYTES = 128 * 2**20


class Lake:
    """The store of packages, on any fsspec URL.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(root)
        self.local = "file" in self.fs.protocol
        self._verified: set[str] = set()
        if self.local:
            Path(self.root).mkdir(parents=True, exist_ok=True)

    def url(self, path: str) -> str:
        """Give the full address of a path below the root."""
        return f"{self.root.rstrip('/')}/{path}"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Give a temporary local folder, beside the packages where these are local, and remove it at the end."""
        parent = Path(self.root) / ".tmp" if self.local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="diurnal-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write(
        self,
        experiment: str,
        kind: str,
        interval: DataInterval,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        hasher: Hasher,
        *,
        key: Sequence[str] = (),
        n_bytes: int = 0,
    ) -> tuple[Package, Arrangement]:
        """Order rows by their hash, drop repeated ones, and keep them as a package.

        Parameters
        ----------
        experiment, kind : str
            Name of the experiment, and ``"batches"``, ``"train"`` or ``"test"``.
        interval : DataInterval
            Whose rows they are.
        batches : iterable of pyarrow.RecordBatch
            The rows, in `schema`.
        schema : pyarrow.Schema
            The types to keep.
        hasher : callable
            Gives the hashes of a record batch's rows.
        key : sequence of str
            The columns that identify a sample; rows that agree on them must agree on all.
        n_bytes : int
            About how large the rows are; more than fits in memory is ordered on disk.

        Returns
        -------
        Package, Arrangement
            The package, and what the ordering dropped.

        Raises
        ------
        BatchRefused
            If rows with one key differ.
        """
        arrangement = Arrangement(key=tuple(key))
        with self.workspace() as folder, PackageWriter(self, experiment, kind, interval, schema) as writer:
            for table in arrange(batches, schema, hasher, arrangement, folder, max(1, -(-n_bytes // BUCKET_BYTES))):
                writer.write(table)
            arrangement.refuse_conflicts()
            return writer.close(), arrangement

    def cut(
        self, experiment: str, interval: DataInterval, package: Package, choose: Callable[[pa.RecordBatch], Any]
    ) -> tuple[Package, Package]:
        """Cut a package in two, as train and test; `choose` gives a mask of the test rows."""
        source = self.batches(package)
        first = next(source)
        with (
            PackageWriter(self, experiment, "train", interval, first.schema) as train,
            PackageWriter(self, experiment, "test", interval, first.schema) as test,
        ):
            for batch in chain([first], source):
                mask = choose(batch)
                train.write(pa.Table.from_batches([batch.filter(pa.array(~mask))]))
                test.write(pa.Table.from_batches([batch.filter(pa.array(mask))]))
            return train.close(), test.close()

    def keep(self, experiment: str, kind: str, interval: DataInterval, table: pa.Table) -> Package:
        """Keep a small table as it is."""
        with PackageWriter(self, experiment, kind, interval, table.schema) as writer:
            writer.write(table)
            return writer.close()

    def batches(self, package: Package, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream a package, checksums verified; at least one batch comes, if only for its schema."""
        with self._opened(package) as file:
            empty = True
            for batch in file.iter_batches(ROWS_A_GROUP, columns=columns):
                empty = False
                yield batch
            if empty:
                schema = file.schema_arrow
                chosen = schema if columns is None else pa.schema([schema.field(c) for c in columns])
                yield pa.RecordBatch.from_pylist([], schema=chosen)

    def read(self, package: Package, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a package whole."""
        return pa.Table.from_batches(self.batches(package, columns))

    @contextmanager
    def _opened(self, package: Package) -> Iterator[pq.ParquetFile]:
        try:
            with self.fs.open(self.url(package.path), "rb") as stream:
                self._refuse_another(package, stream)
                yield pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False)
        except FileNotFoundError:
            raise NotFound(
                f"the lake has no package {package.path}",
                advice="restore it from a backup; `diurnal verify` lists all that is missing",
            ) from None
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the world's fault, not the file's
                raise
            raise PackageRefused(
                f"the package {package.path} is damaged: {error}",
                advice="restore it from a backup, or delete it and run its data interval again",
            ) from error

    def _refuse_another(self, package: Package, stream: Any) -> None:
        """Hold a file against its digest, once for each process: page checksums do not see a file that was swapped."""
        if package.path in self._verified:
            return
        if hashlib.file_digest(stream, "sha256").hexdigest() != package.digest:
            raise PackageRefused(
                f"the package {package.path} is damaged: it is not what its name says",
                advice="restore it from a backup, or delete it and run its data interval again",
            )
        stream.seek(0)
        self._verified.add(package.path)

    def register(self, warehouse: str) -> None:
        """Leave the mark of the warehouse whose packages are kept here, so that no other one tidies up."""
        if warehouse not in self.warehouses():
            self.put(f".warehouses/{warehouse}", b"")

    def warehouses(self) -> set[str]:
        """Give the marks of the warehouses that have written here."""
        folder = self.url(".warehouses")
        return {str(path).rpartition("/")[2] for path in self.fs.find(folder)} if self.fs.exists(folder) else set()

    def put(self, path: str, data: bytes) -> str:
        """Keep bytes under a path whose name is theirs alone, whole or not at all; gives the path."""
        with self.workspace() as folder:
            temporary = folder / "data"
            temporary.write_bytes(data)
            self.move_in(temporary, path)
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
            raise NotFound(f"the lake has no {path}", advice="run the data interval again") from None
        return data

    def move_in(self, temporary: Path, path: str) -> None:
        """Move a local file to its place, whole or not at all."""
        faults.reach("lake.put:before")
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
        faults.reach("lake.put:after")

    def digest_of(self, path: str) -> str | None:
        """Hash a file again; None if it is not there."""
        try:
            with self.fs.open(self.url(path), "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def files(self) -> Iterator[tuple[str, datetime]]:
        """Give each file below the root that is the lake's own, and when it was written."""
        prefix = self.root.rstrip("/") + "/"
        for path in self.fs.find(self.root):
            name = str(path).removeprefix(prefix)
            if name.split("/")[0] == ".tmp" or "/" not in name:
                continue
            if name.split("/")[1] in ("batches", "train", "test", "candidates", "twins"):
                yield name, self.fs.modified(path)

    def leftovers(self) -> Iterator[Path]:
        """Give the temporary folders that a killed process left behind."""
        if self.local:
            yield from (Path(self.root) / ".tmp").glob("diurnal-*")

    def delete(self, path: str) -> None:
        """Remove a file that nothing refers to."""
        self.fs.rm_file(self.url(path))


class PackageWriter(AbstractContextManager["PackageWriter"]):
    """Writes one package, streaming; nothing is seen of it before :meth:`close`."""

    def __init__(self, lake: Lake, experiment: str, kind: str, interval: DataInterval, schema: pa.Schema) -> None:
        self._lake = lake
        self._folder = f"{experiment}/{kind}/{interval.key}"
        self._stack = lake.workspace()
        self._temporary = self._stack.__enter__() / "package.parquet"
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self._parquet = pq.ParquetWriter(
            self._temporary, schema, compression="zstd", write_page_checksum=True, use_dictionary=texts
        )
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0
        self._n_rows = 0

    def write(self, table: pa.Table) -> None:
        """Add rows; they are cut into row groups of one size whatever pieces they come in."""
        self._waiting.append(table)
        self._n_waiting += table.num_rows
        while self._n_waiting >= ROWS_A_GROUP:
            self._flush(ROWS_A_GROUP)

    def _flush(self, n_rows: int) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else None
        if table is None:
            return
        self._parquet.write_table(table.slice(0, n_rows).combine_chunks(), row_group_size=ROWS_A_GROUP)
        self._waiting = [table.slice(n_rows)]
        self._n_waiting = self._waiting[0].num_rows
        self._n_rows += min(n_rows, table.num_rows)

    def close(self) -> Package:
        """Put the package in its place."""
        if self._n_waiting:
            self._flush(self._n_waiting)
        self._parquet.close()
        with self._temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = f"{self._folder}/{digest}.parquet"
        self._lake.move_in(self._temporary, path)
        return Package(path=path, digest=digest, n_rows=self._n_rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._parquet.close()
        self._stack.__exit__(None, None, None)


class Spool:
    """Rows as a source gave them, kept in a temporary file so that they can be read more than once.

    Parameters
    ----------
    folder : pathlib.Path
        Where to keep them.
    batches : iterable of pyarrow.RecordBatch
        What the source gives.
    """

    def __init__(self, folder: Path, batches: Iterable[pa.RecordBatch]) -> None:
        self.path = folder / "spool.arrow"
        self.schema: pa.Schema | None = None
        writer: Any = None
        self.n_bytes = 0
        try:
            for batch in batches:
                if writer is None:
                    self.schema = batch.schema
                    writer = pa.ipc.new_file(self.path, batch.schema)
                writer.write_batch(batch)
                self.n_bytes += batch.nbytes
        finally:
            if writer is not None:
                writer.close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self.schema is None:
            return
        with pa.memory_map(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            if not reader.num_record_batches:
                yield pa.RecordBatch.from_pylist([], schema=self.schema)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)


def write_parquet(tables: Iterable[pa.Table], path: Path) -> None:
    """Write tables, of one schema, to a local Parquet file of the user's own."""
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
