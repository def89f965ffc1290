"""Summaries of many experiments and runs, for the page: few queries, without the wide columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.failure_queries import SCORE
from diurnal.storage.warehouse.tables import contracts, experiments, failures, model_versions, promotions

_TEXTS = ARRAY(sa.Text())
_INSTANTS = ARRAY(sa.DateTime(timezone=True))

# The recursive query reads one entry of the index for each name, and not all data intervals.
_NAMES = """
WITH RECURSIVE walk AS (
    (SELECT experiment FROM heads ORDER BY experiment LIMIT 1)
    UNION ALL
    SELECT (SELECT experiment FROM heads h WHERE h.experiment > walk.experiment ORDER BY experiment LIMIT 1)
    FROM walk WHERE walk.experiment IS NOT NULL
), names AS (
    SELECT experiment FROM walk
    WHERE experiment IS NOT NULL AND (CAST(:names AS text[]) IS NULL OR experiment = ANY(:names))
)
"""
_SUMMARIES = f"""
{_NAMES}
SELECT n.experiment, head.data_interval_start, head.data_interval_end, head.claimed_at, head.lacking,
       run.duration,
       run.run_id, run.run_start, run.recorded_at, run.decided_at, run.promoted, run.test_score, run.champion_score,
       run.scoring, run.model_version, run.n_drifted,
       failure.failed_at, failure.step, failure.quarantine,
       champion.version AS champion_version, champion.promoted_at, champion.seq AS n_promotions,
       coalesce(warned.n, 0) AS n_warned, coalesce(rejected.n, 0) AS n_rejected,
       declared.description, declared.timezone
FROM names n
LEFT JOIN declarations declared ON declared.experiment = n.experiment
CROSS JOIN LATERAL (
    SELECT data_interval_start, data_interval_end, claimed_at, lacking FROM heads
    WHERE experiment = n.experiment ORDER BY data_interval_start DESC LIMIT 1
) head
LEFT JOIN LATERAL (
    SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY data_interval_end - data_interval_start) AS period
    FROM (
        SELECT data_interval_start, data_interval_end FROM heads
        WHERE experiment = n.experiment ORDER BY data_interval_start DESC LIMIT 8
    ) recent
) rhythm ON true
CROSS JOIN LATERAL (
    SELECT head.data_interval_start - rhythm.period * (:n_intervals - 1) AS since
) strip
LEFT JOIN LATERAL (
    SELECT run_id, data_interval_start AS run_start, recorded_at, decided_at, promoted, test_score, champion_score,
           scoring, model_version, CAST(drift->>'n_drifted' AS integer) AS n_drifted,
           (SELECT make_interval(secs => sum(CAST(value AS double precision))) FROM jsonb_each_text(durations))
               AS duration
    FROM experiments
    WHERE experiment = n.experiment ORDER BY data_interval_start DESC, recorded_at DESC LIMIT 1
) run ON true
LEFT JOIN LATERAL (
    SELECT failed_at, step, quarantine FROM failures
    WHERE experiment = n.experiment AND data_interval_start = head.data_interval_start AND step <> 'score'
    ORDER BY failed_at DESC LIMIT 1
) failure ON true
LEFT JOIN LATERAL (
    SELECT version, promoted_at, seq FROM promotions WHERE experiment = n.experiment ORDER BY seq DESC LIMIT 1
) champion ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS n FROM experiments
    WHERE experiment = n.experiment AND data_interval_start >= strip.since AND warnings <> '[]'
) warned ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT f.data_interval_start) AS n FROM failures f
    WHERE f.experiment = n.experiment AND f.data_interval_start >= strip.since
    AND f.quarantine IS NOT NULL AND NOT EXISTS (
        SELECT FROM experiments e WHERE e.experiment = f.experiment AND e.data_interval_start = f.data_interval_start
        AND e.decided_at > f.failed_at)
) rejected ON true
ORDER BY n.experiment
"""
_LAST_INTERVALS = """
SELECT n.experiment, head.*
FROM unnest(CAST(:names AS text[])) AS n (experiment)
CROSS JOIN LATERAL (
    SELECT data_interval_start, data_interval_end, claimed_at, lacking IS NOT NULL AS is_lacking FROM heads
    WHERE experiment = n.experiment ORDER BY data_interval_start DESC LIMIT :n_intervals
) head
ORDER BY n.experiment, head.data_interval_start
"""
_RUNS_SINCE = """
SELECT s.experiment, run.*
FROM unnest(CAST(:names AS text[]), CAST(:since AS timestamptz[])) AS s (experiment, since)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (data_interval_start) data_interval_start, run_id, recorded_at, decided_at, promoted, test_score,
           champion_score, model_version
    FROM experiments WHERE experiment = s.experiment AND data_interval_start >= s.since
    ORDER BY data_interval_start DESC, recorded_at DESC
) run
"""
_FAILURES_SINCE = """
SELECT s.experiment, failure.*
FROM unnest(CAST(:names AS text[]), CAST(:since AS timestamptz[])) AS s (experiment, since)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (data_interval_start) data_interval_start, failed_at, step, quarantine IS NOT NULL AS is_rejected
    FROM failures WHERE experiment = s.experiment AND data_interval_start >= s.since AND step <> 'score'
    ORDER BY data_interval_start DESC, failed_at DESC
) failure
"""
_RUN_COLUMNS = (
    "run_id",
    "data_interval_start",
    "data_interval_end",
    "recorded_at",
    "decided_at",
    "promoted",
    "reason",
    "test_score",
    "champion_version",
    "champion_score",
    "model_version",
    "n_train",
    "n_test",
    "code_digest",
    "contract_version",
)


class OverviewQueries(WarehouseConnection):
    """Summaries over several tables. Lists leave out packages, environments and other wide columns."""

    def experiment_summaries(self, names: Sequence[str] | None = None, *, n_intervals: int = 60) -> list[Row]:
        """Return a row for each experiment that has a data interval, in the order of the names.

        Parameters
        ----------
        names : sequence of str, optional
            Only these experiments.
        n_intervals : int
            Warnings and rejected batches are counted over this number of data intervals.

        Returns
        -------
        list of dict
            The last data interval; the last run, and its `duration`; the last failure of the last data interval; the
            champion; `n_warned`, the number of runs with warnings; `n_rejected`, the number of data intervals whose
            batch is in quarantine; `description` and `timezone` of its declaration, which are None if it has not run
            since they are recorded.
        """
        query = sa.text(_SUMMARIES).bindparams(
            sa.bindparam("names", None if names is None else list(names), type_=_TEXTS)
        )
        return self._rows_of(query, n_intervals=n_intervals)

    def last_intervals(self, names: Sequence[str], *, n_intervals: int = 60) -> list[Row]:
        """Return the last data intervals of some experiments, oldest first for each of them."""
        query = sa.text(_LAST_INTERVALS).bindparams(sa.bindparam("names", list(names), type_=_TEXTS))
        return self._rows_of(query, n_intervals=n_intervals)

    def newest_runs_since(self, since: Mapping[str, datetime]) -> list[Row]:
        """Return the newest run of each data interval that starts at a moment or later, by experiment."""
        return self._rows_since(_RUNS_SINCE, since)

    def newest_failures_since(self, since: Mapping[str, datetime]) -> list[Row]:
        """Return the newest failure of each data interval that starts at a moment or later, by experiment."""
        return self._rows_since(_FAILURES_SINCE, since)

    def _rows_since(self, statement: str, since: Mapping[str, datetime]) -> list[Row]:
        query = sa.text(statement).bindparams(
            sa.bindparam("names", list(since), type_=_TEXTS),
            sa.bindparam("since", list(since.values()), type_=_INSTANTS),
        )
        return self._rows_of(query)

    def _rows_of(self, query: sa.TextClause, **values: Any) -> list[Row]:
        with self.transaction() as connection:
            result = connection.execute(query, values)
            names = list(result.keys())
            return [dict(zip(names, row, strict=True)) for row in result.all()]

    def run_page(
        self,
        experiment: str,
        *,
        conditions: Sequence[sa.ColumnElement[bool]] = (),
        before: tuple[datetime, datetime, str] | None = None,
        limit: int,
    ) -> list[Row]:
        """Return runs of an experiment, newest data interval first.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        conditions : sequence of ColumnElement
            Further conditions, as :func:`run_conditions` returns them.
        before : tuple of (datetime, datetime, str), optional
            The start of the data interval, the time of the record and the id of the last run of the page before.
        limit : int
            The maximal number of rows.
        """
        key = (experiments.c.data_interval_start, experiments.c.recorded_at, experiments.c.run_id)
        query = sa.select(
            *(experiments.c[name] for name in _RUN_COLUMNS),
            experiments.c.best_params,
            sa.func.jsonb_array_length(experiments.c.warnings).label("n_warnings"),
            sa.cast(experiments.c.drift["n_drifted"].astext, sa.Integer).label("n_drifted"),
        ).where(experiments.c.experiment == experiment, *conditions)
        if before is not None:
            query = query.where(sa.tuple_(*key) < sa.tuple_(*map(sa.literal, before)))
        return self.rows(query.order_by(*(column.desc() for column in key)).limit(limit))

    def version_page(self, experiment: str, *, before: int | None = None, limit: int) -> list[Row]:
        """Return versions of an experiment, newest first, with the last promotion of each."""
        last = (
            sa.select(promotions.c.promoted_at, promotions.c.promoted_by, promotions.c.kind, promotions.c.reason)
            .where(promotions.c.experiment == experiment, promotions.c.version == model_versions.c.version)
            .order_by(promotions.c.seq.desc())
            .limit(1)
            .lateral("last")
        )
        names = ("version", "run_id", "data_interval_start", "data_interval_end", "digest", "created_at")
        query = (
            sa.select(*(model_versions.c[name] for name in names), *last.c, experiments.c.test_score)
            .select_from(model_versions)
            .join(experiments, experiments.c.run_id == model_versions.c.run_id)
            .outerjoin(last, sa.true())
            .where(model_versions.c.experiment == experiment)
        )
        if before is not None:
            query = query.where(model_versions.c.version < before)
        return self.rows(query.order_by(model_versions.c.version.desc()).limit(limit))

    def promotion_page(self, experiment: str, *, limit: int) -> list[Row]:
        """Return the last promotions of an experiment, newest first, without their evidence."""
        columns = [column for column in promotions.c if column.name != "evidence"]
        query = sa.select(*columns).where(promotions.c.experiment == experiment)
        return self.rows(query.order_by(promotions.c.seq.desc()).limit(limit))

    def contract_history(self, experiment: str) -> list[Row]:
        """Return the versions of a contract, newest first, without their columns."""
        columns = [column for column in contracts.c if column.name != "columns"]
        query = sa.select(*columns).where(contracts.c.experiment == experiment)
        return self.rows(query.order_by(contracts.c.version.desc()))

    def timeline_records(self, experiment: str, *, limit: int) -> dict[str, Any]:
        """Return the records of the last runs for :func:`diurnal.plots.timeline_chart.build_timeline`.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        limit : int
            The maximal number of runs; other records are those since the first of these.

        Returns
        -------
        dict
            The arguments `name`, `runs`, `promotions`, `failures` and `contracts`. Of the packages of a run, only the
            number of rows of the last one is included; of its drift, the strongest columns; of a failure, its message.
        """
        rows_of_batch = experiments.c.packages[-1]["n_rows"]
        batch = sa.func.jsonb_build_array(sa.func.jsonb_build_object("n_rows", rows_of_batch))
        strongest = sa.func.jsonb_path_query_array(experiments.c.drift, sa.text("'$.columns[0 to 2]'"))
        drift = sa.func.jsonb_build_object("columns", strongest, "n_drifted", experiments.c.drift["n_drifted"])
        runs = self.rows(
            sa.select(
                *(experiments.c[name] for name in (*_RUN_COLUMNS, "scoring", "best_params", "durations", "comparison")),
                sa.case((experiments.c.packages[-1].is_not(None), batch)).label("packages"),
                sa.case((experiments.c.drift.is_not(None), drift)).label("drift"),
            )
            .where(experiments.c.experiment == experiment)
            .order_by(experiments.c.data_interval_start.desc(), experiments.c.recorded_at.desc())
            .limit(limit)
        )
        first = runs[-1] if runs else None
        is_recent = sa.true() if first is None else promotions.c.promoted_at >= first["recorded_at"]
        evidence = sa.func.jsonb_build_object("is_automatic", True)
        promoted = sa.select(
            *(promotions.c[name] for name in ("version", "kind", "promoted_at", "promoted_by", "reason")),
            sa.case((promotions.c.evidence != sa.text("'{}'::jsonb"), evidence)).label("evidence"),
        ).where(promotions.c.experiment == experiment, is_recent)
        names = ("data_interval_start", "data_interval_end", "step", "error", "quarantine", "failed_at")
        failed = sa.select(*(failures.c[name] for name in names)).where(failures.c.experiment == experiment)
        if first is not None:
            failed = failed.where(failures.c.data_interval_start >= first["data_interval_start"])
        return {
            "name": experiment,
            "runs": runs,
            "promotions": self.rows(promoted.order_by(promotions.c.seq)),
            "failures": self.rows(failed.order_by(failures.c.failed_at.desc()).limit(limit)),
            "contracts": self.contract_history(experiment)[::-1],
        }

    def failure_page(self, experiment: str, *, limit: int) -> list[Row]:
        """Return the last failures of an experiment, newest first, with `is_resolved`: a later run has a result.

        That of a scoring is resolved by a later scoring.
        """
        later = sa.exists().where(
            experiments.c.experiment == experiment,
            experiments.c.data_interval_start == failures.c.data_interval_start,
            experiments.c.decided_at > failures.c.failed_at,
        )
        is_resolved = sa.case((failures.c.step == SCORE, failures.c.resolved_at.is_not(None)), else_=later)
        query = sa.select(failures, is_resolved.label("is_resolved")).where(failures.c.experiment == experiment)
        return self.rows(
            query.order_by(failures.c.data_interval_start.desc(), failures.c.failed_at.desc()).limit(limit)
        )


def run_conditions(
    *,
    result: str | None = None,
    text: str | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
    only_warned: bool = False,
    only_drifted: bool = False,
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a filter of runs.

    Parameters
    ----------
    result : {"promoted", "kept", "unfinished"}, optional
        What was decided: the version was promoted, the champion was kept, or nothing yet.
    text : str, optional
        A part of the id of the run, of the reason of the decision or of the digest of the code.
    first, last : datetime, optional
        The first start of a data interval, and the last one (exclusive).
    only_warned, only_drifted : bool
        Only runs with warnings, and with drifted columns.
    """
    found: list[sa.ColumnElement[bool]] = []
    if result == "unfinished":
        found.append(experiments.c.decided_at.is_(None))
    elif result is not None:
        found.append(experiments.c.promoted.is_(result == "promoted"))
    if text:
        columns = (experiments.c.run_id, experiments.c.reason, experiments.c.code_digest)
        found.append(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if first is not None:
        found.append(experiments.c.data_interval_start >= first)
    if last is not None:
        found.append(experiments.c.data_interval_start < last)
    if only_warned:
        found.append(experiments.c.warnings != sa.text("'[]'::jsonb"))
    if only_drifted:
        found.append(sa.cast(experiments.c.drift["n_drifted"].astext, sa.Integer) > 0)
    return found
