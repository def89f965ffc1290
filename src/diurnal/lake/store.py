"""The store of packages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from diurnal.arranging import Arrangement, arrange
from diurnal.lake import parts as parting
from diurnal.lake.manifest import SUFFIX, Manifest
from diurnal.lake.packages import Packages
from diurnal.lake.parts import Part, by_part, n_parts, part_of, parts_folder, write_part
from diurnal.lake.writing import OrderedFile
from diurnal.splitting import is_test, threshold
from diurnal.values import DataInterval, Package

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from diurnal.arranging import Hasher

ROWS_AT_ONCE = 16_384  # while the part at the border is cut
KINDS = ("batches", "train", "test", "candidates", "twins", "parts")


class Lake(Packages):
    """The store of packages, on any fsspec URL.

    Parameters
    ----------
    root : str
        A folder, or a URL such as ``s3://bucket/prefix``.
    cells_a_part : int, optional
        Rows times columns of a part; what has more is a package of parts. All who write into a lake agree on it.
    """

    def __init__(self, root: str, *, cells_a_part: int | None = None) -> None:
        super().__init__(root)
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
        n_rows: int = 0,
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
        BatchRefused
            If rows with one key differ.
        """
        arrangement = Arrangement(key=tuple(key))
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

    def cut(
        self, experiment: str, interval: DataInterval, package: Package, hasher: Hasher, test_size: float
    ) -> tuple[Package, Package]:
        """Cut a package in two, as train and test, where the hash of its rows reaches `test_size`.

        A part that lies on one side whole is that side's, as it is; only the one that holds the border is read.
        """
        if package.path.endswith(SUFFIX):
            return self._cut_parts(experiment, interval, package, hasher, test_size)
        source = self.batches(package)
        first = next(source)
        with self.workspace() as scratch, ExitStack() as files:
            train, test = (
                files.enter_context(OrderedFile(scratch / f"{kind}.parquet", first.schema))
                for kind in ("train", "test")
            )
            for batch in chain([first], source):
                mask = is_test(hasher(batch), test_size)
                train.write(_chosen(batch, ~mask))
                test.write(_chosen(batch, mask))
            files.close()
            return (
                self._move_in(experiment, "train", interval, train),
                self._move_in(experiment, "test", interval, test),
            )

    def _cut_parts(
        self, experiment: str, interval: DataInterval, package: Package, hasher: Hasher, test_size: float
    ) -> tuple[Package, Package]:
        import numpy as np

        manifest, folder = self.manifest(package), parts_folder(experiment, interval.key)
        border = int(part_of(np.array([threshold(test_size)], dtype=np.uint64), manifest.n_parts)[0])
        schema = self.schema(package)
        sides = []
        for kind, tested in (("train", False), ("test", True)):
            parts = [part for part in manifest.parts if part.number != border and (part.number < border) == tested]
            for part in (part for part in manifest.parts if part.number == border):
                rows = (
                    _chosen(batch, is_test(hasher(batch), test_size) == tested)
                    for batch in self.rows(f"{folder}/{part.name}", part.digest, n_rows=ROWS_AT_ONCE)
                )
                parts.append(write_part(self.address, folder, border, rows, schema))
            sides.append(self.assemble(experiment, kind, interval, parts, schema, n_parts=manifest.n_parts))
        train, test = sides
        return train, test

    def keep(self, experiment: str, kind: str, interval: DataInterval, table: pa.Table) -> Package:
        """Keep a small table as it is."""
        with self.workspace() as scratch:
            with OrderedFile(scratch / "package.parquet", table.schema) as file:
                file.write(table)
            return self._move_in(experiment, kind, interval, file)

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
