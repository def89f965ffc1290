"""Where a package is in the lake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PackageKey:
    """The folder of a package: ``<experiment>/<category>/<interval>``.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    category : {"batches", "train", "test", "candidates"}
        The type of the rows.
    interval : str
        The data interval, as :attr:`diurnal.types.DataInterval.key`.

    Examples
    --------
    >>> key = PackageKey("iris", "train", "20261123T000000Z")
    >>> key.path("3f0c9a1e.parquet")
    'iris/train/20261123T000000Z/3f0c9a1e.parquet'
    >>> PackageKey.of("iris/train/20261123T000000Z/3f0c9a1e.parquet") == key
    True
    """

    experiment: str
    category: str
    interval: str

    @classmethod
    def of(cls, path: str) -> PackageKey:
        """Return the key of a package by its path."""
        experiment, category, interval, _ = path.split("/")
        return cls(experiment, category, interval)

    def path(self, name: str) -> str:
        """Return the path of a file in this folder."""
        return f"{self.experiment}/{self.category}/{self.interval}/{name}"

    @property
    def parts_folder(self) -> str:
        """The folder of all parts of the data interval.

        Batches, train and test share it: a part of a batch whose rows are all train rows is a part of the train
        package, without a copy.
        """
        return f"{self.experiment}/parts/{self.interval}"
