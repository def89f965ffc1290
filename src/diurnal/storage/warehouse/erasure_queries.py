"""Erasure of a sample: all rows that refer to packages with it refer to new ones, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.batch_queries import lock_claims
from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.prepared_erasure import LoadedKey, NewProfile, PreparedErasure, ReplacedPackage
from diurnal.storage.warehouse.removal_queries import lock_heads
from diurnal.storage.warehouse.retention_queries import record_deletions
from diurnal.storage.warehouse.row_copies import delete_load
from diurnal.storage.warehouse.tables import (
    erasures,
    experiments,
    failures,
    heads,
    loads,
    packages,
    prediction_heads,
    prediction_loads,
    profiles,
    splits,
)
from diurnal.storage.warehouse.visible_rows import VisibleRows, batch_relation, prediction_relation
from diurnal.types import Package

_RECENT = timedelta(days=1)
_ROLES = ("batch", "train", "test")


class ErasureQueries(WarehouseConnection):
    """The table `erasures`, and the rows that refer to packages with an erased sample."""

    def erased_hashes(self, experiment: str, start: datetime) -> list[int]:
        """Return the hashes of the keys that were erased after the start of a data interval."""
        query = sa.select(erasures.c.key_hash).where(erasures.c.experiment == experiment)
        return [row["key_hash"] for row in self.rows(query.where(erasures.c.erased_at > start).distinct())]

    def highest_load(self, *, predictions: bool = False) -> int:
        """Return the highest number of a load of batches, or of predictions."""
        table = prediction_loads if predictions else loads
        return int(self.rows(sa.select(sa.func.coalesce(sa.func.max(table.c.load_id), 0).label("n")))[0]["n"])

    def replace_packages(self, prepared: PreparedErasure, *, requested_by: str) -> list[Row] | None:
        """Refer to packages without the sample, and delete its rows from the tables, in one transaction.

        Attempts under way, which may have read the sample, are superseded.

        Parameters
        ----------
        prepared : PreparedErasure
            The changes.
        requested_by : str
            The user who erases it.

        Returns
        -------
        list of dict or None
            The data intervals whose attempt of the last day had no result yet. None if there are packages by now that
            were not searched, in which case nothing is changed.
        """
        name = prepared.experiment
        with self.transaction("replace_packages", name) as connection:
            lock_claims(connection, name, shared=False)
            lock_heads(connection, name)
            present = connection.execute(sa.select(packages.c.path).where(packages.c.experiment == name)).scalars()
            if not set(present) <= set(prepared.searched):
                return None
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            interrupted = _supersede_attempts(connection, name)
            replaced = [one for one in prepared.replaced if _replace_package(connection, name, one)]
            _replace_splits(connection, name, replaced)
            _replace_profiles(connection, name, prepared.profiles)
            _delete_batch_rows(connection, prepared, replaced)
            _delete_prediction_rows(connection, prepared)
            deleted = [*map(_to_deletion, replaced), *_replace_in_runs(connection, name, replaced)]
            record_deletions(connection, name, "erasure", requested_by, deleted)
            values = {"experiment": name, "key_hash": prepared.key_hash, "erased_by": requested_by}
            connection.execute(sa.insert(erasures).values(**values, counts=dict(prepared.counts)))
            return interrupted

    def unfinished_erasures(self, experiment: str) -> list[Row]:
        """Return the erasures of an experiment whose files may not all be deleted, oldest first."""
        query = sa.select(erasures).where(erasures.c.experiment == experiment, erasures.c.files_deleted_at.is_(None))
        return self.rows(query.order_by(erasures.c.erasure_id))

    def finish_erasures(self, erasure_ids: Collection[int]) -> None:
        """Record that the files of erasures are deleted."""
        done = sa.update(erasures).where(erasures.c.erasure_id.in_(list(erasure_ids)))
        with self.transaction("finish_erasures") as connection:
            connection.execute(done.values(files_deleted_at=sa.func.clock_timestamp()))

    def redact_failures(self, experiment: str, errors: Mapping[int, Mapping[str, Any]]) -> None:
        """Replace the errors of failures, by their number."""
        with self.transaction("redact_failures", experiment) as connection:
            for number, error in errors.items():
                same = (failures.c.experiment == experiment) & (failures.c.failure_id == number)
                connection.execute(sa.update(failures).where(same).values(error=dict(error)))


def _supersede_attempts(connection: sa.Connection, name: str) -> list[Row]:
    """Let every attempt be superseded; return the data intervals of recent ones that have no result."""
    decided = sa.exists().where(
        experiments.c.experiment == heads.c.experiment,
        experiments.c.data_interval_start == heads.c.data_interval_start,
        experiments.c.decided_at >= heads.c.claimed_at,
    )
    query = sa.select(heads.c.data_interval_start, heads.c.data_interval_end, heads.c.claimed_by).where(
        heads.c.experiment == name,
        heads.c.lacking.is_(None),
        heads.c.claimed_at > sa.func.clock_timestamp() - _RECENT,
        ~decided,
    )
    found = connection.execute(query.order_by(heads.c.data_interval_start)).mappings().all()
    for table in (heads, prediction_heads):
        connection.execute(sa.update(table).where(table.c.experiment == name).values(epoch=table.c.epoch + 1))
    return [dict(row) for row in found]


def _replace_package(connection: sa.Connection, name: str, one: ReplacedPackage) -> bool:
    """Replace the row of a package, and let the head name the new batch; return False if it was deleted meanwhile."""
    at = {"experiment": name, "data_interval_start": one.data_interval_start, "role": one.role}
    is_old = sa.and_(*(packages.c[column] == value for column, value in at.items()), packages.c.path == one.old.path)
    if connection.execute(sa.delete(packages).where(is_old)).rowcount == 0:
        return False
    new = insert(packages).values(**at, digest=one.new.digest, path=one.new.path, n_rows=one.new.n_rows)
    connection.execute(new.on_conflict_do_nothing())
    if one.role == "batch":
        head = (heads.c.experiment == name) & (heads.c.data_interval_start == one.data_interval_start)
        named = sa.update(heads).where(head, heads.c.batch_digest == one.old.digest)
        connection.execute(named.values(batch_digest=one.new.digest))
    return True


def _replace_splits(connection: sa.Connection, name: str, replaced: Sequence[ReplacedPackage]) -> None:
    digests = {(one.data_interval_start, one.role, one.old.digest): one.new.digest for one in replaced}
    starts = {one.data_interval_start for one in replaced}
    rows = connection.execute(
        sa.select(splits).where(splits.c.experiment == name, splits.c.data_interval_start.in_(starts))
    ).mappings()
    roles = {"batch_digest": "batch", "train_digest": "train", "test_digest": "test"}
    for row in [dict(row) for row in rows]:
        start = row["data_interval_start"]
        new = {column: digests.get((start, role, row[column]), row[column]) for column, role in roles.items()}
        if new.items() <= row.items():
            continue
        identity = ("experiment", "data_interval_start", "batch_digest", "test_size")
        connection.execute(sa.delete(splits).where(*(splits.c[column] == row[column] for column in identity)))
        connection.execute(insert(splits).values({**row, **new}).on_conflict_do_nothing())


def _replace_profiles(connection: sa.Connection, name: str, new_profiles: Sequence[NewProfile]) -> None:
    for one in new_profiles:
        at = {"experiment": name, "data_interval_start": one.data_interval_start}
        is_old = [
            *(profiles.c[column] == value for column, value in at.items()),
            profiles.c.batch_digest == one.old_batch,
        ]
        if connection.execute(sa.delete(profiles).where(*is_old)).rowcount == 0:
            continue
        values = {"path": one.package.path, "digest": one.package.digest, "summary": dict(one.summary)}
        new = insert(profiles).values(**at, batch_digest=one.new_batch, **values)
        connection.execute(new.on_conflict_do_update(index_elements=[*at, "batch_digest"], set_=values))


def _delete_batch_rows(
    connection: sa.Connection, prepared: PreparedErasure, replaced: Sequence[ReplacedPackage]
) -> None:
    """Delete the rows from all copies of batches; complete copies become those of the new packages."""
    name, relation = prepared.experiment, batch_relation(prepared.experiment)
    if prepared.batches is not None:
        _delete_rows_of_key(connection, relation, prepared.batches)
    for one in replaced:
        if one.role != "batch":
            continue
        at = (loads.c.experiment == name) & (loads.c.data_interval_start == one.data_interval_start)
        complete = sa.select(loads.c.load_id).where(at, loads.c.state == "complete")
        load_id = connection.execute(complete.where(loads.c.digest == one.old.digest)).scalar_one_or_none()
        other = connection.execute(complete.where(loads.c.digest == one.new.digest)).scalar_one_or_none()
        if load_id is None:
            continue
        if other is None:
            values = {"digest": one.new.digest, "n_rows": one.new.n_rows}
            connection.execute(sa.update(loads).where(loads.c.load_id == load_id).values(values))
        else:  # a correction without the sample was copied before
            connection.execute(sa.update(heads).where(heads.c.load_id == load_id).values(load_id=other))
            delete_load(connection, loads, relation, load_id)


def _delete_prediction_rows(connection: sa.Connection, prepared: PreparedErasure) -> None:
    if prepared.predictions is None:
        return
    relation = prediction_relation(prepared.experiment)
    deleted = Counter(_delete_rows_of_key(connection, relation, prepared.predictions))
    for load_id, n_rows in deleted.items():
        complete = (prediction_loads.c.load_id == load_id) & (prediction_loads.c.state == "complete")
        fewer = prediction_loads.c.n_rows - n_rows
        connection.execute(sa.update(prediction_loads).where(complete).values(n_rows=fewer))


def _delete_rows_of_key(connection: sa.Connection, relation: VisibleRows, key: LoadedKey) -> list[int]:
    """Delete the rows of a key; return the load of each."""
    found = batch_view.column_expressions(connection, relation, key.contract)
    if not found:
        return []
    condition = " AND ".join(f"{found[name]} = %(key{i})s" for i, name in enumerate(key.values))
    values = {f"key{i}": value for i, value in enumerate(key.values.values())}
    statement = (
        f"DELETE FROM {relation.table} r WHERE (load_id = ANY(%(loads)s) OR load_id > %(searched)s) AND {condition}"
        " RETURNING load_id"
    )
    arguments = {**values, "loads": sorted(key.load_ids), "searched": key.searched}
    return list(connection.exec_driver_sql(statement, arguments).scalars())


def _replace_in_runs(connection: sa.Connection, name: str, replaced: Sequence[ReplacedPackage]) -> list[Row]:
    """Let runs name the new batches, with the digest that they have read, and no per-row results of the sample.

    Returns
    -------
    list of dict
        The files of per-row results, for the table `deletions`.
    """
    batches = {one.old.path: one.new for one in replaced if one.role == "batch"}
    roles = {role: {one.data_interval_start for one in replaced if one.role == role} for role in _ROLES}
    of_tests = roles["test"] | (roles["batch"] - roles["train"])  # with a split by time, a batch is the test
    columns = ("run_id", "data_interval_start", "packages", "evaluation_sample")
    query = sa.select(*(experiments.c[column] for column in columns)).where(experiments.c.experiment == name)
    forgotten = []
    for run in connection.execute(query).mappings().all():
        values: Row = {}
        named = [_refer_to_new(one, batches.get(one["path"])) for one in run["packages"]]
        if named != run["packages"]:
            values["packages"] = named
            starts = {datetime.fromisoformat(one["data_interval_start"]) for one in named if "replaces" in one}
            if run["evaluation_sample"] and starts & of_tests:
                values["evaluation_sample"] = None
                path = run["evaluation_sample"]
                at = run["data_interval_start"]
                forgotten.append({"kind": "evaluation_sample", "data_interval_start": at, "path": path})
        if values:
            connection.execute(sa.update(experiments).where(experiments.c.run_id == run["run_id"]).values(values))
    return forgotten


def _refer_to_new(package: Row, new: Package | None) -> Row:
    if new is None:
        return package
    replaces = package.get("replaces", package["digest"])
    return {**package, "path": new.path, "digest": new.digest, "n_rows": new.n_rows, "replaces": replaces}


def _to_deletion(one: ReplacedPackage) -> Row:
    old = {name: getattr(one.old, name) for name in ("path", "digest", "n_rows")}
    new = {f"new_{name}": getattr(one.new, name) for name in ("path", "digest", "n_rows")}
    return {"data_interval_start": one.data_interval_start, "kind": one.role, **old, **new}
