"""What a day leaves behind, as Airflow's assets, so that other Dags can wait for it.

Each experiment has three: its ``batch`` and its ``model`` (the newest model version), whose events are partitioned by
the data interval, and its ``champion``. The last one's events come only when a version has become the champion, hence
through an alias, and events through an alias have no partition in Airflow 3.3: a Dag waits for it with a plain
``schedule=[champion("breast_cancer")]``, and one that is late sees the newest champion only, which is what it wants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from diurnal import clocks
from diurnal.values.interval import named

if TYPE_CHECKING:
    from diurnal.day import Day
    from diurnal.values import Batch, DataInterval, ModelVersion


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
    return AssetAlias(f"{experiment}.promotions", group="diurnal")


def outlets(experiment: str, step: str) -> list[Asset | AssetAlias]:
    """Give what a step may announce."""
    made: dict[str, Callable[[str], Asset | AssetAlias]] = {"fetch": batch, "publish": model, "promote": promotions}
    return [made[step](experiment)] if step in made else []


def inlets(experiment: str, step: str) -> list[Asset]:
    """Give what of these a step reads."""
    return [champion(experiment)] if step == "evaluate" else []


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
    event.extra = {**_told(version), "test_score": run.get("test_score")}


def announce_champion(events: Any, version: ModelVersion, by: str) -> None:
    """Say that a model version has become the champion."""
    extra = {**_told(version), "by": by}
    events[promotions(version.experiment)].add(champion(version.experiment), extra=extra)


def partition(interval: DataInterval) -> str:
    """Name a data interval as a partition: its start, a date where it is midnight.

    Examples
    --------
    >>> from diurnal.intervals import Calendar
    >>> partition(Calendar("@weekly").on("2026-11-25")), partition(Calendar("0 6 * * *").on("2026-11-25"))
    ('2026-11-22', '2026-11-25T06:00:00Z')
    """
    day = clocks.local(interval.start, interval.timezone).date()
    begins = interval.start == clocks.midnight(day, interval.timezone)
    return day.isoformat() if begins else named(interval.start, interval.timezone)


def _asset(experiment: str, what: str) -> Asset:
    return Asset(name=f"{experiment}.{what}", uri=f"x-diurnal://{experiment}/{what}", group="diurnal")


def _told(version: ModelVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "digest": version.digest,
        "data_interval": partition(version.interval),
        "run_id": version.run_id,
    }
