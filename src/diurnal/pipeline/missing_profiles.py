"""Profiles of batches that have none: those that were stored before there were profiles, or whose profile failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError
from diurnal.pipeline.batch_profiles import save_profile
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.data import Contract, Schema
    from diurnal.data.profiles import Profile
    from diurnal.storage.stores import Stores


@dataclass(frozen=True)
class ProfiledBatch:
    """A batch whose profile was made.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    data_interval_start : datetime
        Start of the data interval.
    digest : str
        The digest of the batch.
    n_rows : int
        Its number of rows.
    state : str
        ``"made"``, or why there is no profile.
    """

    experiment: str
    data_interval_start: datetime
    digest: str
    n_rows: int
    state: str = "made"


def make_missing_profiles(
    stores: Stores,
    experiment: str | None = None,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ProfiledBatch]:
    """Make the profiles of batches that have none, by reading their packages as streams.

    Batches that were replaced since are included: a champion may have been trained on them.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str, optional
        Only batches of this experiment.
    force : bool
        Whether to make profiles again that exist.
    progress : callable, optional
        Called with the number of batches that are done and the number of all.

    Yields
    ------
    ProfiledBatch
        One for each batch that had no profile. A batch that cannot be read does not stop the others.
    """
    from diurnal.data import Contract

    existing = {_key_of(row, "batch_digest") for row in stores.warehouse.profile_files(experiment)}
    batches = [
        row
        for row in stores.warehouse.packages()
        if row["role"] == "batch"
        and experiment in (None, row["experiment"])
        and (force or _key_of(row, "digest") not in existing)
    ]
    contract_of = cache(lambda name: Contract.from_rows(stores.warehouse.contracts(name)))
    for i, row in enumerate(batches):
        if progress:
            progress(i, len(batches))
        yield _profile_batch(stores, contract_of, row)
    if progress and batches:
        progress(len(batches), len(batches))


def _key_of(row: Mapping[str, Any], digest: str) -> tuple[str, datetime, str]:
    return row["experiment"], row["data_interval_start"], row[digest]


def _profile_batch(
    stores: Stores, contract_of: Callable[[str], Contract | None], row: Mapping[str, Any]
) -> ProfiledBatch:
    batch = Package(row["path"], row["digest"], row["n_rows"])
    name, start = row["experiment"], row["data_interval_start"]
    state = "made"
    try:
        save_profile(stores, name, start, batch, build_profile(stores, name, contract_of(name), batch))
    except DiurnalError as error:
        state = error.message
    return ProfiledBatch(name, start, row["digest"], row["n_rows"], state)


def build_profile(stores: Stores, experiment: str, contract: Contract | None, batch: Package) -> Profile:
    """Make the profile of a batch by reading its package as a stream.

    Raises
    ------
    DiurnalError
        If the batch cannot be read or profiled.
    """
    from diurnal.data.profile_builder import ProfileBuilder

    if contract is None:
        raise DiurnalError(f"{experiment} has no contract, which its first batch fixes")
    builder = ProfileBuilder(layout_of(contract, stores.lake.schema(batch).names), batch.n_rows)
    for rows in stores.lake.batches(batch):
        builder.update(rows)
    profile = builder.build()
    if profile is None:
        raise DiurnalError(str(builder.error))
    return profile


def layout_of(contract: Contract, names: Collection[str]) -> Schema:
    """Return the newest version of a contract with some columns; the newest one of all if no version has them."""
    schemas = [version.schema for version in reversed(contract.versions)]
    return next((schema for schema in schemas if set(schema.names) == set(names)), schemas[0])
