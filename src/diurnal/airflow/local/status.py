"""The status of a local Airflow, and how to sign in."""

from __future__ import annotations

from typing import Any

from diurnal.airflow.local import ended_processes
from diurnal.airflow.local.home import USER, AirflowHome
from diurnal.airflow.local.launcher_lock import read_state
from diurnal.airflow.local.rest_client import RestClient
from diurnal.airflow.local.server_address import ServerAddress


def sign_in_lines(home: AirflowHome, address: ServerAddress) -> list[str]:
    """Return lines with the URL of the UI, how to sign in, and how to stop it."""
    return [
        f"          URL       {address.url}",
        f"          user      {USER}",
        f"          password  in {home.passwords} (only its owner can read it)",
        "          stop      diurnal airflow down, or Ctrl-C where it was started",
    ]


def describe_status(home: AirflowHome) -> dict[str, Any]:
    """Return the state of launcher and components, and how to sign in.

    Returns
    -------
    dict
        Short if it does not run; never the password, only its file. ``unexpected_ends`` lists the components that
        ended unexpectedly since the last start, with time, reason and action.
    """
    state = read_state(home)
    ended = ended_processes.read_ended(home)
    unexpected_ends = {"unexpected_ends": ended} if ended else {}
    if state is None:
        return {"running": False, "home": str(home.folder), **unexpected_ends}
    health = RestClient(state.address).health()
    return {
        "running": True,
        "since": state.since,
        "healthy": bool(health) and all(component == "healthy" for component in health.values()),
        "address": state.address.url,
        "user": USER,
        "password_file": str(home.passwords),
        "home": str(home.folder),
        "logs": str(home.logs),
        "launcher": state.pid,
        "components": state.components,
        "health": health,
        **unexpected_ends,
    }
