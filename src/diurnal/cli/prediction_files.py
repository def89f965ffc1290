"""Files of predictions: rows are read from a file of the user's, and predictions written as CSV or Parquet."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from diurnal.experiment import Experiment
    from diurnal.runtime import Settings
    from diurnal.sources import Files

_CSV, _PARQUET = (".csv",), (".parquet", ".pq")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def read_rows(file: str, settings: Settings, reference: str) -> Iterator[pa.RecordBatch]:
    """Read a file with the arguments of the experiment's own ``Files``; its name is not a pattern."""
    from diurnal.cli.project_session import find_valid_experiment
    from diurnal.sources import record_batches
    from diurnal.types import DataInterval

    start = datetime(1970, 1, 1, tzinfo=UTC)  # any interval, as the name has no field of it
    experiment = find_valid_experiment(settings, reference.partition("@")[0])
    return record_batches(file_source(file, experiment), DataInterval(start, start + timedelta(days=1)), {})


def file_source(file: str, experiment: Experiment | None) -> Files:
    """Return the source that reads one file with the arguments of the experiment's own ``Files``."""
    from diurnal.sources import Files

    name = glob.escape(file).replace("{", "{{").replace("}", "}}")
    source = experiment.source if experiment else None
    return source.with_pattern(name) if isinstance(source, Files) else Files(name, complete=False)


def validate_output(output: str | None) -> None:
    """Raise an error for a folder or a format that cannot be written, before anything is predicted."""
    if output is None:
        return
    if not output.endswith((*_CSV, *_PARQUET)):
        raise UsageError(f"unsupported output format: {output}", hint="use .csv or .parquet")
    if not Path(output).absolute().parent.is_dir():
        raise UsageError(f"there is no folder {Path(output).absolute().parent}", hint="create it first")


def write_predictions(tables: Iterator[pa.Table], output: str | None) -> None:
    """Write tables to a file, in the format of its suffix, or as CSV to standard output; whole or not at all."""
    if output is None:
        _write_csv(tables, sys.stdout)
        return
    temporary = Path(output).with_name(f".{Path(output).name}.tmp")
    try:
        if output.endswith(_PARQUET):
            _write_parquet(tables, temporary)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                _write_csv(tables, file)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _write_csv(tables: Iterator[pa.Table], file: Any) -> None:
    for i, table in enumerate(tables):
        _escape_formulas(table.to_pandas()).to_csv(file, index=False, header=i == 0)


def _escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Put a quote before text that a spreadsheet would evaluate as a formula."""
    for name in frame.columns:
        if frame[name].dtype.kind not in "biufM":
            values = frame[name]
            frame[name] = [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA_STARTS) else v for v in values]
    return frame


def _write_parquet(tables: Iterator[pa.Table], path: Path) -> None:
    from diurnal.storage.lake import write_parquet

    write_parquet(tables, path)
