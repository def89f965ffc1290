"""The store of packages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from diurnal.data.deduplication import Arrangement, arrange
from diurnal.data.row_hash import Roles, threshold
from diurnal.errors import CorruptPackageError
from diurnal.storage.lake import partitions as parting
from diurnal.storage.lake.dataset_reader import Packages
from diurnal.storage.lake.manifest import SUFFIX, Manifest
from diurnal.storage.lake.parquet_writer import OrderedFile
from diurnal.storage.lake.partitions import Part, by_part, n_parts, part_of, parts_folder, write_part
from diurnal.types import DataInterval, Package

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.data.deduplication import Hasher

ROWS_AT_ONCE = 16_384  # while the part at the border is cut
KINDS = ("batches", "train", "test", "candidates", "twins", "parts", "code")


class Lake(Packages):
    """The store of packages, on any fsspec URL.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    cells_a_part : int, optional
        Rows times columns of a part; what has more is a package of parts. All who write into a lake agree on it.
    create : bool
        Whether a folder is made that is not there.
    """

    def __init__(self, root: str, *, cells_a_part: int | None = None, create: bool = True) -> None:
        super().__init__(root, create=create)
        self.cells_a_part = cells_a_part or parting.CELLS_A_PART

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
        keep: bool = False,
        n_rows: int = 0,
        n_bytes: int = 0,
    ) -> tuple[Package, Arrangement]:
        """Order rows by their hash, drop repeated ones unless told otherwise, and keep them as a package.

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
        keep : bool
            Whether repeated rows are samples of their own, and stay.
        n_rows : int
            How many came: many are kept as a package of parts.
        n_bytes : int
            About how large the rows are; more than fits in memory is ordered on disk.

        Returns
        -------
        Package, Arrangement
            The package, and what the ordering dropped.

        Raises
        ------
        BatchRejectedError
            If rows with one key differ.
        """
        arrangement = Arrangement(key=tuple(key), keep=keep)
        dealt = n_parts(n_rows, len(schema), self.cells_a_part)
        with self.workspace() as scratch:
            ordered = arrange(batches, schema, hasher, arrangement, scratch, n_bytes)
            if dealt > 1:
                folder = parts_folder(experiment, interval.key)
                written = [
                    write_part(self.address, folder, number, tables, schema)
                    for number, tables in by_part(ordered, dealt)
                ]
                arrangement.refuse_conflicts()
                return self.assemble(experiment, kind, interval, written, schema, n_parts=dealt), arrangement
            with OrderedFile(scratch / "package.parquet", schema) as file:
                for _, table in ordered:
                    file.write(table)
            arrangement.refuse_conflicts()
            return self._move_in(experiment, kind, interval, file), arrangement

    def assemble(
        self,
        experiment: str,
        kind: str,
        interval: DataInterval,
        parts: Iterable[Part],
        schema: pa.Schema,
        *,
        n_parts: int,
    ) -> Package:
        """Make a package of parts that are all written: its manifest, under which they are found.

        Parameters
        ----------
        experiment, kind, interval
            As for :meth:`write`.
        parts : iterable of Part
            What :func:`write_part` gave, in any order; those without rows are left out.
        schema : pyarrow.Schema
            Of all of them.
        n_parts : int
            Into how many the rows were dealt. A single one becomes what :meth:`write` makes of few rows: one file.
        """
        folder = parts_folder(experiment, interval.key)
        written = list(parts) or [write_part(self.address, folder, 0, [], schema)]
        manifest = Manifest.of(written, schema, n_parts)
        if n_parts > 1:
            data = manifest.dumps()
            digest = hashlib.sha256(data).hexdigest()
            path = self.put(f"{experiment}/{kind}/{interval.key}/{digest}{SUFFIX}", data, "lake.manifest")
            return Package(path, digest, manifest.n_rows)
        (part,) = manifest.parts
        path = f"{experiment}/{kind}/{interval.key}/{part.digest}.parquet"
        with self.workspace() as scratch:
            self.fs.get_file(self.url(f"{folder}/{part.name}"), str(scratch / "part.parquet"))
            self.move_in(scratch / "part.parquet", path)
        return Package(path, part.digest, part.n_rows)

    def cut(self, experiment: str, interval: DataInterval, package: Package, roles: Roles) -> tuple[Package, Package]:
        """Cut a package in two, as train and test, by the roles of its rows; rows without a target are in neither.

        Of a package of parts, one that lies on one side whole is that side's, as it is.
        """
        if package.path.endswith(SUFFIX):
            return self._cut_parts(experiment, interval, package, roles)
        source, masks = self.batches(package), roles.masks()
        first = next(source)
        with self.workspace() as scratch, ExitStack() as files:
            train, test = (
                files.enter_context(OrderedFile(scratch / f"{kind}.parquet", first.schema))
                for kind in ("train", "test")
            )
            for batch in chain([first], source):
                for file, mask in zip((train, test), masks(batch), strict=True):
                    file.write(_chosen(batch, mask))
            files.close()
            return (
                self._move_in(experiment, "train", interval, train),
                self._move_in(experiment, "test", interval, test),
            )

    def _cut_parts(
        self, experiment: str, interval: DataInterval, package: Package, roles: Roles
    ) -> tuple[Package, Package]:
        manifest, schema = self.manifest(package), self.schema(package)
        sides: tuple[list[Part], list[Part]] = ([], [])
        for part in manifest.parts:
            whole = self._whole_side(experiment, interval, part, roles, manifest.n_parts)
            for side, parts in enumerate(sides):
                if whole is None:
                    parts.append(self._cut_part(experiment, interval, part, roles, side, schema))
                elif whole == side:
                    parts.append(part)
        train, test = (
            self.assemble(experiment, kind, interval, parts, schema, n_parts=manifest.n_parts)
            for kind, parts in zip(("train", "test"), sides, strict=True)
        )
        return train, test

    def _whole_side(
        self, experiment: str, interval: DataInterval, part: Part, roles: Roles, n_parts: int
    ) -> int | None:
        """Tell on which side (0: train, 1: test) a part lies with all of its rows; None where it must be cut."""
        border = int(part_of(np.array([threshold(roles.test_size)], dtype=np.uint64), n_parts)[0])
        path = f"{parts_folder(experiment, interval.key)}/{part.name}"
        if not roles.in_order or part.number == border or self.may_have_nulls(path, roles.target):
            return None
        return int(part.number < border)

    def _cut_part(
        self, experiment: str, interval: DataInterval, part: Part, roles: Roles, side: int, schema: pa.Schema
    ) -> Part:
        folder, masks = parts_folder(experiment, interval.key), roles.masks()
        rows = (
            _chosen(batch, masks(batch)[side])
            for batch in self.rows(f"{folder}/{part.name}", part.digest, n_rows=ROWS_AT_ONCE)
        )
        return write_part(self.address, folder, part.number, rows, schema)

    def keep(self, experiment: str, kind: str, interval: DataInterval, table: pa.Table) -> Package:
        """Keep a small table as it is."""
        with self.workspace() as scratch:
            with OrderedFile(scratch / "package.parquet", table.schema) as file:
                file.write(table)
            return self._move_in(experiment, kind, interval, file)

    def keep_bytes(self, experiment: str, kind: str, data: bytes, suffix: str) -> str:
        """Keep a file that belongs to no data interval, named by its digest; gives its path."""
        return self.put(f"{experiment}/{kind}/{hashlib.sha256(data).hexdigest()}{suffix}", data)

    def kept_bytes(self, path: str) -> bytes:
        """Give a file that :meth:`keep_bytes` kept.

        Raises
        ------
        CorruptPackageError
            If it is not what its name says it is.
        """
        data = self.get(path)
        if hashlib.sha256(data).hexdigest() != PurePosixPath(path).stem:
            raise CorruptPackageError(
                f"the file {path} is not what its name says it is", hint="restore it from a backup"
            )
        return data

    def _move_in(self, experiment: str, kind: str, interval: DataInterval, file: OrderedFile) -> Package:
        """Put a finished file in its place, as a package."""
        with file.path.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        path = f"{experiment}/{kind}/{interval.key}/{digest}.parquet"
        self.move_in(file.path, path)
        return Package(path, digest, file.n_rows)

    def register(self, warehouse: str) -> None:
        """Leave the mark of the warehouse whose packages are kept here, so that no other one tidies up."""
        if warehouse not in self.warehouses():
            self.put(f".warehouses/{warehouse}", b"")

    def warehouses(self) -> set[str]:
        """Give the marks of the warehouses that have written here."""
        folder = self.url(".warehouses")
        return {str(path).rpartition("/")[2] for path in self.fs.find(folder)} if self.fs.exists(folder) else set()

    def files(self) -> Iterator[tuple[str, datetime]]:
        """Give each file below the root that is the lake's own, and when it was written."""
        prefix = self.root.rstrip("/") + "/"
        for path in self.fs.find(self.root):
            name = str(path).removeprefix(prefix)
            if name.split("/")[0] == ".tmp" or "/" not in name:
                continue
            if name.split("/")[1] in KINDS:
                yield name, self.fs.modified(path)


def _chosen(batch: pa.RecordBatch, mask: npt.NDArray[np.bool_]) -> pa.Table:
    return pa.Table.from_batches([batch.filter(pa.array(mask))])
