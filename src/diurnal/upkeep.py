"""Holding what is kept against what the warehouse says, and removing what nothing refers to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, DiurnalError
from diurnal.values import DataInterval, Package

if TYPE_CHECKING:
    from diurnal.day import Stores
    from diurnal.splitting import Hashes


@dataclass(frozen=True)
class Finding:
    """One thing that was held against its digest.

    Attributes
    ----------
    kind : str
        ``"package"``, ``"candidates"``, ``"model"`` or ``"load"``.
    experiment, name : str
        Whose it is, and which.
    state : str
        ``"good"``, ``"missing"`` or ``"damaged"``; of a load also ``"unknown"`` (its package cannot be read, so there
        is nothing to hold it against) or ``"outdated"`` (it is shown, and the interval's batch is another by now).
    """

    kind: str
    experiment: str
    name: str
    state: str


def verify(stores: Stores, experiment: str | None = None) -> Iterator[Finding]:
    """Hash every package and model again, and hold the rows of every load against its package.

    Parameters
    ----------
    stores : Stores
        What to verify.
    experiment : str, optional
        Only this experiment's.

    Yields
    ------
    Finding
    """
    for row in _of(stores.warehouse.packages(), experiment):
        state = _state(stores.lake.digest_of(row["path"]), row["digest"])
        yield Finding("package", row["experiment"], row["path"], state)
    for run in _of(stores.warehouse.runs(), experiment):
        if path := run["candidates"]:
            state = _state(stores.lake.digest_of(path), PurePosixPath(path).stem)
            yield Finding("candidates", run["experiment"], path, state)
    for row in _of(stores.warehouse.versions(), experiment):
        state = _state(stores.models.digest_of(row["path"]), row["digest"])
        yield Finding("model", row["experiment"], f"version {row['version']} in {row['path']}", state)
    loads = [row for row in _of(stores.warehouse.loads(), experiment) if row["state"] == "complete"]
    batches = _batches(stores, loads)
    for row in loads:
        name = f"load {row['load_id']} of {row['data_interval_start'].astimezone(UTC):%Y-%m-%dT%H:%MZ}"
        state = _load_state(stores, row)
        if row["shown"] and batches[row["experiment"], row["data_interval_start"].astimezone(UTC)] != row["digest"]:
            state = "outdated" if state == "good" else state
        yield Finding("load", row["experiment"], name, state)


def _batches(stores: Stores, loads: list[dict[str, Any]]) -> dict[tuple[str, datetime], str]:
    """Give the digest of each data interval's batch, as the warehouse points at it now."""
    found = {}
    for experiment in {row["experiment"] for row in loads}:
        newest = max(row["data_interval_start"] for row in loads if row["experiment"] == experiment)
        upto = DataInterval(newest, newest + timedelta(seconds=1))  # only its start counts
        for interval, package in stores.warehouse.window(experiment, upto):
            found[experiment, interval.start] = package.digest
    return found


def _refuse_another(stores: Stores) -> None:
    """Refuse to tidy up what another warehouse keeps here."""
    marks = stores.lake.warehouses()
    if marks - {stores.warehouse.identity} or (not marks and next(stores.lake.files(), None)):
        raise ConfigurationError(
            f"the lake {stores.lake.root} is not this warehouse's alone; what another one refers to would be removed",
            advice="set DIURNAL_WAREHOUSE and DIURNAL_LAKE to those that belong together",
        )


def _of(rows: list[dict[str, Any]], experiment: str | None) -> list[dict[str, Any]]:
    return [row for row in rows if experiment in (None, row["experiment"])]


def _state(found: str | None, promised: str) -> str:
    if found is None:
        return "missing"
    return "good" if found == promised else "damaged"


def _load_state(stores: Stores, row: dict[str, Any]) -> str:
    """Compare the rows of a load with those of its package, whatever their order."""
    import numpy as np

    key = row["data_interval_start"].astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = f"{row['experiment']}/batches/{key}/{row['digest']}.parquet"
    package = Package(path, row["digest"], row["n_rows"])
    try:
        kept = stores.lake.read(package)
    except DiurnalError:
        return "unknown"
    loaded = stores.warehouse.load_rows(row["experiment"], row["load_id"])
    if loaded.num_rows != kept.num_rows:
        return "damaged"
    same = np.array_equal(_content(kept), _content(loaded.select(kept.column_names).cast(kept.schema)))
    return "good" if same else "damaged"


def _content(table: Any) -> Hashes:
    import numpy as np

    from diurnal.splitting import identities

    return np.sort(identities(table, table.column_names, "content"))


def gc(stores: Stores, *, older_than: timedelta, now: datetime | None = None, dry_run: bool = False) -> list[str]:
    """Remove what nothing refers to: files and rows that a killed or superseded attempt left behind.

    Batches are never removed: a corrected batch's former package stays, as the runs that learnt it name it.

    Parameters
    ----------
    stores : Stores
        What to clean.
    older_than : timedelta
        What is younger may belong to a run that is under way, and stays.
    now : datetime, optional
        Against which the age is measured; this moment unless told.
    dry_run : bool
        Whether only to tell.

    Returns
    -------
    list of str
        What was removed.
    """
    _refuse_another(stores)
    limit = (now or datetime.now(UTC)) - older_than
    warehouse = stores.warehouse
    runs = warehouse.runs()
    referred = {row["path"] for row in warehouse.packages()} | {run["candidates"] for run in runs}
    removed = []
    for path, written in stores.lake.files():
        if path not in referred and written.astimezone(UTC) < limit:
            removed.append(f"lake {path}")
            if not dry_run:
                stores.lake.delete(path)
    for folder in [*stores.lake.leftovers(), *stores.models.leftovers()]:
        if datetime.fromtimestamp(folder.stat().st_mtime, UTC) < limit:
            removed.append(f"workspace {folder.name}")
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
    versions = {row["path"] for row in warehouse.versions()}
    for path in stores.models.list():
        if path not in versions and stores.models.modified(path).astimezone(UTC) < limit:
            removed.append(f"model {path}")
            if not dry_run:
                stores.models.delete(path)
    if not dry_run:
        n_loads = warehouse.discard_unused_loads(older_than)
        removed += [f"{n_loads} loads that were never completed"] if n_loads else []
    return removed
