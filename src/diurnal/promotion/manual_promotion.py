"""Promotion by hand: the version that a rollback returns to, a check that a version loads, and the change itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diurnal.errors import NotFoundError
from diurnal.mlflow import mirror_quietly
from diurnal.storage.load_model import load_version, resolve_reference

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores
    from diurnal.storage.warehouse import Warehouse


def previous_champion(warehouse: Warehouse, experiment: str) -> int:
    """Return the champion before the present one.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    served: list[int] = []  # a stack: a rollback removes the versions after the one that it returned to
    for row in reversed(warehouse.promotions(experiment)):
        version = int(row["version"])
        if row["kind"] == "rollback" and version in served:
            del served[len(served) - served[::-1].index(version) - 1 :]
        served.append(version)
    if len(served) < 2:
        raise NotFoundError(
            f"{experiment} has no former champion to roll back to",
            hint=f"`diurnal models {experiment}` lists versions; `diurnal promote {experiment} VERSION` takes one",
        )
    return served[-2]


def check_version_loads(stores: Stores, experiment: str, version: int) -> None:
    """Load a version with all checks, before it becomes the champion."""
    row = resolve_reference(stores.warehouse, f"{experiment}@{version}")
    load_version(stores.models, row, stores.code)


def set_champion(
    stores: Stores, experiment: str, version: int, *, requested_by: str, reason: str, action: str = "promote"
) -> dict[str, Any]:
    """Make a version the champion, and move its aliases in MLflow, if there is one.

    Parameters, result and errors are those of :meth:`Warehouse.set_champion`.
    """
    row = stores.warehouse.set_champion(experiment, version, requested_by=requested_by, reason=reason, action=action)
    mirror_quietly(stores, experiment)
    return row
