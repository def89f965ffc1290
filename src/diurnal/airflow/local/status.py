"""What is to be said of a local Airflow."""

from __future__ import annotations

from typing import Any

from diurnal.airflow.local import ended_processes
from diurnal.airflow.local.home import USER, Home
from diurnal.airflow.local.launcher_lock import find
from diurnal.airflow.local.rest_client import Client
from diurnal.airflow.local.server_address import Address


def sign_in(home: Home, address: Address) -> list[str]:
    """Say where the UI is, how to sign in, and how to end it."""
    return [
        f"          page      {address.url}",
        f"          user      {USER}",
        f"          password  in {home.passwords} (only its owner can read it)",
        "          end it    diurnal airflow down, or Ctrl-C where it was started",
    ]


def describe(home: Home) -> dict[str, Any]:
    """Say what runs, since when, how it is, and how to sign in.

    Returns
    -------
    dict
        Little where it does not run; never the password, only the file that holds it. ``ended by themselves`` has
        the components that ended since the last start, with time, reason and what was done.
    """
    found = find(home)
    components = ended_processes.read(home)
    by_themselves = {"ended by themselves": components} if components else {}
    if found is None:
        return {"running": False, "home": str(home.folder), **by_themselves}
    health = Client(found.address).health()
    return {
        "running": True,
        "since": found.since,
        "healthy": bool(health) and all(state == "healthy" for state in health.values()),
        "address": found.address.url,
        "user": USER,
        "password file": str(home.passwords),
        "home": str(home.folder),
        "logs": str(home.logs),
        "launcher": found.pid,
        "components": found.components,
        "health": health,
        **by_themselves,
    }
