"""The event of a champion that was promoted outside of Airflow, created over its REST API.

Airflow is that of the connection ``diurnal_airflow`` (``AIRFLOW_CONN_DIURNAL_AIRFLOW=https://user:password@host``),
else the local one of the project, if it runs. Airflow itself is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from diurnal.errors import ConfigurationError, DiurnalError, TransientError

if TYPE_CHECKING:
    from diurnal.airflow.local.rest_client import RestClient
    from diurnal.runtime import Settings
    from diurnal.storage.warehouse import Warehouse

CONNECTION = "diurnal_airflow"
_TIMEOUT = 3  # seconds for each response


def send_champion_event(
    settings: Settings, warehouse: Warehouse, experiment: str, get_timezone: Callable[[], str]
) -> str | None:
    """Create the event of the champion's asset, and withdraw questions that have no effect any more.

    Parameters
    ----------
    settings : Settings
        The project's.
    warehouse : Warehouse
        The warehouse of the champion.
    experiment : str
        The name of the experiment.
    get_timezone : callable
        Returns the experiment's timezone; called only if an Airflow is configured.

    Returns
    -------
    str or None
        A warning, if Airflow is not reachable or rejects the event. Nothing is raised: the promotion stands.
    """
    try:
        client = _configured_client(settings)
        if client is not None:
            _create_event(client, warehouse, experiment, get_timezone())
            _clear_open_questions(client, f"{experiment}.approval")
    except (DiurnalError, OSError, LookupError, TypeError, ValueError) as error:
        message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        return (
            f"Airflow has no event of the new champion: {message}; the next run of the Dag {experiment} creates the "
            "event"
        )
    return None


def _configured_client(settings: Settings) -> RestClient | None:
    """Return a client of the Airflow that is configured; None if there is none."""
    from diurnal.airflow.local.home import USER, AirflowHome
    from diurnal.airflow.local.launcher_lock import read_state
    from diurnal.airflow.local.rest_client import RestClient

    connections = settings.connections()
    if CONNECTION in connections:
        return RestClient(*_parse_airflow_uri(connections[CONNECTION]), timeout=_TIMEOUT)
    home = AirflowHome(settings)
    if not home.exists or (state := read_state(home)) is None:
        return None
    return RestClient(state.address, USER, home.password(), timeout=_TIMEOUT)


def _parse_airflow_uri(uri: str) -> tuple[str, str, str]:
    """Return the URL, the user and the password of a connection; ``http://host/https`` means TLS, as in Airflow.

    Examples
    --------
    >>> _parse_airflow_uri("https://ada:p%40ss@airflow.example/base")
    ('https://airflow.example/base', 'ada', 'p@ss')
    >>> _parse_airflow_uri("http://:token@airflow.example:443/https")
    ('https://airflow.example:443', '', 'token')
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"the connection {CONNECTION!r} is not the URL of an Airflow",
            hint="write it as https://user:password@airflow.example",
        )
    path = parts.path.rstrip("/")
    scheme, path = (path[1:], "") if path in ("/http", "/https") else (parts.scheme, path)
    host = parts.netloc.rpartition("@")[2]
    return f"{scheme}://{host}{path}", unquote(parts.username or ""), unquote(parts.password or "")


def _create_event(client: RestClient, warehouse: Warehouse, experiment: str, timezone: str) -> None:
    """Create the event, unless no Dag of that Airflow uses the asset, or its newest event is about the champion."""
    from diurnal.airflow.assets import champion_event_extra

    name, newest = f"{experiment}.champion", warehouse.newest_promotion(experiment)
    response = _require_success(client.get("assets", name_pattern=name, limit=100))
    ids = [asset["id"] for asset in response["assets"] if asset["name"] == name]
    if ids and newest is not None and newest["version"] != _fetch_event_version(client, ids[0]):
        extra = champion_event_extra(newest, timezone)
        _require_success(client.post("assets", "events", body={"asset_id": ids[0], "extra": extra}))


def _fetch_event_version(client: RestClient, asset_id: int) -> Any:
    """Return the version in the newest event of the champion; None if there is no event."""
    response = _require_success(client.get("assets", "events", asset_id=asset_id, order_by="-timestamp", limit=1))
    events = response["asset_events"]
    return events[0]["extra"].get("version") if events else None


def _clear_open_questions(client: RestClient, dag_id: str) -> None:
    """Clear the runs of open questions, so that each is asked again only if its answer still has an effect."""
    status, response = client.get("dags", dag_id, "dagRuns", "~", "hitlDetails", response_received="false", limit=100)
    for question in response["hitl_details"] if status == 200 else ():
        task = question["task_instance"]
        if task["state"] == "awaiting_input":
            path = ("dags", dag_id, "dagRuns", task["dag_run_id"], "clear")
            _require_success(client.post(*path, body={"dry_run": False, "only_failed": False}))


def _require_success(response: tuple[int, Any]) -> Any:
    """Return the content of a response of the REST API; raise an error if its status is not a success."""
    status, content = response
    if status not in (200, 201):
        detail = content.get("detail") if isinstance(content, dict) else content
        raise TransientError(f"Airflow answers with status {status}: {detail}")
    return content
