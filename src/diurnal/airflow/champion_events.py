"""Announcing a champion in Airflow that was promoted outside of it, over its REST API.

Airflow is the one of the connection ``diurnal_airflow`` (``AIRFLOW_CONN_DIURNAL_AIRFLOW=https://user:password@host``),
else the local one of the project, where it runs. Airflow itself is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from diurnal.errors import ConfigurationError, DiurnalError, TransientError

if TYPE_CHECKING:
    from diurnal.airflow.local.rest_client import Client
    from diurnal.runtime import Settings
    from diurnal.storage.warehouse import Warehouse

CONNECTION = "diurnal_airflow"
_PATIENCE = 3  # seconds for each answer


def announce(settings: Settings, warehouse: Warehouse, experiment: str, timezone: Callable[[], str]) -> str | None:
    """Create the event of the champion's asset, and withdraw questions that are without effect now.

    Parameters
    ----------
    settings : Settings
        The project's.
    warehouse : Warehouse
        Which knows the champion.
    experiment : str
        Its name.
    timezone : callable
        Gives the experiment's timezone; called only where an Airflow is configured.

    Returns
    -------
    str or None
        A warning, where Airflow was not reached or refused it. Nothing is raised: the promotion stands.
    """
    try:
        client = _configured(settings)
        if client is not None:
            _create_event(client, warehouse, experiment, timezone())
            _ask_anew(client, f"{experiment}.approval")
    except (DiurnalError, OSError, LookupError, TypeError, ValueError) as error:
        said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        return f"the champion is not announced in Airflow: {said}; the next run of the Dag {experiment} announces it"
    return None


def _configured(settings: Settings) -> Client | None:
    """Give a client of the Airflow that is configured; None where there is none."""
    from diurnal.airflow.local.home import USER, Home
    from diurnal.airflow.local.launcher_lock import find
    from diurnal.airflow.local.rest_client import Client

    connections = settings.connections()
    if CONNECTION in connections:
        return Client(*_address(connections[CONNECTION]), timeout=_PATIENCE)
    home = Home(settings)
    if not home.exists or (found := find(home)) is None:
        return None
    return Client(found.address, USER, home.password(), timeout=_PATIENCE)


def _address(uri: str) -> tuple[str, str, str]:
    """Give the URL, the user and the password of a connection; as in Airflow, ``http://host/https`` is one by TLS.

    Examples
    --------
    >>> _address("https://ada:p%40ss@airflow.example/base")
    ('https://airflow.example/base', 'ada', 'p@ss')
    >>> _address("http://:token@airflow.example:443/https")
    ('https://airflow.example:443', '', 'token')
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"the connection {CONNECTION!r} is no address of an Airflow",
            hint="write it as https://user:password@airflow.example",
        )
    path = parts.path.rstrip("/")
    scheme, path = (path[1:], "") if path in ("/http", "/https") else (parts.scheme, path)
    host = parts.netloc.rpartition("@")[2]
    return f"{scheme}://{host}{path}", unquote(parts.username or ""), unquote(parts.password or "")


def _create_event(client: Client, warehouse: Warehouse, experiment: str, timezone: str) -> None:
    """Create the event, unless no Dag of that Airflow knows the asset, or its newest event is about the champion."""
    from diurnal.airflow.assets import about_champion

    name, newest = f"{experiment}.champion", warehouse.newest_promotion(experiment)
    found = _asked(client.get("assets", name_pattern=name, limit=100))
    ids = [asset["id"] for asset in found["assets"] if asset["name"] == name]
    if ids and newest is not None and newest["version"] != _announced(client, ids[0]):
        _asked(client.post("assets", "events", body={"asset_id": ids[0], "extra": about_champion(newest, timezone)}))


def _announced(client: Client, asset: int) -> Any:
    """Give the version that the newest event of the champion is about; None if there is none."""
    events = _asked(client.get("assets", "events", asset_id=asset, order_by="-timestamp", limit=1))["asset_events"]
    return events[0]["extra"].get("version") if events else None


def _ask_anew(client: Client, dag_id: str) -> None:
    """Clear the runs of open questions: each is asked again only if its answer still has an effect."""
    status, found = client.get("dags", dag_id, "dagRuns", "~", "hitlDetails", response_received="false", limit=100)
    for question in found["hitl_details"] if status == 200 else ():
        task = question["task_instance"]
        if task["state"] == "awaiting_input":
            path = ("dags", dag_id, "dagRuns", task["dag_run_id"], "clear")
            _asked(client.post(*path, body={"dry_run": False, "only_failed": False}))


def _asked(answer: tuple[int, Any]) -> Any:
    status, content = answer
    if status not in (200, 201):
        detail = content.get("detail") if isinstance(content, dict) else content
        raise TransientError(f"it answers {status}: {detail}")
    return content
