"""The results of a run as Airflow's assets, on which other Dags can be scheduled.

Each experiment has three assets: its ``batch`` and its ``model`` (the newest model version), whose events are
partitioned by the data interval, and its ``champion``. An event of the champion is emitted only when a version becomes
the champion, hence through an alias, and events through an alias have no partition in Airflow 3.3: a Dag is scheduled
on it with a plain ``schedule=[champion("breast_cancer")]``. A Dag that is late sees only the newest champion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from diurnal.types import DataInterval, timezones
from diurnal.types.interval import format_instant

if TYPE_CHECKING:  # the command line emits events of the champion too, where Airflow may not be installed
    from airflow.sdk import Asset, AssetAlias

    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext
    from diurnal.storage.warehouse import Warehouse
    from diurnal.types import Batch, ModelVersion


def batch(experiment: str) -> Asset:
    """Return the asset of an experiment's batches; the partition of each event is a data interval.

    Examples
    --------
    >>> batch("turbines").name, batch("turbines").uri
    ('turbines.batch', 'x-diurnal://turbines/batch')
    """
    return _make_asset(experiment, "batch")


def model(experiment: str) -> Asset:
    """Return the asset of an experiment's model versions; the partition of each event is a data interval."""
    return _make_asset(experiment, "model")


def champion(experiment: str) -> Asset:
    """Return the asset of an experiment's champion: the model version in use."""
    return _make_asset(experiment, "champion")


def promotion_alias(experiment: str) -> AssetAlias:
    """Return the alias through which an event of the champion is emitted when there is a new one."""
    from airflow.sdk import AssetAlias

    return AssetAlias(f"{experiment}.promotions", group="diurnal")


def step_outlets(experiment: str, step: str) -> list[Asset | AssetAlias]:
    """Return the assets whose events a step may emit."""
    outlets: dict[str, Callable[[str], Asset | AssetAlias]] = {
        "fetch": batch,
        "publish": model,
        "promote": promotion_alias,
    }
    return [outlets[step](experiment)] if step in outlets else []


def step_inlets(experiment: str, step: str) -> list[Asset]:
    """Return the assets whose events a step reads: `promote` reads the newest event of the champion."""
    return [champion(experiment)] if step in ("evaluate", "promote") else []


def emit_batch_event(events: Any, fetched: Batch) -> None:
    """Emit the event of a stored batch."""
    event = events[batch(fetched.run.experiment)]
    event.add_partitions(partition_key(fetched.run.interval))
    event.extra = {
        "digest": fetched.package.digest,
        "n_rows": fetched.package.n_rows,
        "run_id": fetched.run.run_id,
    }


def emit_model_event(events: Any, version: ModelVersion, run: RunContext) -> None:
    """Emit the event of a published model version, with the test score of its twin."""
    row = run.stores.warehouse.run(version.run_id) or {}
    event = events[model(version.experiment)]
    event.add_partitions(partition_key(version.interval))
    event.extra = {
        "version": version.version,
        "digest": version.digest,
        "data_interval": partition_key(version.interval),
        "run_id": version.run_id,
        "test_score": row.get("test_score"),
    }


def emit_champion_event(context: Any, warehouse: Warehouse, experiment: Experiment) -> None:
    """Emit the event of the champion, unless the newest event of the asset is about it already.

    So a task that runs twice emits one event, a task that was killed after the promotion emits it in its next try, and
    a promotion made while Airflow was not reachable has its event in the next run.
    """
    newest = warehouse.newest_promotion(experiment.name)
    if newest is not None and newest["version"] != _newest_event_version(context, experiment.name):
        events = context["outlet_events"][promotion_alias(experiment.name)]
        events.add(champion(experiment.name), extra=champion_event_extra(newest, experiment.timezone))


def champion_event_extra(promotion: Mapping[str, Any], timezone: str) -> dict[str, Any]:
    """Return the `extra` of an event of the champion.

    Parameters
    ----------
    promotion : Mapping
        As :meth:`diurnal.storage.warehouse.Warehouse.newest_promotion` returns it.
    timezone : str
        The experiment's, in which the data interval is named.
    """
    interval = DataInterval(promotion["data_interval_start"], promotion["data_interval_end"], timezone)
    return {
        "version": promotion["version"],
        "digest": promotion["digest"],
        "data_interval": partition_key(interval),
        "run_id": promotion["run_id"],
        "by": promotion["promoted_by"],
        "kind": promotion["kind"],
    }


def _newest_event_version(context: Any, experiment: str) -> int | None:
    """Return the version in the newest event of the champion; None if there is no event."""
    newest = list(context["inlet_events"][champion(experiment)].ascending(False).limit(1))
    return newest[0].extra.get("version") if newest else None


def partition_key(interval: DataInterval) -> str:
    """Return the name of a data interval as a partition: its start, as a date if that is midnight.

    Examples
    --------
    >>> from diurnal.types.calendar import Calendar
    >>> partition_key(Calendar("@weekly").interval_on("2026-11-25"))
    '2026-11-22'
    >>> partition_key(Calendar("0 6 * * *").interval_on("2026-11-25"))
    '2026-11-25T06:00:00Z'
    """
    day = timezones.instant_to_local(interval.start, interval.timezone).date()
    is_midnight = interval.start == timezones.midnight_of(day, interval.timezone)
    return day.isoformat() if is_midnight else format_instant(interval.start, interval.timezone)


def _make_asset(experiment: str, name: str) -> Asset:
    from airflow.sdk import Asset

    return Asset(name=f"{experiment}.{name}", uri=f"x-diurnal://{experiment}/{name}", group="diurnal")
