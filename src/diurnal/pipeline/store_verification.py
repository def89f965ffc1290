"""Verification and repair: stored files and rows are compared with the digests in the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError
from diurnal.pipeline.recorded_results import RUN_FILES
from diurnal.types import DataInterval, Package, Run

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema
    from diurnal.storage.stores import Stores


@dataclass(frozen=True)
class CheckedObject:
    """An object that was compared with its digest.

    Attributes
    ----------
    kind : str
        ``"package"``, ``"profile"``, ``"model"``, ``"load"``, ``"predictions"``, or one of
        :data:`diurnal.pipeline.recorded_results.RUN_FILES`.
    experiment, name : str
        Name of the experiment, and of the object.
    state : str
        ``"good"``, ``"missing"`` or ``"damaged"``; of a load also ``"unknown"`` (its package cannot be read)
        or ``"outdated"`` (the view shows it, and the data interval has another batch now).
    """

    kind: str
    experiment: str
    name: str
    state: str


def verify_stores(stores: Stores, experiment: str | None = None) -> Iterator[CheckedObject]:
    """Compute the digests of all packages and models again, and compare the rows of all loads with their packages.

    Of the visible loads of predictions, the rows are counted.

    Parameters
    ----------
    stores : Stores
        The stores to verify.
    experiment : str, optional
        Only objects of this experiment.

    Yields
    ------
    CheckedObject
    """
    packages = _rows_of(stores.warehouse.packages(), experiment)
    hashed: dict[str, str | None] = {}
    for row in packages:
        state = _compare_digests(stores.lake.digest_of(row["path"], hashed), row["digest"])
        yield CheckedObject("package", row["experiment"], row["path"], state)
    for row in stores.warehouse.profile_files(experiment):
        state = _compare_digests(stores.lake.digest_of(row["path"], hashed), row["digest"])
        yield CheckedObject("profile", row["experiment"], row["path"], state)
    runs = _rows_of(stores.warehouse.runs(), experiment)
    for kind in RUN_FILES:
        for path, owner in sorted({run[kind]: run["experiment"] for run in runs if run[kind]}.items()):
            yield CheckedObject(
                kind, owner, path, _compare_digests(stores.lake.compute_digest(path), PurePosixPath(path).stem)
            )
    for row in _rows_of(stores.warehouse.versions(), experiment):
        state = _compare_digests(stores.models.digest_of(row["path"]), row["digest"])
        yield CheckedObject("model", row["experiment"], f"version {row['version']} in {row['path']}", state)
    yield from (one.finding for one in _check_loads(stores, experiment, packages))
    yield from _check_predictions(stores, experiment)


def repair_loads(stores: Stores, experiment: str | None = None, *, requested_by: str) -> Iterator[CheckedObject]:
    """Load batches again whose rows in the warehouse are damaged or outdated.

    The view shows the former rows until the new ones are complete. A run in progress of one of the data intervals is
    superseded.

    Parameters
    ----------
    stores : Stores
        The stores to repair.
    experiment : str, optional
        Only objects of this experiment.
    requested_by : str
        The user or the service that requests it.

    Yields
    ------
    CheckedObject
        One for each load that was replaced, with its former state.
    """
    for one in list(_check_loads(stores, experiment, _rows_of(stores.warehouse.packages(), experiment))):
        if one.finding.state in ("damaged", "outdated"):
            _load_again(stores, one, requested_by)
            yield one.finding


def _load_again(stores: Stores, one: _Load, requested_by: str) -> None:
    name, warehouse, batch = one.finding.experiment, stores.warehouse, one.batch
    epoch = warehouse.claim_interval(name, one.interval, requested_by=requested_by)
    run = Run("", name, one.interval, epoch, batch.digest, batch.digest, "")
    damaged = one.finding.state == "damaged"
    if damaged and not one.is_shown:
        warehouse.discard_load(run, one.load_id)  # a run that fetches this batch again loads it again
        return
    columns, leading = stores.lake.schema(batch), {one.contract.target, *one.contract.key}
    warehouse.load(
        run,
        batch,
        columns,
        stores.lake.batches(batch),
        leading=leading,
        contract=one.contract,
        replacing=one.load_id if damaged else None,
    )


@dataclass(frozen=True)
class _Load:
    """A complete load, and the batch that its data interval has now."""

    load_id: int
    finding: CheckedObject
    interval: DataInterval
    batch: Package
    is_shown: bool
    contract: Schema


def _check_loads(stores: Stores, experiment: str | None, packages: list[dict[str, Any]]) -> Iterator[_Load]:
    """Compare the rows of every complete load with its package."""
    loads = [row for row in _rows_of(stores.warehouse.loads(), experiment) if row["state"] == "complete"]
    batches, contracts = _present_batches(stores, loads), _newest_contracts(stores, loads)
    known = {
        (row["experiment"], row["data_interval_start"], row["digest"]): _package_of(row)
        for row in packages
        if row["role"] == "batch"
    }
    for row in loads:
        owner, start = row["experiment"], row["data_interval_start"]
        package, (interval, batch) = known[owner, start, row["digest"]], batches[owner, start.astimezone(UTC)]
        state = _load_state(stores, row, package, contracts[owner])
        if row["shown"] and batch.digest != row["digest"] and state == "good":
            state = "outdated"
        finding = CheckedObject(
            "load", owner, f"load {row['load_id']} of {start.astimezone(UTC):%Y-%m-%dT%H:%MZ}", state
        )
        yield _Load(row["load_id"], finding, interval, batch, row["shown"], contracts[owner])


def _check_predictions(stores: Stores, experiment: str | None) -> Iterator[CheckedObject]:
    """Count the rows of the visible loads of predictions."""
    for row in stores.warehouse.prediction_loads(experiment):
        if row["shown"]:
            owner, start = row["experiment"], row["data_interval_start"].astimezone(UTC)
            n_rows = stores.warehouse.count_predictions(owner, row["load_id"])
            state = "good" if n_rows == row["n_rows"] else "damaged"
            yield CheckedObject("predictions", owner, f"load {row['load_id']} of {start:%Y-%m-%dT%H:%MZ}", state)


def _present_batches(
    stores: Stores, loads: list[dict[str, Any]]
) -> dict[tuple[str, datetime], tuple[DataInterval, Package]]:
    """Return the present batch of each data interval."""
    found = {}
    for experiment in {row["experiment"] for row in loads}:
        newest = max(row["data_interval_start"] for row in loads if row["experiment"] == experiment)
        upto = DataInterval(newest, newest + timedelta(seconds=1))  # only its start counts
        for interval, package in stores.warehouse.window(experiment, upto):
            found[experiment, interval.start] = (interval, package)
    return found


def _newest_contracts(stores: Stores, loads: list[dict[str, Any]]) -> dict[str, Schema]:
    """Return the newest version of the contract of each experiment that has loads."""
    from diurnal.data import Schema

    found = {name: stores.warehouse.schema(name) for name in {row["experiment"] for row in loads}}
    return {name: Schema.from_dict(plain) for name, plain in found.items() if plain is not None}


def _rows_of(rows: list[dict[str, Any]], experiment: str | None) -> list[dict[str, Any]]:
    return [row for row in rows if experiment in (None, row["experiment"])]


def _compare_digests(found: str | None, promised: str) -> str:
    if found is None:
        return "missing"
    return "good" if found == promised else "damaged"


def _package_of(row: dict[str, Any]) -> Package:
    return Package(row["path"], row["digest"], row["n_rows"])


def _load_state(stores: Stores, row: dict[str, Any], package: Package, contract: Schema) -> str:
    """Compare the rows of a load with those of its package, in any order."""
    try:
        schema = stores.lake.schema(package)
        kept = _content_hash(stores.lake.batches(package))
    except DiurnalError:
        return "unknown"
    loaded = _content_hash(stores.warehouse.load_rows(row["experiment"], row["load_id"], schema, contract))
    return "good" if loaded == kept else "damaged"


def _content_hash(batches: Iterable[pa.RecordBatch]) -> tuple[int, int]:
    """Return the number of rows and the sum of their hashes: one pass, bounded memory, independent of the order."""
    import numpy as np

    from diurnal.data.row_hash import hash_rows

    n_rows = total = 0
    for batch in batches:
        n_rows += batch.num_rows
        total += int(hash_rows(batch, batch.schema.names, "content").sum(dtype=np.uint64))
    return n_rows, total % 2**64
