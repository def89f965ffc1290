"""Whose copy an entity in MLflow is: two warehouses, or a person, may use the same name."""

from __future__ import annotations

from collections.abc import Mapping

from diurnal.errors import ConfigurationError
from diurnal.mlflow import run_fields
from diurnal.mlflow.tracking_server import TrackingServer


def require_owner(server: TrackingServer, entity: str, tags: Mapping[str, str], warehouse: str) -> None:
    """Reject an entity that is not a copy of this warehouse's results.

    Parameters
    ----------
    server : TrackingServer
        The server.
    entity : str
        Kind and name of the entity, for the message.
    tags : Mapping of str to str
        Its tags.
    warehouse : str
        The id of the warehouse.

    Raises
    ------
    ConfigurationError
        If the tags do not name the warehouse.
    """
    owner = tags.get(run_fields.WAREHOUSE)
    if owner != warehouse:
        whose = "another warehouse" if owner else "a user of MLflow"
        raise ConfigurationError(
            f"MLflow at {server.url} has {entity} that belongs to {whose}; it is not changed",
            hint="use another MLflow server or workspace, or rename that one in MLflow",
        )
