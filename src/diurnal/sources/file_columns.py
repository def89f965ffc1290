"""Names of the columns of a file, and the selection of those to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diurnal.data.column_names import duplicate_name_problems, format_names
from diurnal.errors import BatchRejectedError, Problem, did_you_mean
from diurnal.sources.decompression import file_error

if TYPE_CHECKING:
    from diurnal.sources.files import Files

SAVED_INDEX = (
    "the first column has no name and is called {!r}: it looks like a saved index; leave it out by index_col=0 or drop="
)


_NO_HEADER = "if the file has no header, declare header=None"


@dataclass(frozen=True)
class FileColumns:
    """The columns of one file.

    Attributes
    ----------
    names : tuple of str
        Names of the columns to read, in the order of the file.
    places : tuple of int
        Their positions in a row, from 0.
    width : int
        Number of cells in a row.
    warnings : tuple of str
        Warnings about them.
    """

    names: tuple[str, ...]
    positions: tuple[int, ...]
    width: int
    warnings: tuple[str, ...] = ()


def name_columns(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """Name columns without a name as pandas does; also return warnings.

    Examples
    --------
    >>> name_columns(["", "a", "", "Unnamed: 0"])[0]
    ['Unnamed: 0.1', 'a', 'Unnamed: 2', 'Unnamed: 0']
    """
    taken = set(cells)
    names = list(cells)
    for i in (i for i, cell in enumerate(cells) if not cell):
        names[i] = next(name for name in _candidate_names(f"Unnamed: {i}") if name not in taken)
        taken.add(names[i])
    unnamed = [name for name, cell in zip(names, cells, strict=True) if not cell]
    warnings = [SAVED_INDEX.format(unnamed.pop(0))] if cells and not cells[0] else []
    if _is_row_of_numbers(cells):
        warnings.append(f"the header is a row of numbers ({format_names(cells[:4])}); {_NO_HEADER}")
    if unnamed:
        warnings.append(f"columns without a name are called {format_names(unnamed)}")
    return names, warnings


def _is_row_of_numbers(cells: Sequence[str]) -> bool:
    """Return whether a header may be the first row of a file without one; whole numbers are names that pandas gives."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return False
    return len(set(numbers)) < len(cells) or not all(number.is_integer() for number in numbers)


def _candidate_names(name: str) -> Iterator[str]:
    yield name
    n = 0
    while True:
        n += 1
        yield f"{name}.{n}"


def select_columns(names: Sequence[str], files: Files, warnings: Sequence[str] = ()) -> FileColumns:
    """Select the columns to read.

    Raises
    ------
    BatchRejectedError
        If a column of `usecols` or `index_col` is missing, or two columns to read have the same name.
    """
    positions = select_positions(names, files)
    kept = tuple(names[i] for i in positions)
    twice = duplicate_name_problems(kept)
    if twice:
        rename = "rename the columns where the file is written, or by names=[...] and header=0"
        raise BatchRejectedError(twice, hint=f"{_NO_HEADER}; else {rename}" if _is_row_of_numbers(names) else rename)
    relevant = [warning for warning in warnings if any(repr(name) in warning for name in kept)]
    return FileColumns(kept, tuple(positions), len(names), (*relevant, *_unknown_column_warnings(kept, files)))


def select_positions(names: Sequence[str], files: Files) -> list[int]:
    """Return the positions of the columns to read, in the order of the file."""
    selected = list(range(len(names)))
    if callable(files.usecols):
        selected = [i for i in selected if files.usecols(names[i])]
    elif files.usecols is not None:
        selected = sorted(find_positions("usecols", _spreadsheet_positions(files.usecols), names))
    left_out = () if files.index_col is None else _index_positions(files.index_col, selected, names)
    kept = [i for i in selected if i not in left_out]
    if not kept:
        raise file_error("no-columns", "has no column to read", f"its columns are {format_names(list(names))}")
    return kept


def _index_positions(index: Sequence[str | int], selected: Sequence[int], names: Sequence[str]) -> set[int]:
    """Return the positions of `index_col`; a number counts the columns to read, as in pandas."""
    among = [names[i] for i in selected]
    return {selected[i] for i in find_positions("index_col", index, among)}


def find_positions(argument: str, columns: Sequence[str | int], names: Sequence[str]) -> set[int]:
    """Return the positions of the columns of an argument."""
    missing = [c for c in columns if (c not in names if isinstance(c, str) else c >= len(names))]
    if missing:
        problems = [
            Problem(
                "missing-column",
                f"{argument} names the column {column!r}, which is missing; the columns are {format_names(list(names))}"
                f"{did_you_mean(column, names) if isinstance(column, str) else ''}",
                str(column),
            )
            for column in missing
        ]
        raise BatchRejectedError(problems, hint=f"correct {argument}=, or the file")
    return {names.index(column) if isinstance(column, str) else column for column in columns}


def _spreadsheet_positions(usecols: Sequence[str | int] | str) -> Sequence[str | int]:
    """Return the positions of a spreadsheet's letters, as in ``"A:C,F"``."""
    if not isinstance(usecols, str):
        return usecols
    positions: list[int] = []
    for part in usecols.split(","):
        first, _, last = part.strip().upper().partition(":")
        positions += range(_letters_to_position(first), _letters_to_position(last or first) + 1)
    return positions


def _letters_to_position(letters: str) -> int:
    position = 0
    for letter in letters:
        position = position * 26 + ord(letter) - ord("A") + 1
    return position - 1


def _unknown_column_warnings(names: Sequence[str], files: Files) -> list[str]:
    """Warn of columns of arguments that are missing; pandas ignores them."""
    spoken = {
        argument: [column for column in value if isinstance(column, str) and column not in names]
        for argument, value in (
            ("dtype", files.dtype),
            ("na_values", files.na_values),
            ("date_format", files.date_format),
        )
        if isinstance(value, dict)
    }
    return [
        f"{argument} names {column!r}, which is not a column{did_you_mean(column, names)}"
        for argument, columns in spoken.items()
        for column in columns
    ]
