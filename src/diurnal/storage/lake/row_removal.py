"""Removal of rows from a package: a new package is written, which has the other rows in their order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from diurnal.storage.lake.manifest import SUFFIX
from diurnal.storage.lake.package_key import PackageKey
from diurnal.storage.lake.parquet_writer import PackageFileWriter
from diurnal.storage.lake.partitions import write_part
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.storage.lake.lake_store import Lake

FindRows = Callable[[pa.RecordBatch], Any]
"""Returns a boolean for each row of a record batch."""


def remove_rows(lake: Lake, package: Package, find: FindRows, files: Collection[str]) -> Package:
    """Write a package without some rows, as it would be written if they had never been in it.

    Parameters
    ----------
    lake : Lake
        The lake.
    package : Package
        The package. It stays as it is.
    find : callable
        Returns which rows of a record batch are removed.
    files : collection of str
        The paths of the files that may have such rows; other parts of a package are used again.

    Returns
    -------
    Package
        The package itself if it has no such rows.
    """
    if package.path.endswith(SUFFIX):
        return _remove_from_parts(lake, package, find, files)
    schema = lake.schema(package)
    with lake.workspace() as scratch:
        with PackageFileWriter(scratch / "package.parquet", schema) as file:
            for rows in _other_rows(lake.batches(package), find):
                file.write(rows)
        return lake.publish_package(PackageKey.of(package.path), file)


def _remove_from_parts(lake: Lake, package: Package, find: FindRows, files: Collection[str]) -> Package:
    manifest, schema, folder = lake.manifest(package), lake.schema(package), lake.parts_folder(package)
    parts = []
    for part in manifest.parts:
        path = f"{folder}/{part.name}"
        if path in files:
            rows = _other_rows(lake.read_file(path, part.digest), find)
            part = write_part(lake.address, folder, part.number, rows, schema)  # noqa: PLW2901 - the same part
        parts.append(part)
    return lake.write_manifest(PackageKey.of(package.path), parts, schema, n_parts=manifest.n_parts)


def _other_rows(batches: Iterable[pa.RecordBatch], find: FindRows) -> Iterator[pa.Table]:
    for batch in batches:
        yield pa.Table.from_batches([batch.filter(pa.array(~np.asarray(find(batch), dtype=bool)))])
