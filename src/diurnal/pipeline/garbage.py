"""Garbage collection: files and rows that killed or superseded attempts left behind, and that nothing refers to.

Batches are not garbage: the former package of a corrected batch stays, as the runs that were trained on it refer to it,
until it is older than the retention of its experiment (:mod:`diurnal.pipeline.expired_data`). The parts that a stored
manifest names stay as well; if a manifest cannot be read, all parts of its data interval.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from diurnal.errors import ConfigurationError, DiurnalError
from diurnal.pipeline.recorded_results import RUN_FILES
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores


@dataclass(frozen=True)
class Garbage:
    """A file or a folder that nothing refers to.

    Attributes
    ----------
    name : str
        Its store and its path.
    delete : callable
        Deletes it.
    """

    name: str
    delete: Callable[[], object]


def collect_garbage(
    stores: Stores, *, older_than: timedelta, now: datetime | None = None, dry_run: bool = False
) -> list[str]:
    """Delete what nothing refers to.

    Parameters
    ----------
    stores : Stores
        The stores to clean.
    older_than : timedelta
        Minimal age: younger files may belong to a run in progress.
    now : datetime, optional
        The end of the age; the current time by default.
    dry_run : bool
        Whether to return the names without deleting anything.

    Returns
    -------
    list of str
        Names of what was deleted.

    Raises
    ------
    ConfigurationError
        If another warehouse uses the lake, too: its files would look like garbage.
    """
    check_only_warehouse(stores)
    limit = (now or datetime.now(UTC)) - older_than
    found = [*unreferenced_files(stores, limit), *_old_workspaces(stores, limit), *unreferenced_models(stores, limit)]
    names = [garbage.name for garbage in found]
    if dry_run:
        return names
    for garbage in found:
        garbage.delete()
    n_loads = stores.warehouse.discard_unused_loads(older_than)
    n_predictions = stores.warehouse.discard_unused_predictions(older_than)
    counts = {"loads": n_loads, "loads of predictions": n_predictions}
    return [*names, *(f"{n} {kind} that were never completed" for kind, n in counts.items() if n)]


def unreferenced_files(stores: Stores, limit: datetime, experiment: str | None = None) -> Iterator[Garbage]:
    """Yield the files of the lake that nothing refers to and that are older than `limit`."""
    warehouse, lake = stores.warehouse, stores.lake
    packages = [
        Package(row["path"], row["digest"], row["n_rows"])
        for row in warehouse.packages()
        if experiment in (None, row["experiment"])
    ]
    referenced, kept_folders = _referenced_files(stores, packages)
    runs = warehouse.runs(experiment)
    referenced |= {run[column] for run in runs for column in RUN_FILES}
    newest = {run["experiment"]: run for run in reversed(runs)}  # the next run may have the same data
    referenced |= {run["twin"]["path"] for run in newest.values() if run["twin"]}
    referenced |= {row["path"] for row in warehouse.profile_files(experiment)}
    for path, modified in lake.files(experiment):
        is_kept = path in referenced or path.rpartition("/")[0] in kept_folders
        if not is_kept and modified.astimezone(UTC) < limit:
            yield Garbage(f"lake {path}", partial(lake.delete, path))


def _referenced_files(stores: Stores, packages: Iterable[Package]) -> tuple[set[str], set[str]]:
    """Return the files of packages, and the folders of parts whose manifest cannot be read."""
    files, kept_folders = set(), set()
    for package in packages:
        files.add(package.path)
        try:
            files.update(stores.lake.files_of(package))
        except DiurnalError:
            kept_folders.add(stores.lake.parts_folder(package))
    return files, kept_folders


def _old_workspaces(stores: Stores, limit: datetime) -> Iterator[Garbage]:
    for folder in [*stores.lake.leftovers(), *stores.models.leftovers()]:
        if datetime.fromtimestamp(folder.stat().st_mtime, UTC) < limit:
            yield Garbage(f"workspace {folder.name}", partial(shutil.rmtree, folder, ignore_errors=True))


def unreferenced_models(stores: Stores, limit: datetime, experiment: str | None = None) -> Iterator[Garbage]:
    """Yield the models that nothing refers to and that are older than `limit`."""
    models, referenced = stores.models, {row["path"] for row in stores.warehouse.versions(experiment)}
    for path in models.list(experiment):
        if path not in referenced and models.modified(path).astimezone(UTC) < limit:
            yield Garbage(f"model {path}", partial(models.delete, path))


def check_only_warehouse(stores: Stores) -> None:
    """Reject a lake that another warehouse uses, or that has files and belongs to no warehouse."""
    warehouses = stores.lake.warehouses()
    if warehouses - {stores.warehouse.identity} or (not warehouses and next(stores.lake.files(), None)):
        raise ConfigurationError(
            f"the lake {stores.lake.root} belongs to another warehouse as well; its files would be deleted",
            hint="set DIURNAL_WAREHOUSE and DIURNAL_LAKE to stores that belong together",
        )
