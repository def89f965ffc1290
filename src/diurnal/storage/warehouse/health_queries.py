"""Queries for alarms and metrics: the newest rows of all experiments, by a number of queries that does not grow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import experiments, failures, heads, live_scores, packages, promotions

N_INTERVALS = 30
N_FAILURES = 50
N_DRIFTED = 10
_RUN_COLUMNS = ("data_interval_start", "data_interval_end", "recorded_at", "decided_at", "durations")
_SCORE_COLUMNS = ("scoring", "test_score", "champion_score", "model_version")

HealthRows = dict[str, dict[str, list[Row]]]


class HealthQueries(WarehouseConnection):
    """The newest rows of each experiment in several tables."""

    def health_rows(self, names: Iterable[str] | None = None, *, contents: Collection[str] | None = None) -> HealthRows:
        """Return the newest rows of each experiment, newest data interval first.

        Parameters
        ----------
        names : iterable of str, optional
            The experiments; by default all that the warehouse knows.
        contents : collection of str, optional
            The contents that are read; the others stay empty. By default all.

        Returns
        -------
        dict
            By experiment, then by contents: ``"intervals"`` (at most 30 rows of `heads`), ``"runs"`` (as many finished
            runs), ``"n_drifted"`` (of the newest 10 runs), ``"drift"`` (of the newest run, in part), ``"failures"`` (at
            most 50), ``"champion"`` (the newest promotion), ``"batch"`` (the size of the newest batch), ``"live"`` (the
            newest live score), ``"counts"`` (of failed and rejected attempts).
        """
        known = sa.union(sa.select(heads.c.experiment), sa.select(failures.c.experiment)).subquery()
        query = sa.select(known.c.experiment).order_by(known.c.experiment)
        with self.transaction() as connection:
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            wanted = list(connection.execute(query).scalars() if names is None else names)
            queries = _newest_rows_queries(wanted)
            found: HealthRows = {name: {kind: [] for kind in queries} for name in wanted}
            for kind, select in queries.items():
                if contents is None or kind in contents:
                    for row in connection.execute(select).mappings():
                        found[row["experiment"]][kind].append(dict(row))
        return found


def _newest_rows_queries(names: list[str]) -> dict[str, sa.Select[Any]]:
    """Return the query of each contents."""
    newest_run = (experiments.c.data_interval_start, experiments.c.recorded_at)
    run_columns = [experiments.c[name] for name in (*_RUN_COLUMNS, *_SCORE_COLUMNS)]
    n_drifted = experiments.c.drift["n_drifted"].as_integer().label("n_drifted")
    champions = sa.select(promotions.c.experiment, promotions.c.version, promotions.c.promoted_at)
    return {
        "intervals": _newest_of_each(names, _select_intervals(), heads.c.data_interval_start, limit=N_INTERVALS),
        "runs": _newest_of_each(names, _select_runs(*run_columns), *newest_run, limit=N_INTERVALS),
        "n_drifted": _newest_of_each(names, _select_runs(n_drifted), *newest_run, limit=N_DRIFTED),
        "drift": _newest_of_each(names, _select_runs(*_newest_drift()), *newest_run, limit=1),
        "failures": _newest_of_each(
            names, sa.select(failures), failures.c.data_interval_start, failures.c.failed_at, limit=N_FAILURES
        ),
        "champion": _newest_of_each(names, champions, promotions.c.seq, limit=1),
        "batch": _newest_of_each(names, _select_batches(), heads.c.data_interval_start, limit=1),
        "live": _newest_of_each(
            names, _select_live_scores(), live_scores.c.data_interval_start, live_scores.c.load_id, limit=1
        ),
        "counts": _count_failures(names),
    }


def _newest_of_each(names: list[str], rows: sa.Select[Any], *order: sa.Column[Any], limit: int) -> sa.Select[Any]:
    """Select the first rows of each experiment by a descending order, each by an index."""
    values = sa.func.unnest(sa.cast(names, sa.ARRAY(sa.Text())))
    wanted = values.table_valued("name", name="wanted").render_derived()
    ordered = rows.where(order[0].table.c.experiment == wanted.c.name).order_by(*(column.desc() for column in order))
    newest = ordered.limit(limit).lateral("newest")
    return sa.select(newest).select_from(wanted).join(newest, sa.true())


def _select_intervals() -> sa.Select[Any]:
    columns = (heads.c.data_interval_start, heads.c.data_interval_end, heads.c.claimed_at, heads.c.lacking)
    return sa.select(heads.c.experiment, *columns)


def _select_runs(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select columns of finished runs."""
    return sa.select(experiments.c.experiment, experiments.c.run_id, *columns).where(
        experiments.c.decided_at.is_not(None)
    )


def _newest_drift() -> list[sa.ColumnElement[Any]]:
    """Return a few numbers of the drift of a run in place of the whole."""
    drift = experiments.c.drift
    return [
        drift["n_columns"].as_integer().label("n_columns"),
        drift["reference"]["version"].as_integer().label("drift_version"),
        sa.func.jsonb_path_query_array(drift, sa.text("'$.columns[0 to 4]'")).label("strongest_drift"),
    ]


def _select_batches() -> sa.Select[Any]:
    """Select the sizes of the current batches; the package is looked up for the rows that a limit leaves."""
    is_package = (packages.c.experiment == heads.c.experiment) & (packages.c.digest == heads.c.batch_digest)
    is_batch = (packages.c.data_interval_start == heads.c.data_interval_start) & (packages.c.role == "batch")
    n_rows = sa.select(packages.c.n_rows).where(is_package, is_batch).scalar_subquery()
    query = sa.select(heads.c.experiment, heads.c.data_interval_start, n_rows.label("n_rows"))
    return query.where(heads.c.batch_digest.is_not(None))


def _select_live_scores() -> sa.Select[Any]:
    columns = (live_scores.c.data_interval_start, live_scores.c.load_id, live_scores.c.scoring, live_scores.c.score)
    return sa.select(live_scores.c.experiment, *columns).where(live_scores.c.score.is_not(None))


def _count_failures(names: list[str]) -> sa.Select[Any]:
    is_rejected = failures.c.quarantine.is_not(None)
    return (
        sa.select(
            failures.c.experiment,
            sa.func.count().filter(~is_rejected).label("failed"),
            sa.func.count().filter(is_rejected).label("rejected"),
        )
        .where(failures.c.experiment.in_(names))
        .group_by(failures.c.experiment)
    )
