"""Checks that an experiment declares: a pandera schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from diurnal.errors import BatchRejectedError, Problem

if TYPE_CHECKING:
    import pyarrow as pa


def run_custom_checks(batches: Iterable[pa.RecordBatch], checks: Any) -> Iterator[pa.RecordBatch]:
    """Validate rows with the checks of the experiment, a pandera schema."""
    for batch in batches:
        if checks is not None:
            try:
                checks.validate(batch.to_pandas(), lazy=True)
            except Exception as error:
                if type(error).__name__ not in ("SchemaErrors", "SchemaError"):
                    raise
                cases = error.failure_cases  # type: ignore[attr-defined]  # of pandera, an optional dependency
                raise BatchRejectedError(
                    [
                        Problem("check-failed", f"{row['column']}: {row['check']} fails for {row['failure_case']!r}")
                        for row in cases.head(20).to_dict("records")
                    ]
                ) from None
        yield batch
