"""The stores of a project, opened to read recorded results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.errors import NotFoundError, did_you_mean
from diurnal.storage.load_model import project_settings

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores


@contextmanager
def open_recorded_stores(project: str | Path | None) -> Iterator[Stores]:
    """Open the stores of a project, which must exist, and close the warehouse at the end.

    Parameters
    ----------
    project : str, Path or None
        The folder of the project, as for :func:`diurnal.load_model`.

    Raises
    ------
    ConfigurationError
        If no project is found.
    """
    from diurnal.storage.stores import open_stores

    stores = open_stores(project_settings(project), create=False)
    try:
        yield stores
    finally:
        stores.warehouse.close()


def recorded_name(stores: Stores, experiment: str) -> str:
    """Return the name of an experiment that has a batch in the warehouse.

    Raises
    ------
    NotFoundError
        If it has none; the message has the names of those that have.
    """
    existing = {row["experiment"] for row in stores.warehouse.packages()}
    if experiment not in existing:
        raise NotFoundError(
            f"the warehouse has no experiment {experiment!r}{did_you_mean(experiment, existing)}\n"
            f"there are: {', '.join(sorted(existing)) or 'none'}",
            hint=f"run it first: diurnal run {experiment}",
        )
    return experiment
