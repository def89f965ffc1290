"""Bringing a batch in: spooled as it came, held against its contract, ordered, and kept in the lake."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.errors import DeclarationError, DiurnalError, TryAgainLater
from diurnal.values import Package

if TYPE_CHECKING:
    from diurnal.contract import Schema
    from diurnal.day import Day
    from diurnal.lake import Spool


def bring_in(day: Day, fixed: Schema | None, folder: Path) -> tuple[Package, Schema, list[str]]:
    """Bring the batch in: as it came, checked, and then ordered and kept."""
    from diurnal.backends import backend_of
    from diurnal.contract import Inspection, infer, satisfying

    experiment = day.experiment
    made = experiment.build()
    backend = backend_of(made)
    task = backend.task(made)
    if fixed and fixed.task != task:
        raise DeclarationError(
            f"{experiment.name} is a {task} now and was a {fixed.task} when its first batch came",
            advice="give the new task an experiment of its own, under another name",
        )
    backend.check_metadata(made, experiment.metadata)
    brought = backend.bring_in(day, fixed, task, folder)
    if brought is not None:
        return (
            brought.package,
            brought.schema,
            [*brought.warnings, *_repeated(brought.schema, fixed, brought.n_repeated)],
        )
    warnings: list[str] = []
    spool = _spooled(day, folder, warnings.append)
    schema = fixed
    if schema is None or schema.lacks_classes:
        found = infer(
            lambda: iter(spool),
            target=experiment.target,
            key=experiment.key,
            drop=experiment.drop,
            duplicates=experiment.duplicates,
            metadata=experiment.metadata,
            task=task,
            limits=experiment.limits,
        )
        schema = schema.with_classes_of(found) if schema else found
    inspection = Inspection(schema, experiment.limits, alone=experiment.window == 1)
    package, arrangement = day.stores.lake.write(
        experiment.name,
        "batches",
        day.interval,
        satisfying(inspection.read(spool), experiment.checks),
        schema.arrow,
        day.hasher(schema),
        key=schema.key,
        keep=schema.keeps_duplicates,
        n_rows=spool.n_rows,
        n_bytes=spool.n_bytes,
    )
    return package, schema, [*warnings, *inspection.warnings, *_repeated(schema, fixed, arrangement.n_repeated)]


def _repeated(schema: Schema, fixed: Schema | None, n_dropped: int) -> list[str]:
    """Warn of what was made of rows that repeat: each time that some were dropped, and once where all are kept."""
    if n_dropped:
        why = "a key would tell them apart" if schema.key else "the contract fixes duplicates='drop'"
        return [f"{n_dropped} repeated rows were dropped: {why}"]
    if schema.keeps_duplicates and fixed is None:
        return [
            "less than 99 % of the rows are distinct in their features, so that every row is a sample of its own: "
            "the contract fixes duplicates='keep'"
        ]
    return []


def _spooled(day: Day, folder: Path, warn: Callable[[str], object]) -> Spool:
    """Bring the batch in as it comes; what fails in the user's own source is said to have failed there."""
    from diurnal.lake import Spool
    from diurnal.sources import record_batches

    source, limits, connections = day.experiment.source, day.experiment.limits, day.stores.connections
    try:
        return Spool(folder, record_batches(source, day.interval, connections, max_bytes=limits.max_bytes, warn=warn))
    except (DiurnalError, OSError, MemoryError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise TryAgainLater(
            f"the source fails with {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
            advice="run it again; if it goes on, mend the source",
        ) from error


def unusual(day: Day, package: Package) -> list[str]:
    """Warn of a batch that is ten times as large as those before it."""
    earlier = [p.n_rows for at, p in day.stores.warehouse.window(day.experiment.name, day.interval, last=8, since=None)
               if at.start < day.interval.start]  # fmt: skip
    usual = statistics.median(earlier) if earlier else package.n_rows
    if package.n_rows < 10 * usual:
        return []
    return [f"the batch has {package.n_rows} rows; the {len(earlier)} before it had {usual:g} (the median)"]
