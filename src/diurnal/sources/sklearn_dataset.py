"""The data sets of scikit-learn as a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diurnal.data.column_names import is_legal_name, snake_case
from diurnal.errors import ExperimentError, did_you_mean
from diurnal.sources.source import Connections
from diurnal.types import DataInterval

if TYPE_CHECKING:
    import pandas as pd

_NAMED_CLASSES = ("breast_cancer", "iris", "wine")
DATASETS = (*_NAMED_CLASSES, "digits", "diabetes")


@dataclass(frozen=True)
class SklearnDataset:
    """A data set that is part of scikit-learn: the same rows in every data interval, without network access.

    Parameters
    ----------
    name : str
        ``"breast_cancer"``, ``"iris"``, ``"wine"``, ``"digits"`` or ``"diabetes"``.
    label : str
        Name of the target column. Classes with names are represented by their names.

    Raises
    ------
    ExperimentError
        If there is no such data set.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> day = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
    >>> iris = SklearnDataset("iris", label="species").read(day, connections={})
    >>> list(iris.columns)
    ['sepal_length_cm', 'sepal_width_cm', 'petal_length_cm', 'petal_width_cm', 'species']
    """

    name: str
    label: str = "label"

    def __post_init__(self) -> None:
        if self.name not in DATASETS:
            raise ExperimentError(
                f"scikit-learn has no data set {self.name!r}; there are {', '.join(DATASETS)}"
                f"{did_you_mean(str(self.name), DATASETS)}",
                hint="name one of these, or write a function of a data interval",
            )
        if not is_legal_name(self.label):
            raise ExperimentError(
                f"the label {self.label!r} has a control character", hint="use a name without control characters"
            )

    def read(self, interval: DataInterval, connections: Connections) -> pd.DataFrame:  # noqa: ARG002 - the protocol of sources
        """Return all rows, for every interval."""
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self.name}")(as_frame=True)
        frame: pd.DataFrame = bunch.data.rename(columns=snake_case)
        if self.label in frame.columns:
            raise ExperimentError(
                f"{self.name} has a feature named {self.label!r}, which its target cannot have as well",
                hint="use another label= in SklearnDataset",
            )
        target = bunch.target
        if self.name in _NAMED_CLASSES:
            target = target.map(dict(enumerate(map(str, bunch.target_names))))
        return frame.assign(**{self.label: target})
