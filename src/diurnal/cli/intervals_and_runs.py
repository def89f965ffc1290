"""What the commands share: which interval, whose word, and one run after the other."""

from __future__ import annotations

import getpass
import glob
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from diurnal.cli import next_interval
from diurnal.errors import (
    BatchRejectedError,
    ConfigurationError,
    DiurnalError,
    ExperimentError,
    NotEnoughDataError,
    NotFoundError,
    SupersededError,
    UsageError,
    did_you_mean,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.cli.progress import Watch
    from diurnal.experiment import Experiment
    from diurnal.pipeline.dry_run import DryRun
    from diurnal.pipeline.local_run import RunResult
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores
    from diurnal.types import DataInterval

_OFFSET = re.compile(r"-\d+T\d{6}[+-]\d{4}")
Done = list[tuple["DataInterval", "RunResult | None", DiurnalError | None]]


def interval(experiment: Experiment, stores: Stores, date: str | None, *, next_: bool) -> DataInterval:
    """Choose the data interval: that of a date, the first without a result, or the last complete one."""
    if date and next_:
        raise UsageError("--date and --next exclude each other", hint="give one of them")
    if date:
        return experiment.calendar.interval_on(date)
    return next_interval.following(experiment, stores) if next_ else next_interval.last_complete(experiment)


def between(experiment: Experiment, first: str, last: str) -> list[DataInterval]:
    """Give the data intervals of some dates, both included."""
    return experiment.calendar.intervals_between(first, last)


def carry_out(
    experiment: Experiment,
    interval: DataInterval,
    stores: Stores,
    watch: Watch,
    *,
    force: bool,
    allow_future: bool,
) -> RunResult:
    """Carry out one run."""
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline.local_run import run

    day = RunContext(experiment, interval, stores, requested_by=whoami(), force=force, progress=watch.fits)
    now = None if allow_future else datetime.now(UTC)
    return run(day, on_start=watch.step_starts, on_end=watch.step_ends, now=now)


def backfill(
    experiment: Experiment,
    chosen: list[DataInterval],
    stores: Stores,
    watch: Watch,
    *,
    force: bool,
    allow_future: bool,
) -> Done:
    """Carry out runs, oldest first; one that ends without a result does not stop those of other days."""
    done: Done = []
    for one in chosen:
        try:
            outcome = carry_out(experiment, one, stores, watch, force=force, allow_future=allow_future)
            done.append((one, outcome, None))
        except (BatchRejectedError, NotEnoughDataError, SupersededError) as error:
            done.append((one, None, error))
    return done


def dry_run(experiment: Experiment, date: str | None, settings: Settings) -> DryRun:
    """Try the steps on the batch of a date, or of the last complete data interval."""
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline import dry_run
    from diurnal.storage.stores import open_stores

    chosen = experiment.calendar.interval_on(date) if date else next_interval.last_complete(experiment)
    stores = open_stores(settings, create=False)
    try:
        return dry_run.dry_run(RunContext(experiment, chosen, stores, requested_by=whoami()))
    finally:
        stores.warehouse.close()


def rows(file: str, settings: Settings, reference: str) -> Iterator[pa.RecordBatch]:
    """Read one file of the user's, whose name is taken as it is, as the experiment reads its own."""
    from diurnal.sources import Files, record_batches
    from diurnal.types import DataInterval

    name = glob.escape(file).replace("{", "{{").replace("}", "}}")
    beginning = datetime(1970, 1, 1, tzinfo=UTC)  # the name holds no interval
    source = _source(settings, reference.partition("@")[0])
    files = source.like(name) if isinstance(source, Files) else Files(name, complete=False)
    return record_batches(files, DataInterval(beginning, beginning + timedelta(days=1)), {})


def _source(settings: Settings, name: str) -> Any:
    """Give the source of an experiment; None where this project does not have it."""
    found = _declared(settings, name)
    return found.source if found else None


def _declared(settings: Settings, name: str) -> Experiment | None:
    """Find an experiment; None where this project does not have it, or it is broken."""
    from diurnal.experiment import find

    try:
        return find(name, settings.experiments)
    except (NotFoundError, ExperimentError):
        return None


def timezone(settings: Settings, name: str) -> str:
    """Give the timezone of an experiment; UTC where this project does not have it."""
    found = _declared(settings, name)
    return found.timezone if found else "UTC"


def on_its_clocks(rows: list[dict[str, Any]], settings: Settings, name: str) -> list[dict[str, Any]]:
    """Show the data intervals of rows in the timezone that their experiment declares; where there is none, in UTC.

    The experiment is looked for only if a run's name has an offset: its file may import what takes seconds.
    """
    from diurnal.types import timezones

    found = _declared(settings, name) if any(_OFFSET.search(row["run_id"]) for row in rows) else None
    if found is None:
        return rows
    ends = ("data_interval_start", "data_interval_end")
    zone = timezones.get_timezone(found.timezone)
    return [row | {end: row[end].astimezone(zone) for end in ends if end in row} for row in rows]


def first_intervals(experiment: Experiment) -> list[str]:
    """Say which data intervals come first, from the start date or now, and in which one clocks change next."""
    from diurnal.types import timezones

    calendar, now = experiment.calendar, datetime.now(UTC)
    first = (
        calendar.first_interval_from(experiment.start_date)
        if experiment.start_date
        else calendar.last_complete_interval(now)
    )
    shown = [first, calendar.next_interval(first)]
    changes = (change.instant for change in timezones.offset_changes(experiment.timezone))
    shown += [calendar.interval_containing(change) for change in changes if change > max(now, shown[-1].end)][:1]
    return [_described(one) for one in shown]


def _described(interval: DataInterval) -> str:
    begin, end = interval.local.start, interval.local.end
    hours = (interval.end - interval.start).total_seconds() / 3600
    return f"{interval}: {begin:%Y-%m-%d %H:%M %Z} to {end:%Y-%m-%d %H:%M %Z}, {hours:g} h"


def whoami() -> str:
    """Give the name of the person at the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers
        return "unknown"


def warehouse(settings: Settings, deed: str) -> str:
    """Tell the warehouse's URL, bring its tables up to date, keep the embedded one running, or let it go."""
    from diurnal.storage.stores import embedded_server, open_warehouse

    server = embedded_server(settings)
    if deed == "migrate":
        with open_warehouse(settings) as opened:  # which is all that it takes
            return f"the tables of {opened.address} are up to date"
    if deed == "url":
        return server.start() if server else _shown(settings.warehouse)
    if server is None:
        raise ConfigurationError(
            f"the warehouse is {_shown(settings.warehouse)}; only the embedded one is started and stopped here",
            hint="leave DIURNAL_WAREHOUSE unset for the embedded one",
        )
    if deed == "start":
        return f"{server.start(keep=True)}\nIt runs until `diurnal warehouse stop`."
    server.stop()
    return f"stopped; its data stays in {server.folder}"


def where(settings: Settings) -> str:
    """Say where the warehouse is, without a secret."""
    from diurnal.storage.stores import embedded_server

    server = embedded_server(settings)
    return f"an embedded PostgreSQL in {server.folder}" if server else _shown(settings.warehouse)


def _shown(url: str) -> str:
    """Show where a warehouse is, and nothing that is secret."""
    from diurnal.storage.warehouse.url import Address

    return str(Address.of(url))


def known(stores: Stores, settings: Settings, reference: str) -> str:
    """Give the plain name of an experiment of the warehouse or of the project; another one is refused."""
    from diurnal.experiment import discover

    name = reference.rpartition(":")[2]
    kept = {row["experiment"] for row in stores.warehouse.packages()}
    if name not in kept:
        kept |= set(discover(settings.experiments)[0])
    if name not in kept:
        listed = ", ".join(sorted(kept)) or "none"
        raise NotFoundError(
            f"there is no experiment {name!r}; there are: {listed}{did_you_mean(name, kept)}",
            hint="`diurnal list` shows those of this project",
        )
    return name


def runs(stores: Stores, name: str) -> list[dict[str, Any]]:
    """Give the rows of an experiment's runs, each with the version that it published, if it did."""
    return [
        {**run, "version": run["model_version"], "twin_score": _twin_score(run)} for run in stores.warehouse.runs(name)
    ]


def _twin_score(run: dict[str, Any]) -> Any:
    """Give the twin's score on the rows that the champion's was counted on; the test score is on more of them."""
    return run["comparison"]["twin_score"] if run["comparison"] else None


def as_row(outcome: RunResult) -> dict[str, Any]:
    """Give an outcome as one flat row."""
    return {
        **outcome.run,
        "version": outcome.version,
        "twin_score": _twin_score(outcome.run),
        "promoted": outcome.promoted,
        "reason": outcome.reason,
        "already": outcome.already,
    }
