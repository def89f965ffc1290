"""What the page shows of one column: its history, and its distribution in one batch beside that in the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from diurnal.errors import CorruptPackageError, NotFoundError
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.data.profiles import ColumnProfile
    from diurnal.storage.lake import Lake
    from diurnal.storage.stores import Stores

Row = dict[str, Any]
_MAX_REFERENCE_BATCHES = 400
_MAX_CATEGORIES = 20
_QUANTILES = {"5 %": 0.05, "median": 0.5, "95 %": 0.95}


@dataclass(frozen=True)
class Reference:
    """The rows that a batch is compared with: the training window of a version.

    Attributes
    ----------
    version : int
        The version.
    digests : tuple of str
        The digests of its batches.
    """

    version: int
    digests: tuple[str, ...]


class ValueRow(NamedTuple):
    """A value of a column in the batch and in the reference: a number, a text, or None."""

    name: str
    batch: Any
    reference: Any


@dataclass(frozen=True)
class ColumnDistributions:
    """The distribution of a column in one batch and in the reference.

    Attributes
    ----------
    batch, reference : ColumnProfile or None
        Both; None where there is no profile, or no such column.
    version : int or None
        The version of the reference.
    """

    batch: ColumnProfile | None
    reference: ColumnProfile | None
    version: int | None

    @property
    def rows(self) -> list[ValueRow]:
        """Values of both, for those who do not see the chart."""
        sides = (self.batch, self.reference)
        rows = [
            ValueRow("rows", *(side.n_rows if side else None for side in sides)),
            ValueRow("missing", *(_percent(side.missing_share) if side else None for side in sides)),
        ]
        present = self.batch or self.reference
        if present is not None and present.kind == "category":
            return rows + _category_rows(*sides)
        moments = [ValueRow(name, *(getattr(side, name, None) for side in sides)) for name in ("mean", "std", "min")]
        found = [_quantiles_of(side) for side in sides]
        quantiles = [ValueRow(name, *(side.get(name) for side in found)) for name in _QUANTILES]
        return [*rows, *moments, *quantiles, ValueRow("max", *(getattr(side, "max", None) for side in sides))]


def find_reference(stores: Stores, experiment: str, drift: Mapping[str, Any] | None) -> Reference | None:
    """Return the reference of a run's drift; without drift, the training window of the present champion.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str
        Name of the experiment.
    drift : Mapping, optional
        The drift of a run.
    """
    warehouse = stores.warehouse
    named = (drift or {}).get("reference") or {}
    version, run_id = named.get("version"), named.get("run_id")
    if run_id is None:
        champion = warehouse.champion(experiment)
        if champion is None:
            return None
        version, run_id = champion.version, champion.run_id
    run = warehouse.run(run_id)
    if run is None or run["experiment"] != experiment:
        return None
    digests = [package["digest"] for package in run["packages"]]
    return Reference(int(version or 0), tuple(digests[-_MAX_REFERENCE_BATCHES:]))


def read_distributions(
    stores: Stores, experiment: str, column: str, batch_digest: str, reference: Reference | None
) -> ColumnDistributions:
    """Return the distributions of a column; what has no profile is None."""
    return ColumnDistributions(
        batch=_merged_column(stores, experiment, column, (batch_digest,)),
        reference=_merged_column(stores, experiment, column, reference.digests) if reference else None,
        version=reference.version if reference else None,
    )


def _merged_column(stores: Stores, experiment: str, column: str, digests: Sequence[str]) -> ColumnProfile | None:
    from diurnal.data.profiles import merge_columns

    rows = stores.warehouse.profile_files_of(experiment, digests)
    found = [_read_column(stores.lake, column, row["path"], row["digest"]) for row in rows]
    present = [one for one in found if one is not None]
    same = [one for one in present if one.kind == present[-1].kind]
    return merge_columns(same, column) if same else None


@lru_cache(maxsize=4096)
def _read_column(lake: Lake, column: str, path: str, digest: str) -> ColumnProfile | None:
    """Return one column of a profile; files of the lake never change, so that the result is kept."""
    import pyarrow.compute as pc

    from diurnal.data.profiles import Profile

    try:
        table = lake.read(Package(path, digest, 0))
    except (NotFoundError, CorruptPackageError):
        return None
    found = Profile.from_table(table.filter(pc.equal(table["column"], column))).columns
    return found[0] if found else None


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _quantiles_of(side: ColumnProfile | None) -> dict[str, float]:
    from diurnal.data.distributions import find_quantiles

    if side is None or not len(side.values):
        return {}
    return dict(zip(_QUANTILES, find_quantiles(side.values, side.weights, [*_QUANTILES.values()]), strict=True))


def _category_rows(batch: ColumnProfile | None, reference: ColumnProfile | None) -> list[ValueRow]:
    one, other = _category_shares(batch), _category_shares(reference)
    largest = {name: max(one.get(name, 0.0), other.get(name, 0.0)) for name in {*one, *other}}
    names = sorted(largest, key=lambda name: (-largest[name], name))[:_MAX_CATEGORIES]
    sides = ((batch, one), (reference, other))
    return [
        ValueRow(name, *(_percent(found.get(name, 0.0)) if side else None for side, found in sides)) for name in names
    ]


def _category_shares(side: ColumnProfile | None) -> dict[str, float]:
    if side is None or not side.n_rows:
        return {}
    return {name: count / side.n_rows for name, count in zip(side.categories, side.counts, strict=True)}
