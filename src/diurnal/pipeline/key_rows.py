"""Where the rows of a sample are: in packages of the lake, in copies of batches, and in loads of predictions.

All of them are searched, also those that a correction or another version has replaced. Of a package in parts, only the
part with the hash of the key is read, and of that only the columns of the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from diurnal.data import Schema
from diurnal.data.sample_key import SampleKey
from diurnal.data.version_reader import read_in_newest_schema, stored_names
from diurnal.errors import NotFoundError
from diurnal.pipeline.prediction_columns import ROW_NUMBER, prediction_contract
from diurnal.storage.lake.manifest import SUFFIX
from diurnal.storage.lake.partitions import part_numbers
from diurnal.types import Package

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.storage.lake import Lake
    from diurnal.storage.stores import Stores

ROLES = ("batch", "train", "test")


@dataclass(frozen=True)
class PackageRows:
    """The rows of a sample in a package.

    Attributes
    ----------
    data_interval_start : datetime
        The data interval of the package.
    role : {"batch", "train", "test"}
        What the package contains.
    package : Package
        The package in the lake.
    n_rows : int
        The number of rows of the sample; more than one only where each row is a sample of its own.
    """

    data_interval_start: datetime
    role: str
    package: Package
    n_rows: int


@dataclass(frozen=True)
class KeyRows:
    """All rows of a sample.

    Attributes
    ----------
    key : SampleKey
        The sample.
    packages : tuple of PackageRows
        The packages of the lake that contain it, oldest data interval first.
    missing : tuple of Package
        Packages that are not in the lake any more, and could not be searched.
    batches : tuple of dict
        Its rows in ``batch_rows_<experiment>``: ``load_id`` and ``truth``. Empty without a key.
    predictions : tuple of dict
        Its rows in ``prediction_rows_<experiment>``: ``load_id``, ``prediction``, and ``probability_<class>``.
    """

    key: SampleKey
    packages: tuple[PackageRows, ...]
    missing: tuple[Package, ...]
    batches: tuple[dict[str, Any], ...]
    predictions: tuple[dict[str, Any], ...]


def parse_key(stores: Stores, experiment: str, key: Any) -> SampleKey:
    """Return a key of an experiment.

    Parameters
    ----------
    stores : Stores
        The stores of the project.
    experiment : str
        Name of the experiment.
    key : object
        Texts as on the command line (a list), a value, or a mapping from columns to values.

    Raises
    ------
    NotFoundError
        If the experiment has no contract, which its first batch fixes.
    UsageError
        If the key does not have the columns and kinds of the contract.
    """
    stored = stores.warehouse.schema(experiment)
    if stored is None:
        message = f"{experiment} has no contract, which its first batch fixes"
        raise NotFoundError(message, hint=f"run it first: diurnal run {experiment}")
    contract = Schema.from_dict(stored)
    if isinstance(key, list | tuple):
        return SampleKey.parse(contract, experiment, key)
    return SampleKey.of(contract, experiment, key)


def find_key_rows(stores: Stores, key: SampleKey, roles: Sequence[str] = ROLES) -> KeyRows:
    """Find the rows of a sample.

    Parameters
    ----------
    stores : Stores
        The stores of the project.
    key : SampleKey
        The result of :func:`parse_key`.
    roles : sequence of str
        The roles of the packages to search.
    """
    packages, missing = [], []
    for row in stores.warehouse.packages():
        if row["experiment"] != key.experiment or row["role"] not in roles:
            continue
        package = Package(row["path"], row["digest"], row["n_rows"])
        try:
            n_rows = sum(int(key.find(rows).sum()) for rows in rows_near_key(stores.lake, package, key))
        except NotFoundError:
            missing.append(package)
            continue
        if n_rows:
            packages.append(PackageRows(row["data_interval_start"], row["role"], package, n_rows))
    packages.sort(key=lambda found: (found.data_interval_start, ROLES.index(found.role)))
    return KeyRows(key, tuple(packages), tuple(missing), *_find_loaded_rows(stores, key))


def rows_near_key(lake: Lake, package: Package, key: SampleKey) -> Iterator[pa.RecordBatch]:
    """Stream the identity of the rows of a package that may have a key, in the newest version of the contract.

    Parameters
    ----------
    lake : Lake
        The lake.
    package : Package
        A batch, or its train or test rows.
    key : SampleKey
        The sample.

    Raises
    ------
    NotFoundError
        If a file of the package is missing.
    """
    schema = key.schema
    for path, digest in files_near_key(lake, package, key):
        present = lake.schema(Package(path, digest, 0)).names
        batches: Iterable[pa.RecordBatch] = lake.read_file(path, digest, stored_names(schema, key.columns, present))
        yield from read_in_newest_schema(batches, schema, key.columns)


def files_near_key(lake: Lake, package: Package, key: SampleKey) -> list[tuple[str, str]]:
    """Return the path and the digest of each file of a package that may have a row of a key."""
    if not package.path.endswith(SUFFIX):
        return [(package.path, package.digest)]
    manifest, folder = lake.manifest(package), lake.parts_folder(package)
    number = part_numbers(np.array([key.hash], dtype=np.uint64), manifest.n_parts)[0]
    # rows with equal content have hashes of their own, and can be in any part
    parts = [part for part in manifest.parts if key.schema.keeps_duplicates or part.number == number]
    return [(f"{folder}/{part.name}", part.digest) for part in parts]


def _find_loaded_rows(stores: Stores, key: SampleKey) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    warehouse, schema, name = stores.warehouse, key.schema, key.experiment
    batches = warehouse.batch_rows_of_key(schema, name, key.values) if schema.key else []
    versions = warehouse.versions(name)
    if not versions:
        return tuple(batches), ()
    shown = prediction_contract(schema, versions[0])
    names = [name for name in shown.key if name != ROW_NUMBER]
    values = dict(zip(names, key.values.values(), strict=True))
    return tuple(batches), tuple(warehouse.prediction_rows_of_key(shown, name, values))
