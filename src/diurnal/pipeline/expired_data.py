"""Retention: data that are older than an experiment's ``retention=`` are deleted, by ``diurnal gc`` only.

The rows of the results (`experiments`, `model_versions`, `promotions`) stay. Kept as well, whatever their age: the
batches, profiles and evaluation data of the champion, of the one before it, of an open challenger and of the newest
version, as comparisons and drift read them; the window of the next run; and what an attempt in progress may read. Files
are not deleted here: once no row names them, they are garbage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from diurnal.pipeline.garbage import check_only_warehouse
from diurnal.storage.warehouse.retention_queries import Expiry
from diurnal.types import DataInterval
from diurnal.types.retention import Retention

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

QUARANTINE = "quarantine"
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_DAY_OF_25_HOURS = timedelta(hours=2)


@dataclass(frozen=True)
class RetentionPolicy:
    """What an experiment declares.

    Attributes
    ----------
    retention : Retention
        The ages.
    window : int or str, optional
        The window of its models; None if the project does not declare the experiment any more.
    """

    retention: Retention
    window: int | str | None = None


@dataclass(frozen=True)
class Expired:
    """Data that are too old.

    Attributes
    ----------
    experiment, kind : str
        Name of the experiment, and the kind as in ``retention=``.
    name : str
        The data interval, and what it is.
    lost_versions : tuple of int
        The versions that cannot be replayed without it.
    delete : callable
        Deletes it.
    """

    experiment: str
    kind: str
    name: str
    delete: Callable[[], object]
    lost_versions: tuple[int, ...] = ()


def find_expired(
    stores: Stores,
    policies: Mapping[str, RetentionPolicy],
    *,
    older_than: timedelta,
    requested_by: str,
    now: datetime | None = None,
) -> Iterator[Expired]:
    """Yield the data that are older than the retention of their experiment.

    Parameters
    ----------
    stores : Stores
        The stores.
    policies : Mapping of str to RetentionPolicy
        The declarations by experiment.
    older_than : timedelta
        What was written, or whose data interval was claimed, more recently may belong to a run in progress, and stays.
    requested_by : str
        The user, for the table `deletions`.
    now : datetime, optional
        The end of the ages; the current time by default.
    """
    now = now or datetime.now(UTC)
    for name, policy in sorted(policies.items()):
        finder = _Finder(stores, name, policy, now, now - older_than, requested_by)
        for kind, find in finder.finders.items():
            limit = policy.retention.limit(kind, now)
            if limit is not None:
                yield from find(Expiry(name, limit, now - older_than))


def apply_retention(
    stores: Stores,
    policies: Mapping[str, RetentionPolicy],
    *,
    older_than: timedelta,
    requested_by: str,
    now: datetime | None = None,
    dry_run: bool = False,
) -> list[Expired]:
    """Delete the data that are older than the retention of their experiment, and return them.

    Parameters
    ----------
    stores, policies, older_than, requested_by, now
        As for :func:`find_expired`.
    dry_run : bool
        Whether to delete nothing.

    Raises
    ------
    ConfigurationError
        If another warehouse uses the lake, too.
    """
    check_only_warehouse(stores)
    found = list(find_expired(stores, policies, older_than=older_than, requested_by=requested_by, now=now))
    if dry_run:
        return found
    for expired in found:
        expired.delete()
    for name in sorted({one.experiment for one in found if one.kind in ("batches", "predictions")}):
        stores.warehouse.vacuum_rows(name)
    return found


@dataclass(frozen=True)
class _Finder:
    stores: Stores
    name: str
    policy: RetentionPolicy
    now: datetime
    settled: datetime
    requested_by: str

    @property
    def finders(self) -> dict[str, Callable[[Expiry], Iterator[Expired]]]:
        """The function that finds expired data of each kind."""
        return {
            "batches": self._batches,
            "candidates": partial(self._run_files, "candidates"),
            "evaluations": partial(self._run_files, "evaluations"),
            "predictions": self._predictions,
            "profiles": self._profiles,
            QUARANTINE: self._quarantine,
        }

    def _batches(self, expiry: Expiry) -> Iterator[Expired]:
        kept, users = self._kept_batches(), self._versions_by_path()
        rows = [row for row in self.stores.warehouse.expired_batches(expiry) if row["digest"] not in kept]
        for start, group in groupby(rows, lambda row: row["data_interval_start"]):
            batches = list(group)
            delete = partial(
                self.stores.warehouse.delete_batches,
                expiry,
                start,
                [row["digest"] for row in batches],
                requested_by=self.requested_by,
            )
            n_rows = sum(row["n_rows"] for row in batches)
            lost = sorted({version for row in batches for version in users.get(row["path"], ())})
            yield Expired(self.name, "batches", f"{_instant(start)}, {n_rows} rows", delete, tuple(lost))

    def _run_files(self, kind: str, expiry: Expiry) -> Iterator[Expired]:
        warehouse = self.stores.warehouse
        for run in warehouse.expired_run_files(expiry, kind, self._kept_versions()):
            delete = partial(warehouse.delete_run_files, expiry, kind, [run], requested_by=self.requested_by)
            yield Expired(self.name, kind, f"run {run['run_id']}", delete)

    def _profiles(self, expiry: Expiry) -> Iterator[Expired]:
        warehouse = self.stores.warehouse
        for row in warehouse.expired_profiles(expiry, self._kept_batches()):
            delete = partial(warehouse.delete_profiles, expiry, [row], requested_by=self.requested_by)
            yield Expired(self.name, "profiles", _instant(row["data_interval_start"]), delete)

    def _predictions(self, expiry: Expiry) -> Iterator[Expired]:
        warehouse = self.stores.warehouse
        for row in warehouse.expired_predictions(expiry):
            delete = partial(warehouse.delete_predictions, expiry, row, requested_by=self.requested_by)
            name = f"{_instant(row['data_interval_start'])}, {row['n_rows']} rows of version {row['version']}"
            yield Expired(self.name, "predictions", name, delete)

    def _quarantine(self, expiry: Expiry) -> Iterator[Expired]:
        """Find the folders of rejected batches, by the time at which they were written: they have no row."""
        lake = self.stores.lake
        for folder, files in quarantine_folders(self.stores, self.name).items():
            if max(lake.modified(path).astimezone(UTC) for path in files) < expiry.limit:
                delete = partial(delete_quarantine, self.stores, self.name, folder, files)
                yield Expired(self.name, QUARANTINE, folder, delete)

    def _kept_versions(self) -> set[int]:
        """Return the champion, the one before it, an open challenger, and the newest version."""
        warehouse = self.stores.warehouse
        served = list(dict.fromkeys(row["version"] for row in warehouse.promotions(self.name)))
        kept, newest = set(served[:2]), warehouse.newest_version(self.name)
        if newest is not None:
            kept.add(newest.version)
        challenge = warehouse.standing(self.name).open_bet
        return kept | ({challenge.challenger} if challenge is not None else set())

    def _kept_batches(self) -> set[str]:
        """Return the digests of the batches that must stay."""
        warehouse, kept = self.stores.warehouse, self._kept_versions()
        digests = set()
        for run in warehouse.runs(self.name):
            if run["model_version"] in kept:
                digests |= {package["digest"] for package in run["packages"]}
        claimed = [
            DataInterval(row["data_interval_start"], row["data_interval_end"])
            for row in warehouse.claimed_since(self.name, self.settled)
        ]
        newest = warehouse.window(self.name, DataInterval(self.now, self.now + timedelta(seconds=1)), last=1)
        for interval in [*claimed, *(interval for interval, _ in newest)]:
            digests |= self._window_of(interval)
        return digests

    def _window_of(self, interval: DataInterval) -> set[str]:
        """Return the digests of the batches that a run of a data interval reads."""
        window, last, since = self._window(), None, None
        if window == "all":
            last = 1  # of the others, the run reads those that are kept
        elif window.isdigit():
            last = int(window)
        else:
            length = timedelta(**{_UNITS[window[-1]]: int(window[:-1])})
            since = interval.end - length - _DAY_OF_25_HOURS
        batches = self.stores.warehouse.window(self.name, interval, last=last, since=since)
        return {package.digest for _, package in batches}

    def _window(self) -> str:
        """Return the declared window, or that of the newest run."""
        if self.policy.window is not None:
            return str(self.policy.window)
        return next((run["window"] for run in self.stores.warehouse.runs(self.name)), "1")

    def _versions_by_path(self) -> dict[str, list[int]]:
        """Return the versions that were trained on each batch."""
        found: dict[str, list[int]] = {}
        for run in self.stores.warehouse.runs(self.name):
            for package in run["packages"] if run["model_version"] else ():
                found.setdefault(package["path"], []).append(run["model_version"])
        return found


def quarantine_folders(stores: Stores, experiment: str) -> dict[str, list[str]]:
    """Return the folder of each rejected batch, with the paths of its files."""
    found: dict[str, list[str]] = {}
    for path in stores.lake.find(f"{experiment}/{QUARANTINE}"):
        found.setdefault("/".join(path.split("/")[:4]), []).append(path)
    return found


def delete_quarantine(stores: Stores, experiment: str, folder: str, files: list[str]) -> None:
    """Delete the folder of a rejected batch; its failure refers to it no longer."""
    stores.warehouse.forget_quarantine(experiment, [stores.lake.url(folder)])
    for path in files:
        stores.lake.delete(path)
    stores.lake.delete_empty_folders(folder)


def _instant(start: datetime) -> str:
    return f"{start.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def read_policies(stores: Stores, declared: Mapping[str, Any]) -> dict[str, RetentionPolicy]:
    """Return the retention of each experiment: as the project declares it, else as at its last run.

    Parameters
    ----------
    stores : Stores
        The stores.
    declared : Mapping of str to Experiment
        The valid experiments of the project.
    """
    recorded = {name: RetentionPolicy(one.retention) for name, one in stores.warehouse.declarations().items()}
    return recorded | {name: RetentionPolicy(one.retention, one.window) for name, one in declared.items()}
