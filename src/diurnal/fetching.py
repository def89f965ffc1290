"""Bringing a batch in: spooled as it came, held against its contract, ordered, and kept in the lake."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import BatchRefused, DeclarationError, DiurnalError, Problem, TryAgainLater
from diurnal.values import Package

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.contract import Schema
    from diurnal.day import Day
    from diurnal.lake import Spool


def bring_in(day: Day, fixed: Schema | None, folder: Path) -> tuple[Package, Schema, list[str]]:
    """Bring the batch in: as it came, checked, and then ordered and kept."""
    from diurnal.backends import sklearn as backend
    from diurnal.contract import Inspection, infer

    experiment = day.experiment
    spool = _spooled(day, folder)
    task = backend.task(experiment.build())
    if fixed and fixed.task != task:
        raise DeclarationError(
            f"{experiment.name} is a {task} now and was a {fixed.task} when its first batch came",
            advice="give the new task an experiment of its own, under another name",
        )
    schema = fixed or infer(
        lambda: iter(spool),
        target=experiment.target,
        key=experiment.key,
        drop=experiment.drop,
        task=task,
        limits=experiment.limits,
    )
    inspection = Inspection(schema, experiment.limits)
    package, arrangement = day.stores.lake.write(
        experiment.name,
        "batches",
        day.interval,
        _checked(inspection.read(spool), experiment.checks),
        schema.arrow,
        day.hasher(schema),
        key=schema.key,
        n_bytes=spool.n_bytes,
    )
    warnings = list(inspection.warnings)
    if arrangement.n_repeated:
        warnings.append(f"{arrangement.n_repeated} repeated rows were dropped; a key would tell them apart")
    return package, schema, warnings


def _spooled(day: Day, folder: Path) -> Spool:
    """Bring the batch in as it comes; what fails in the user's own source is said to have failed there."""
    from diurnal.lake import Spool
    from diurnal.sources import record_batches

    source, limits = day.experiment.source, day.experiment.limits
    try:
        return Spool(folder, record_batches(source, day.interval, day.stores.connections, max_bytes=limits.max_bytes))
    except (DiurnalError, OSError, MemoryError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise TryAgainLater(
            f"the source fails with {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
            advice="run it again; if it goes on, mend the source",
        ) from error


def _checked(batches: Iterable[pa.RecordBatch], checks: Any) -> Iterator[pa.RecordBatch]:
    """Hold rows against the experiment's own checks, a pandera schema."""
    for batch in batches:
        if checks is not None:
            try:
                checks.validate(batch.to_pandas(), lazy=True)
            except Exception as error:
                if type(error).__name__ not in ("SchemaErrors", "SchemaError"):
                    raise
                cases = error.failure_cases  # type: ignore[attr-defined]  # pandera's, which is optional
                raise BatchRefused(
                    [
                        Problem("check-failed", f"{row['column']}: {row['check']} fails for {row['failure_case']!r}")
                        for row in cases.head(20).to_dict("records")
                    ]
                ) from None
        yield batch


def unusual(day: Day, package: Package) -> list[str]:
    """Warn of a batch that is ten times as large as those before it."""
    earlier = [p.n_rows for at, p in day.stores.warehouse.window(day.experiment.name, day.interval, last=8, since=None)
               if at.start < day.interval.start]  # fmt: skip
    usual = statistics.median(earlier) if earlier else package.n_rows
    if package.n_rows < 10 * usual:
        return []
    return [f"the batch has {package.n_rows} rows; the {len(earlier)} before it had {usual:g} (the median)"]
