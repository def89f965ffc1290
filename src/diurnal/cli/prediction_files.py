"""Writing predictions as CSV or Parquet, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def check(output: str | None) -> None:
    """Refuse a place or a form that cannot be written, before anything is predicted."""
    if output is None:
        return
    if not output.endswith((".csv", ".parquet", ".pq")):
        raise UsageError(f"predictions are written as .csv or .parquet, not to {output}", hint="name the file so")
    if not Path(output).absolute().parent.is_dir():
        raise UsageError(f"there is no folder {Path(output).absolute().parent}", hint="make it first")


def tables(chunks: Iterator[pa.Table], output: str | None) -> None:
    """Write tables one after the other to a file, by its suffix, or to standard output."""
    if output is None:
        _csv(chunks, sys.stdout)
        return
    temporary = Path(output).with_name(f".{Path(output).name}.tmp")
    try:
        if output.endswith((".parquet", ".pq")):
            _parquet(chunks, temporary)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                _csv(chunks, file)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _csv(chunks: Iterator[pa.Table], file: Any) -> None:
    for i, chunk in enumerate(chunks):
        _harmless(chunk.to_pandas()).to_csv(file, index=False, header=i == 0)


def _harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """Put a quote before text that a spreadsheet would run as a formula."""
    for name in frame.columns:
        if frame[name].dtype.kind not in "biufM":
            frame[name] = [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in frame[name]]
    return frame


def _parquet(chunks: Iterator[pa.Table], path: Path) -> None:
    from diurnal.storage.lake import write_parquet

    write_parquet(chunks, path)
