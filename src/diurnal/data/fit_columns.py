"""The columns that a fit needs in addition to features and target: groups, sample weights, and the order of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from diurnal.errors import Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.problems import ProblemCollector
    from diurnal.data.schema import Column

_ALLOWED = {"sample_weight": ("int", "float"), "order_by": ("int", "float", "date", "instant", "timestamp")}

_CODES = {"groups": "group", "sample_weight": "weight", "order_by": "order"}


@dataclass(frozen=True)
class Metadata:
    """The names of these columns. None of them is a feature.

    Attributes
    ----------
    groups : str, optional
        The column with the group of a row.
    sample_weight : str, optional
        The column with the weight of a row.
    order_by : str, optional
        The column that orders rows in time.

    Examples
    --------
    >>> Metadata(groups="patient", order_by="patient").columns
    ('patient',)
    """

    groups: str | None = None
    sample_weight: str | None = None
    order_by: str | None = None

    def __bool__(self) -> bool:
        return bool(self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names without duplicates."""
        return tuple(dict.fromkeys(name for name in asdict(self).values() if name is not None))

    def find_problems(self, columns: Sequence[Column]) -> Iterator[Problem]:
        """Yield the problems of columns that are missing or of a kind that is not allowed."""
        kinds = {column.name: column.kind for column in columns}
        for role, name in asdict(self).items():
            if name is not None and name not in kinds:
                yield Problem("missing-column", f"there is no column {name} for {role}", name)
            elif name is not None and kinds[name] not in _ALLOWED.get(role, (kinds[name],)):
                message = f"{role} {name} is {kinds[name]}; allowed is {', '.join(_ALLOWED[role])}"
                yield Problem(f"{role.replace('_', '-')}-kind", message, name)

    def check_rows(self, columns: Mapping[str, pa.Array], collector: ProblemCollector, n_before: int) -> None:
        """Collect the rows without a group, an order or a weight, and those with a negative weight."""
        import numpy as np
        import pyarrow.compute as pc

        for role, name in asdict(self).items():
            if name is None:
                continue
            missing = np.flatnonzero(columns[name].is_null())
            collector.add_rows(f"null-{_CODES[role]}", f"{role} {name} is null", name, missing, n_before)
            if role == "sample_weight":
                below = np.flatnonzero(pc.fill_null(pc.less(columns[name], 0), False))
                collector.add_rows("negative-weight", f"{role} {name} is negative", name, below, n_before)


NO_METADATA = Metadata()
