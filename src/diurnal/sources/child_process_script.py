"""Script of the child process of :mod:`diurnal.sources.child_process`; it imports no module of this package.

Its argument is JSON. It writes CSV or an Arrow stream. If the file is rejected, the last line on standard error is JSON
with code, message and hint.
"""

from __future__ import annotations

import csv
import io
import json
import resource
import sys
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NoReturn


def main(arguments: dict[str, Any]) -> None:
    """Read a file."""
    resource.setrlimit(resource.RLIMIT_AS, (arguments["most_memory"], arguments["most_memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        write_sheet(arguments) if arguments["format"] == "excel" else write_arrow(arguments)
    except MemoryError:
        exit_with_error(
            "damaged-file", "takes more memory than is allowed", "write it in smaller pieces, or as Parquet"
        )


def exit_with_error(code: str, message: str, hint: str) -> NoReturn:
    """Exit with the reason why the file is rejected."""
    sys.stderr.write("\n" + json.dumps({"code": code, "message": message, "hint": hint}) + "\n")
    sys.exit(65)


def write_sheet(arguments: dict[str, Any]) -> None:
    """Write a sheet as CSV."""
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_path(arguments["path"])
        sheet = book.get_sheet_by_index(sheet_number(arguments["sheet_name"], book.sheet_names))
    except calamine.PasswordError:
        exit_with_error("encrypted-file", "is encrypted", "save it without a password")
    except (calamine.CalamineError, OSError, ValueError) as error:
        exit_with_error(
            "damaged-file", f"is no spreadsheet that can be read: {error}", "save it again, or export it as CSV"
        )
    if sheet.start is None:
        return
    left = sheet.start[1]
    clocks = {i for row in sheet.iter_rows() for i, cell in enumerate(row) if isinstance(cell, datetime)}
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", newline="")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in sheet.iter_rows():  # includes empty rows above the first cell, but no empty columns left of it
        cells = [format_sheet_cell(cell, arguments["decimal"], is_clock=i in clocks) for i, cell in enumerate(row)]
        if any(cells):
            writer.writerow([""] * left + cells)
        else:
            sys.stdout.write("\n")
    sys.stdout.flush()


def sheet_number(wanted: str | int, names: list[str]) -> int:
    """Return the position of a sheet."""
    if isinstance(wanted, int) and wanted < len(names):
        return wanted
    if wanted in names:
        return names.index(str(wanted))
    listed = ", ".join(map(repr, names[:40])) or "none"
    exit_with_error("missing-sheet", f"has no sheet {wanted!r}; there are: {listed}", "correct sheet_name=")


def format_sheet_cell(cell: Any, decimal: str, *, is_clock: bool) -> str:
    """Convert a cell to text: integers without a fraction, dates in a column of timestamps with a time."""
    if isinstance(cell, float):
        number = str(int(cell)) if cell.is_integer() and abs(cell) < 2**63 else repr(cell)
        return number.replace(".", decimal)
    if isinstance(cell, date) and not isinstance(cell, datetime):
        return f"{cell} 00:00:00" if is_clock else str(cell)
    return str(cell)


def write_arrow(arguments: dict[str, Any]) -> None:
    """Write the batches of an Arrow file or stream, each of them validated."""
    import pyarrow as pa

    try:
        with pa.OSFile(arguments["path"], "rb") as source:
            magic = source.read(6)
            source.seek(0)
            if magic[:4] == b"FEA1":
                exit_with_error(
                    "unknown-codec", "is Feather of version 1", "write it by pandas, which writes version 2"
                )
            reader = pa.ipc.open_file(source) if magic == b"ARROW1" else pa.ipc.open_stream(source)
            with pa.ipc.new_stream(pa.PythonFile(sys.stdout.buffer, "w"), reader.schema) as writer:
                for batch in iter_batches(reader):
                    batch.validate(full=True)
                    writer.write_batch(batch)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        exit_with_error(
            "damaged-file", f"is no Arrow file that can be read: {str(error)[:200]}", "write the file again"
        )


def iter_batches(reader: Any) -> Iterator[Any]:
    """Yield the batches of a file or of a stream."""
    if not hasattr(reader, "num_record_batches"):
        yield from reader
        return
    for i in range(reader.num_record_batches):
        yield reader.get_batch(i)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
