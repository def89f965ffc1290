"""Spreadsheets as a source: a sheet is converted to CSV and read like CSV."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError
from diurnal.sources.child_process import read_in_child_process
from diurnal.sources.csv_reader import read_csv

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.sources.files import Files


def read_excel(fs: Any, path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """Stream a sheet, all cells as text; the contract infers their kinds, as it does for CSV."""
    if find_spec("python_calamine") is None:
        raise ConfigurationError("spreadsheets need python-calamine", hint="pip install diurnal[excel]")
    arguments = {"format": "excel", "sheet_name": files.sheet_name, "decimal": files.decimal}
    return read_csv(partial(read_in_child_process, fs, path, files, arguments), files)
