"""Erasure of a sample: of all of its rows in batches, samples, profiles, predictions and quarantine.

Packages are immutable. New ones are written without the rows; one transaction lets every row of the warehouse refer to
them, deletes the rows from the tables, and supersedes attempts under way; then the old files are deleted, as no row
names them any more. A process that is killed between leaves either the former state, or files that the next call
deletes: the table `erasures` shows whether all are. The key itself is not stored: the hash of it lets a later run leave
out its rows if the source returns them again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from diurnal.errors import TransientError, UsageError
from diurnal.pipeline import garbage, quarantine_search
from diurnal.pipeline.batch_profiles import write_profile
from diurnal.pipeline.expired_data import delete_quarantine
from diurnal.pipeline.key_rows import KeyRows, files_near_key, find_key_rows, parse_key
from diurnal.pipeline.missing_profiles import build_profile
from diurnal.pipeline.prediction_columns import prediction_contract
from diurnal.runtime.fault_injection import fault_point
from diurnal.storage.warehouse.prepared_erasure import LoadedKey, NewProfile, PreparedErasure, ReplacedPackage

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.sample_key import SampleKey
    from diurnal.storage.stores import Stores
    from diurnal.types import Package

_ATTEMPTS = 20


@dataclass(frozen=True)
class Erasure:
    """The result of an erasure.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    n_packages : int
        Number of packages in the lake that had rows of the sample: batches, and their train and test samples.
    data_intervals : tuple of datetime
        The starts of the data intervals whose batch had some, also one that a correction has replaced.
    n_copies, n_predictions : int
        Numbers of rows in the tables of batches and of predictions.
    quarantine : tuple of str
        The folders of rejected batches that may have had it, which are deleted as a whole.
    n_failures : int
        The number of failures whose error named it.
    versions : tuple of int
        The versions that were trained on it. They stay as they are.
    champion : int or None
        The champion, if it is one of them.
    missing : tuple of str
        The paths of packages that are not in the lake, and were not searched.
    interrupted : tuple of datetime
        The starts of data intervals whose attempt may have been in progress, and is superseded.
    """

    experiment: str
    n_packages: int
    data_intervals: tuple[datetime, ...]
    n_copies: int
    n_predictions: int
    quarantine: tuple[str, ...]
    n_failures: int
    versions: tuple[int, ...]
    champion: int | None
    missing: tuple[str, ...]
    interrupted: tuple[datetime, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.n_packages or self.n_copies or self.n_predictions or self.quarantine or self.n_failures)


def find_sample(stores: Stores, experiment: str, key: Any) -> tuple[KeyRows, Erasure]:
    """Find what an erasure would delete.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str
        Name of the experiment.
    key : object
        As for :func:`diurnal.pipeline.key_rows.parse_key`.

    Raises
    ------
    UsageError
        If the experiment has no key, or the key does not have its columns.
    """
    parsed = parse_key(stores, experiment, key)
    if not parsed.schema.key:
        raise UsageError(
            f"{experiment} declares no key=, so that no value identifies the rows of a subject",
            hint="delete the rows at the source, and run the data intervals again; or delete the experiment: "
            f"diurnal remove {experiment}",
        )
    found, texts = find_key_rows(stores, parsed), quarantine_search.searchable_texts(parsed.values.values())
    batches = [one for one in found.packages if one.role == "batch"]
    versions = _versions_trained_on(stores, experiment, {one.package.path for one in batches})
    champion = stores.warehouse.champion(experiment)
    return found, Erasure(
        experiment=experiment,
        n_packages=len(found.packages),
        data_intervals=tuple(sorted({one.data_interval_start.astimezone(UTC) for one in batches})),
        n_copies=len(found.batches),
        n_predictions=len(found.predictions),
        quarantine=tuple(sorted(quarantine_search.find_rejected(stores, experiment, texts))),
        n_failures=len(quarantine_search.redact_errors(stores, experiment, parsed.values.values())),
        versions=versions,
        champion=champion.version if champion is not None and champion.version in versions else None,
        missing=tuple(package.path for package in found.missing),
    )


def erase_sample(stores: Stores, experiment: str, key: Any, *, requested_by: str) -> Erasure:
    """Erase all rows of a sample, and continue an erasure that was killed.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str
        Name of the experiment.
    key : object
        As for :func:`diurnal.pipeline.key_rows.parse_key`.
    requested_by : str
        The user who erases it.

    Raises
    ------
    UsageError
        As :func:`find_sample`.
    ConfigurationError
        If another warehouse uses the lake, too.
    TransientError
        If runs add batches all the time, or another process erases a key of the experiment.
    """
    garbage.check_only_warehouse(stores)
    # an erasure deletes what no row names: packages that another one has just written would be lost
    with stores.warehouse.process_lock(f"erasure of {experiment}", wait=False) as locked:
        if not locked:
            raise TransientError(f"another process erases a key of {experiment}", hint="call it again after it")
        result = _replace_all(stores, experiment, key, requested_by)
        _delete_files(stores, experiment)
    return result


def _replace_all(stores: Stores, experiment: str, key: Any, requested_by: str) -> Erasure:
    """Write what has not the sample, and refer to it; once more if a run has added a package meanwhile."""
    written: dict[str, ReplacedPackage] = {}  # by the path of the former package: each is written once
    for _ in range(_ATTEMPTS):
        marks = stores.warehouse.highest_load(), stores.warehouse.highest_load(predictions=True)
        searched = {row["path"] for row in stores.warehouse.packages() if row["experiment"] == experiment}
        found, result = find_sample(stores, experiment, key)
        if result.is_empty:
            return result
        _erase_rejected(stores, found.key, result.quarantine)
        for one in found.packages:
            if one.package.path not in written:
                new = _remove_sample(stores, found.key, one.package)
                written[one.package.path] = ReplacedPackage(one.data_interval_start, one.role, one.package, new)
        replaced = [written[one.package.path] for one in found.packages]
        prepared = _prepare(stores, found, replaced, searched, marks, result)
        interrupted = stores.warehouse.replace_packages(prepared, requested_by=requested_by)
        if interrupted is not None:
            starts = tuple(row["data_interval_start"].astimezone(UTC) for row in interrupted)
            return replace(result, interrupted=starts)
    raise TransientError(
        f"runs of {experiment} have added batches while it was searched; only rejected batches were erased",
        hint="call it again when no backfill is in progress",
    )


def _erase_rejected(stores: Stores, key: SampleKey, folders: Collection[str]) -> None:
    """Delete rejected batches that may have the key, and its values in the errors of failures."""
    name, texts = key.experiment, quarantine_search.searchable_texts(key.values.values())
    for folder, files in quarantine_search.find_rejected(stores, name, texts).items():
        if folder in folders:
            fault_point("erasure.quarantine:before")
            delete_quarantine(stores, name, folder, files)
    stores.warehouse.redact_failures(name, quarantine_search.redact_errors(stores, name, key.values.values()))


def _prepare(
    stores: Stores,
    found: KeyRows,
    replaced: Sequence[ReplacedPackage],
    searched: Collection[str],
    marks: tuple[int, int],
    counted: Erasure,
) -> PreparedErasure:
    """Return what changes in the warehouse, with the profiles of the new packages."""
    key = found.key
    versions = stores.warehouse.versions(key.experiment)
    predictions = None
    if versions:
        shown = prediction_contract(key.schema, versions[0])
        values = dict(zip(shown.key, key.values.values(), strict=True))
        predictions = LoadedKey(shown, values, {row["load_id"] for row in found.predictions}, marks[1])
    return PreparedErasure(
        experiment=key.experiment,
        key_hash=key.hash - 2**64 if key.hash >= 2**63 else key.hash,
        searched=searched,
        replaced=replaced,
        profiles=_new_profiles(stores, key.experiment, replaced),
        batches=LoadedKey(key.schema, key.values, {row["load_id"] for row in found.batches}, marks[0]),
        predictions=predictions,
        counts={name: getattr(counted, name) for name in ("n_packages", "n_copies", "n_predictions")},
    )


def _remove_sample(stores: Stores, key: SampleKey, package: Package) -> Package:
    """Write a package without the sample."""
    from diurnal.storage.lake.row_removal import remove_rows

    files = {path for path, _ in files_near_key(stores.lake, package, key)}
    return remove_rows(stores.lake, package, partial(_find_rows, key), files)


def _find_rows(key: SampleKey, rows: pa.RecordBatch) -> Any:
    """Return which rows of a package of any version of the contract have the key."""
    from diurnal.data.version_reader import read_in_newest_schema, stored_names

    stored = rows.select(stored_names(key.schema, key.columns, rows.schema.names))
    (newest,) = read_in_newest_schema([stored], key.schema, key.columns)
    return key.find(newest)


def _new_profiles(stores: Stores, experiment: str, replaced: Sequence[ReplacedPackage]) -> list[NewProfile]:
    """Make the profiles of the new batches whose old ones have a profile."""
    from diurnal.data import Contract

    contract = Contract.from_rows(stores.warehouse.contracts(experiment))
    profiled = {(row["data_interval_start"], row["batch_digest"]) for row in stores.warehouse.profile_files(experiment)}
    made = []
    for one in replaced:
        if one.role == "batch" and (one.data_interval_start, one.old.digest) in profiled:
            profile = build_profile(stores, experiment, contract, one.new)
            package = write_profile(stores, one.new, profile)
            made.append(
                NewProfile(one.data_interval_start, one.old.digest, one.new.digest, package, profile.summarize())
            )
    return made


def _delete_files(stores: Stores, experiment: str) -> None:
    """Delete the files that no row names since an erasure; attempts that wrote them before are superseded."""
    unfinished = stores.warehouse.unfinished_erasures(experiment)
    if not unfinished:
        return
    limit = max(row["erased_at"] for row in unfinished).astimezone(UTC)
    for found in [
        *garbage.unreferenced_files(stores, limit, experiment),
        *garbage.unreferenced_models(stores, limit, experiment),
    ]:
        fault_point("erasure.file:before")
        found.delete()
    stores.warehouse.vacuum_rows(experiment)
    stores.warehouse.finish_erasures([row["erasure_id"] for row in unfinished])


def _versions_trained_on(stores: Stores, experiment: str, paths: Collection[str]) -> tuple[int, ...]:
    runs = [run for run in stores.warehouse.runs(experiment) if run["model_version"]]
    return tuple(sorted(run["model_version"] for run in runs if any(one["path"] in paths for one in run["packages"])))
