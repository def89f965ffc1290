"""Collection of the problems of a batch while it is streamed. Imports no pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from diurnal.errors import BatchRejectedError, Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROWS_SHOWN = 20


class ProblemCollector:
    """Collects problems; the same problem in many rows is one problem, with the first rows and their count."""

    def __init__(self) -> None:
        self._problems: dict[tuple[str, str | None], Problem] = {}

    def __bool__(self) -> bool:
        return bool(self._problems)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems of the whole batch."""
        for problem in problems:
            self._problems.setdefault((problem.code, problem.column), problem)

    def add_rows(self, code: str, message: str, column: str, rows: npt.NDArray[np.intp], before: int) -> None:
        """Add a problem of some rows; they count from 0 in a record batch, which `before` rows precede."""
        if not len(rows):
            return
        found = self._problems.get((code, column), Problem(code, message, column))
        first = [int(row) + before + 1 for row in rows[: ROWS_SHOWN - len(found.rows)]]
        self._problems[code, column] = Problem(
            code, found.message, column, (*found.rows, *first), found.count + len(rows)
        )

    def merge(self, other: ProblemCollector) -> None:
        """Add the problems of another part: counts are added; rows, which are numbered in that part, are dropped."""
        for key, problem in other._problems.items():
            found = self._problems.get(key)
            count = problem.count + (found.count if found else 0)
            self._problems[key] = Problem(problem.code, (found or problem).message, problem.column, (), count)

    def raise_if_any(self) -> None:
        """Raise BatchRejectedError if there are problems."""
        if self._problems:
            raise BatchRejectedError(
                list(self._problems.values()), hint="correct the source, and run the data interval again"
            )
