"""Removal of an experiment: its rows, its files in the lake and its models.

The rows go first, in one transaction, so that attempts under way are superseded and no row ever refers to a deleted
file. A row of the table `removals` stays; it shows whether all files are deleted, so that a removal that was killed is
continued by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from diurnal.pipeline import garbage
from diurnal.pipeline.garbage import Garbage
from diurnal.runtime.fault_injection import fault_point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diurnal.storage.stores import Stores

QUARANTINE = "quarantine"


@dataclass(frozen=True)
class StoredExperiment:
    """What is stored of an experiment.

    Attributes
    ----------
    experiment : str
        Its name.
    rows : Mapping of str to int
        The number of rows in each table of the warehouse that has some.
    n_files, n_models : int
        The number of files in the lake, quarantine included, and of models, published or not.
    n_bytes : int
        The size of these files and models, and of the tables of its batches and predictions.
    """

    experiment: str
    rows: Mapping[str, int] = field(default_factory=dict)
    n_files: int = 0
    n_models: int = 0
    n_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored."""
        return not (self.rows or self.n_files or self.n_models)


def describe_stored(stores: Stores, experiment: str) -> StoredExperiment:
    """Count what is stored of an experiment."""
    rows = stores.warehouse.count_rows(experiment)
    n_bytes = rows.pop("bytes")
    files, models = list(stores.lake.find(experiment)), list(stores.models.list(experiment))
    n_bytes += sum(map(stores.lake.size, files)) + sum(stores.models.size(path) or 0 for path in models)
    return StoredExperiment(experiment, rows, len(files), len(models), n_bytes)


def remove_experiment(stores: Stores, experiment: str, *, requested_by: str) -> int:
    """Delete all that is stored of an experiment, and continue a removal that was killed.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str
        Name of the experiment.
    requested_by : str
        The user who removes it.

    Returns
    -------
    int
        The number of files and models that were deleted.

    Raises
    ------
    ConfigurationError
        If another warehouse uses the lake, too: it may have files of an experiment of that name.
    TransientError
        If a copy of rows in progress locks the tables: nothing was changed.
    """
    garbage.check_only_warehouse(stores)
    begin, n_deleted = datetime.now(UTC), 0
    stores.warehouse.remove_experiment(experiment, requested_by=requested_by)
    unfinished = stores.warehouse.unfinished_removals(experiment)
    # a new run of the same name may be under way: what was written after the removal is not deleted
    limits = [min(row["removed_at"].astimezone(UTC), begin) for row in unfinished[-1:]] or [begin]
    for found in _files_before(stores, experiment, limits[0]):
        fault_point("removal.file:before")
        found.delete()
        n_deleted += 1
    stores.lake.delete_empty_folders(experiment)
    for row in unfinished:
        stores.warehouse.finish_removal(row["removal_id"])
    return n_deleted


def _files_before(stores: Stores, experiment: str, limit: datetime) -> Iterator[Garbage]:
    yield from list(garbage.unreferenced_files(stores, limit, experiment))
    yield from list(garbage.unreferenced_models(stores, limit, experiment))
    lake = stores.lake
    for path in list(lake.find(f"{experiment}/{QUARANTINE}")):
        if lake.modified(path).astimezone(UTC) < limit:
            yield Garbage(f"lake {path}", partial(lake.delete, path))
