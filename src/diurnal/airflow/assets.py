"""What a day leaves behind, as Airflow's assets, so that other Dags can wait for it.

Each experiment has three: its ``batch`` and its ``model`` (the newest model version), whose events are partitioned by
the data interval, and its ``champion``. The last one's events come only when a version has become the champion, hence
through an alias, and events through an alias have no partition in Airflow 3.3: a Dag waits for it with a plain
``schedule=[champion("breast_cancer")]``, and one that is late sees the newest champion only, which is what it wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from diurnal.types import DataInterval, timezones
from diurnal.types.interval import format_instant

if TYPE_CHECKING:  # the command line announces a champion as well, where Airflow may not be installed
    from airflow.sdk import Asset, AssetAlias

    from diurnal.experiment import Experiment
    from diurnal.pipeline.context import Day
    from diurnal.storage.warehouse import Warehouse
    from diurnal.types import Batch, ModelVersion


def batch(experiment: str) -> Asset:
    """Give the asset of an experiment's batches; each event's partition is a data interval.

    Examples
    --------
    >>> batch("turbines").name, batch("turbines").uri
    ('turbines.batch', 'x-diurnal://turbines/batch')
    """
    return _asset(experiment, "batch")


def model(experiment: str) -> Asset:
    """Give the asset of an experiment's model versions; each event's partition is a data interval."""
    return _asset(experiment, "model")


def champion(experiment: str) -> Asset:
    """Give the asset of an experiment's champion: the model version in use."""
    return _asset(experiment, "champion")


def promotions(experiment: str) -> AssetAlias:
    """Give the alias through which a champion is announced when there is a new one."""
    from airflow.sdk import AssetAlias

    return AssetAlias(f"{experiment}.promotions", group="diurnal")


def outlets(experiment: str, step: str) -> list[Asset | AssetAlias]:
    """Give what a step may announce."""
    made: dict[str, Callable[[str], Asset | AssetAlias]] = {"fetch": batch, "publish": model, "promote": promotions}
    return [made[step](experiment)] if step in made else []


def inlets(experiment: str, step: str) -> list[Asset]:
    """Give what of these a step reads: `promote` looks up which champion was announced last."""
    return [champion(experiment)] if step in ("evaluate", "promote") else []


def announce_batch(events: Any, fetched: Batch) -> None:
    """Say that a batch is kept."""
    event = events[batch(fetched.run.experiment)]
    event.add_partitions(partition(fetched.run.interval))
    event.extra = {
        "digest": fetched.package.digest,
        "n_rows": fetched.package.n_rows,
        "run_id": fetched.run.run_id,
    }


def announce_model(events: Any, version: ModelVersion, day: Day) -> None:
    """Say that a model version is published, with the test score of its twin."""
    run = day.stores.warehouse.run(version.run_id) or {}
    event = events[model(version.experiment)]
    event.add_partitions(partition(version.interval))
    event.extra = {
        "version": version.version,
        "digest": version.digest,
        "data_interval": partition(version.interval),
        "run_id": version.run_id,
        "test_score": run.get("test_score"),
    }


def announce_champion(context: Any, warehouse: Warehouse, experiment: Experiment) -> None:
    """Announce the champion, unless the newest event of the asset is about it.

    A task that is repeated announces nothing twice, one that was killed after the promotion makes up for it, and so
    does the next day for a promotion that Airflow could not be told of.
    """
    newest = warehouse.newest_promotion(experiment.name)
    if newest is not None and newest["version"] != _announced(context, experiment.name):
        events = context["outlet_events"][promotions(experiment.name)]
        events.add(champion(experiment.name), extra=about_champion(newest, experiment.timezone))


def about_champion(promotion: Mapping[str, Any], timezone: str) -> dict[str, Any]:
    """Give what an event says of a champion.

    Parameters
    ----------
    promotion : Mapping
        As :meth:`diurnal.storage.warehouse.Warehouse.newest_promotion` gives it.
    timezone : str
        The experiment's, in which its data interval is named.
    """
    interval = DataInterval(promotion["data_interval_start"], promotion["data_interval_end"], timezone)
    return {
        "version": promotion["version"],
        "digest": promotion["digest"],
        "data_interval": partition(interval),
        "run_id": promotion["run_id"],
        "by": promotion["promoted_by"],
        "kind": promotion["kind"],
    }


def _announced(context: Any, experiment: str) -> int | None:
    """Give the version that the newest event of the champion is about; None if there is none."""
    newest = list(context["inlet_events"][champion(experiment)].ascending(False).limit(1))
    return newest[0].extra.get("version") if newest else None


def partition(interval: DataInterval) -> str:
    """Name a data interval as a partition: its start, a date where it is midnight.

    Examples
    --------
    >>> from diurnal.types.calendar import Calendar
    >>> partition(Calendar("@weekly").interval_on("2026-11-25"))
    '2026-11-22'
    >>> partition(Calendar("0 6 * * *").interval_on("2026-11-25"))
    '2026-11-25T06:00:00Z'
    """
    day = timezones.instant_to_local(interval.start, interval.timezone).date()
    begins = interval.start == timezones.midnight_of(day, interval.timezone)
    return day.isoformat() if begins else format_instant(interval.start, interval.timezone)


def _asset(experiment: str, what: str) -> Asset:
    from airflow.sdk import Asset

    return Asset(name=f"{experiment}.{what}", uri=f"x-diurnal://{experiment}/{what}", group="diurnal")
