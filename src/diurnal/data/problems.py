"""What is wrong with a batch, collected while it streams by. Light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from diurnal.errors import BatchRejectedError, Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROWS_SHOWN = 20


class ProblemCollector:
    """Collects problems; what is wrong in many rows is one problem, with the first rows and their count."""

    def __init__(self) -> None:
        self._problems: dict[tuple[str, str | None], Problem] = {}

    def __bool__(self) -> bool:
        return bool(self._problems)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add problems that are of the whole batch."""
        for problem in problems:
            self._problems.setdefault((problem.code, problem.column), problem)

    def add_rows(self, code: str, what: str, column: str, rows: npt.NDArray[np.intp], before: int) -> None:
        """Add rows, counted from 0 in a piece of the batch that `before` rows came before."""
        if not len(rows):
            return
        found = self._problems.get((code, column), Problem(code, what, column))
        first = [int(row) + before + 1 for row in rows[: ROWS_SHOWN - len(found.rows)]]
        self._problems[code, column] = Problem(
            code, found.message, column, (*found.rows, *first), found.count + len(rows)
        )

    def merge(self, other: ProblemCollector) -> None:
        """Add what was found in another piece: counts add up; rows, which were numbered in that piece, are dropped."""
        for place, problem in other._problems.items():
            found = self._problems.get(place)
            count = problem.count + (found.count if found else 0)
            self._problems[place] = Problem(problem.code, (found or problem).message, problem.column, (), count)

    def raise_if_any(self) -> None:
        """Refuse the batch if anything was found."""
        if self._problems:
            raise BatchRejectedError(
                list(self._problems.values()), hint="correct the source, and run the data interval again"
            )
