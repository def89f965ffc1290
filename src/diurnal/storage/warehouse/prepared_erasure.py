"""What the erasure of a sample changes in the warehouse."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.data import Schema


@dataclass(frozen=True)
class ReplacedPackage:
    """A package with rows of the sample, and the one without them.

    Attributes
    ----------
    data_interval_start : datetime
        The start of its data interval.
    role : {"batch", "train", "test"}
        What it contains.
    old, new : Package
        The packages.
    """

    data_interval_start: datetime
    role: str
    old: Package
    new: Package


@dataclass(frozen=True)
class NewProfile:
    """The profile of a batch without the sample.

    Attributes
    ----------
    data_interval_start : datetime
        The start of its data interval.
    old_batch, new_batch : str
        The digests of the batch that had the sample, and of the one that has not.
    package : Package
        The profile in the lake.
    summary : Mapping of str to Any
        A few numbers for each column.
    """

    data_interval_start: datetime
    old_batch: str
    new_batch: str
    package: Package
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class LoadedKey:
    """The rows of the sample in a table of loads.

    Attributes
    ----------
    contract : Schema
        The columns of the table.
    values : Mapping of str to object
        The value of each column of the key.
    load_ids : collection of int
        The loads that have rows of it.
    searched : int
        The highest load that was searched; later ones are searched as well.
    """

    contract: Schema
    values: Mapping[str, Any]
    load_ids: Collection[int]
    searched: int


@dataclass(frozen=True)
class PreparedErasure:
    """What an erasure changes.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    key_hash : int
        The hash of the key, of 64 bits, signed.
    searched : collection of str
        The paths of all packages that were searched.
    replaced : sequence of ReplacedPackage
        The packages with the sample.
    profiles : sequence of NewProfile
        Profiles of the new batches.
    batches, predictions : LoadedKey or None
        Its rows in the tables of batches and of predictions.
    counts : Mapping of str to int
        Numbers for the table `erasures`.
    """

    experiment: str
    key_hash: int
    searched: Collection[str]
    replaced: Sequence[ReplacedPackage] = ()
    profiles: Sequence[NewProfile] = ()
    batches: LoadedKey | None = None
    predictions: LoadedKey | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
