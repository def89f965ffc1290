"""Thresholds of drift: from which effect size on a column counts as drifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_THRESHOLD = 0.1
PREDICTION = "prediction"
"""The name under which the drift of a model's predictions is recorded."""


@dataclass(frozen=True)
class DriftThresholds:
    """The argument `drift` of ``@experiment`` in one form.

    Attributes
    ----------
    default : float or None
        The threshold of columns without one of their own; None: they are not compared.
    columns : Mapping of str to float or None
        Thresholds by column; None: the column is not compared.

    Examples
    --------
    >>> thresholds = DriftThresholds(columns={"age": 0.3})
    >>> thresholds.of("age"), thresholds.of("pressure")
    (0.3, 0.1)
    """

    default: float | None = DEFAULT_THRESHOLD
    columns: Mapping[str, float | None] = field(default_factory=dict)

    def of(self, column: str) -> float | None:
        """Return the threshold of a column; None if it is not compared."""
        return self.columns.get(column, self.default)

    @property
    def is_off(self) -> bool:
        """Whether no column is compared."""
        return self.default is None and not any(value is not None for value in self.columns.values())
