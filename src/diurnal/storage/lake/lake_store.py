"""The store of packages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from diurnal.data.deduplication import Deduplication, sort_by_hash
from diurnal.data.train_test_split import TrainTestRoles, hash_threshold
from diurnal.errors import CorruptPackageError
from diurnal.storage.lake import partitions
from diurnal.storage.lake.manifest import SUFFIX, Manifest
from diurnal.storage.lake.package_key import PackageKey
from diurnal.storage.lake.package_reader import PackageReader
from diurnal.storage.lake.parquet_writer import Observer, PackageFileWriter
from diurnal.storage.lake.partitions import PackagePart, compute_n_parts, group_by_part, part_numbers, write_part
from diurnal.types import Package

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.data.row_hash import Hasher, Hashes

ROWS_PER_BATCH = 16_384  # while a part is split
CATEGORIES = ("batches", "train", "test", "candidates", "twins", "folds", "parts", "code", "profiles", "evaluations")


class Lake(PackageReader):
    """The store of packages, on any fsspec URL.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    cells_per_part : int, optional
        Rows times columns of a part; a package with more is stored in parts. All processes that write to a lake use the
        same number.
    create : bool
        Whether to create a local folder that does not exist.
    """

    def __init__(self, root: str, *, cells_per_part: int | None = None, create: bool = True) -> None:
        super().__init__(root, create=create)
        self.cells_per_part = cells_per_part or partitions.CELLS_PER_PART

    def write_package(
        self,
        package_key: PackageKey,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        hasher: Hasher,
        *,
        key: Sequence[str] = (),
        keep_duplicates: bool = False,
        n_rows: int = 0,
        n_bytes: int = 0,
        observe: Observer | None = None,
        exclude: Callable[[Hashes], npt.NDArray[np.bool_]] | None = None,
    ) -> tuple[Package, Deduplication]:
        """Sort rows by their hash, drop duplicates unless `keep_duplicates` is true, and store them as a package.

        Parameters
        ----------
        package_key : PackageKey
            The folder of the package.
        batches : iterable of pyarrow.RecordBatch
            The rows, in `schema`.
        schema : pyarrow.Schema
            The schema of the package.
        hasher : callable
            Returns the hashes of a record batch's rows.
        key : sequence of str
            The columns that identify a sample; rows that agree on them must agree on all columns.
        keep_duplicates : bool
            Whether equal rows are distinct samples, which stay.
        n_rows : int
            The number of rows before deduplication; a large package is stored in parts.
        n_bytes : int
            The approximate size of the rows; those that do not fit in memory are sorted on disk.
        observe : callable, optional
            Called with the rows that are kept, row group after row group, in their order.
        exclude : callable, optional
            Returns which rows are not stored, by their hashes.

        Returns
        -------
        Package, Deduplication
            The package, and the report of the deduplication.

        Raises
        ------
        BatchRejectedError
            If rows with one key differ.
        """
        report = Deduplication(key=tuple(key), keep_duplicates=keep_duplicates)
        number_of_parts = compute_n_parts(n_rows, len(schema), self.cells_per_part)
        with self.workspace() as scratch:
            ordered = sort_by_hash(batches, schema, hasher, report, scratch, n_bytes)
            if exclude is not None:
                ordered = _exclude_rows(ordered, exclude)
            if number_of_parts > 1:
                parts = [
                    write_part(self.address, package_key.parts_folder, number, tables, schema, observe)
                    for number, tables in group_by_part(ordered, number_of_parts)
                ]
                report.raise_on_conflicts()
                return self.write_manifest(package_key, parts, schema, n_parts=number_of_parts), report
            with PackageFileWriter(scratch / "package.parquet", schema, observe) as file:
                for _, table in ordered:
                    file.write(table)
            report.raise_on_conflicts()
            return self.publish_package(package_key, file), report

    def write_manifest(
        self, package_key: PackageKey, parts: Iterable[PackagePart], schema: pa.Schema, *, n_parts: int
    ) -> Package:
        """Write the manifest of parts that exist: it makes them a package.

        Parameters
        ----------
        package_key : PackageKey
            The folder of the package.
        parts : iterable of PackagePart
            The results of :func:`write_part`, in any order; those without rows are left out.
        schema : pyarrow.Schema
            The schema of all parts.
        n_parts : int
            The number of parts into which the rows are partitioned. A single part becomes one file, as
            :meth:`write_package` writes it for few rows.
        """
        folder = package_key.parts_folder
        existing = list(parts) or [write_part(self.address, folder, 0, [], schema)]
        manifest = Manifest.of(existing, schema, n_parts)
        if n_parts > 1:
            data = manifest.dumps()
            digest = hashlib.sha256(data).hexdigest()
            path = self.write_immutable(package_key.path(f"{digest}{SUFFIX}"), data, "lake.manifest")
            return Package(path, digest, manifest.n_rows)
        (part,) = manifest.parts
        path = package_key.path(f"{part.digest}.parquet")
        with self.workspace() as scratch:
            self.fs.get_file(self.url(f"{folder}/{part.name}"), str(scratch / "part.parquet"))
            self.publish_file(scratch / "part.parquet", path)
        return Package(path, part.digest, part.n_rows)

    def split_package(self, package: Package, roles: TrainTestRoles) -> tuple[Package, Package]:
        """Split a package into train and test by the roles of its rows; rows without a target are in neither.

        A part whose rows all have one role becomes a part of that side without a copy.
        """
        if package.path.endswith(SUFFIX):
            return self._split_parts(package, roles)
        batches, masks = self.batches(package), roles.make_masks()
        first = next(batches)
        train_key, test_key = _side_keys(package)
        with self.workspace() as scratch, ExitStack() as files:
            train, test = (
                files.enter_context(PackageFileWriter(scratch / f"{key.category}.parquet", first.schema))
                for key in (train_key, test_key)
            )
            for batch in chain([first], batches):
                for file, mask in zip((train, test), masks(batch), strict=True):
                    file.write(_filter_rows(batch, mask))
            files.close()
            return self.publish_package(train_key, train), self.publish_package(test_key, test)

    def _split_parts(self, package: Package, roles: TrainTestRoles) -> tuple[Package, Package]:
        manifest, schema = self.manifest(package), self.schema(package)
        folder = self.parts_folder(package)
        sides: tuple[list[PackagePart], list[PackagePart]] = ([], [])
        for part in manifest.parts:
            only_side = self._only_side(folder, part, roles, manifest.n_parts)
            for side, parts in enumerate(sides):
                if only_side is None:
                    parts.append(self._split_part(folder, part, roles, side, schema))
                elif only_side == side:
                    parts.append(part)
        train, test = (
            self.write_manifest(key, parts, schema, n_parts=manifest.n_parts)
            for key, parts in zip(_side_keys(package), sides, strict=True)
        )
        return train, test

    def _only_side(self, folder: str, part: PackagePart, roles: TrainTestRoles, n_parts: int) -> int | None:
        """Return the side (0: train, 1: test) of all rows of a part; None if the part must be split row by row.

        Rows with a hash below the threshold are test rows. A part is an interval of hashes, so the parts below that of
        the threshold are test parts, those above are train parts, and only the part of the threshold has both. That
        requires that the package is in the order of those hashes, and that no row lacks a target.
        """
        border = int(part_numbers(np.array([hash_threshold(roles.test_size)], dtype=np.uint64), n_parts)[0])
        if (
            not roles.is_hash_ordered
            or part.number == border
            or self.may_have_nulls(f"{folder}/{part.name}", roles.target)
        ):
            return None
        return int(part.number < border)

    def _split_part(
        self, folder: str, part: PackagePart, roles: TrainTestRoles, side: int, schema: pa.Schema
    ) -> PackagePart:
        masks = roles.make_masks()
        rows = (
            _filter_rows(batch, masks(batch)[side])
            for batch in self.read_file(f"{folder}/{part.name}", part.digest, n_rows=ROWS_PER_BATCH)
        )
        return write_part(self.address, folder, part.number, rows, schema)

    def write_table(self, package_key: PackageKey, table: pa.Table) -> Package:
        """Store a small table as it is, as a package."""
        with self.workspace() as scratch:
            with PackageFileWriter(scratch / "package.parquet", table.schema) as file:
                file.write(table)
            return self.publish_package(package_key, file)

    def write_bytes(self, experiment: str, category: str, data: bytes, suffix: str) -> str:
        """Store a file of no data interval, named by its digest; return its path."""
        return self.write_immutable(f"{experiment}/{category}/{hashlib.sha256(data).hexdigest()}{suffix}", data)

    def read_bytes(self, path: str) -> bytes:
        """Read a file of :meth:`write_bytes`.

        Raises
        ------
        CorruptPackageError
            If its content does not match its digest.
        """
        data = self.get(path)
        if hashlib.sha256(data).hexdigest() != PurePosixPath(path).stem:
            raise CorruptPackageError(
                f"the file {path} is damaged: its content does not match its digest", hint="restore it from a backup"
            )
        return data

    def publish_package(self, package_key: PackageKey, file: PackageFileWriter) -> Package:
        """Move a complete file to its path, as a package."""
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        path = package_key.path(f"{digest}.parquet")
        self.publish_file(file.path, path)
        return Package(path, digest, file.n_rows)

    def register_warehouse(self, warehouse_id: str) -> None:
        """Record that a warehouse refers to files here: garbage collection for another warehouse refuses this lake."""
        if warehouse_id not in self.warehouses():
            self.write_immutable(f".warehouses/{warehouse_id}", b"")

    def warehouses(self) -> set[str]:
        """Return the ids of the warehouses that are registered."""
        folder = self.url(".warehouses")
        return {str(path).rpartition("/")[2] for path in self.fs.find(folder)} if self.fs.exists(folder) else set()

    def files(self, experiment: str | None = None) -> Iterator[tuple[str, datetime]]:
        """Yield the path of each stored file and the time at which it was written, of one experiment or of all."""
        for path in self.find(experiment or ""):
            if "/" in path and path.split("/")[1] in CATEGORIES:
                try:
                    modified = self.modified(path)
                except FileNotFoundError:  # a search has ended meanwhile, and has deleted its folds
                    continue
                yield path, modified


def _exclude_rows(
    ordered: Iterable[tuple[Hashes, pa.Table]], exclude: Callable[[Hashes], npt.NDArray[np.bool_]]
) -> Iterator[tuple[Hashes, pa.Table]]:
    for hashes, table in ordered:
        others = ~exclude(hashes)
        yield hashes[others], table.filter(pa.array(others))


def _side_keys(package: Package) -> tuple[PackageKey, PackageKey]:
    """Return the keys of the train and the test package of a batch."""
    batch = PackageKey.of(package.path)
    return replace(batch, category="train"), replace(batch, category="test")


def _filter_rows(batch: pa.RecordBatch, mask: npt.NDArray[np.bool_]) -> pa.Table:
    return pa.Table.from_batches([batch.filter(pa.array(mask))])
