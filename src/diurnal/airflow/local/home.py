"""The folder of a local Airflow (``AIRFLOW_HOME``), and the secrets in it."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from diurnal.errors import ConfigurationError
from diurnal.runtime import Settings
from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.stores import embedded_server

USER = "admin"


@dataclass(frozen=True)
class AirflowHome:
    """The files of a project's local Airflow.

    The folder is beside the data of the embedded PostgreSQL, as neither the metastore there nor the keys here are of
    use without the other.

    Parameters
    ----------
    settings : Settings
        Those of the project. If its warehouse is not the embedded one, an embedded server runs for Airflow alone.
    """

    settings: Settings

    @cached_property
    def server(self) -> EmbeddedServer:
        """The PostgreSQL of the metastore."""
        return cast("EmbeddedServer", embedded_server(replace(self.settings, warehouse="embedded")))

    @property
    def exists(self) -> bool:
        """Whether it was ever started; no folder is created."""
        return self.server.is_created and (self.server.folder.parent / "airflow" / "running.json").exists()

    @cached_property
    def folder(self) -> Path:
        """``AIRFLOW_HOME``; only its owner has access."""
        folder = self.server.folder.parent / "airflow"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def dags(self) -> Path:
        """The folder of Dag files."""
        return self.settings.project / "dags"

    @cached_property
    def logs(self) -> Path:
        """One file for each component, and Airflow's own folders for tasks."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        return logs

    @property
    def configuration(self) -> Path:
        """``airflow.cfg``; written at each start."""
        return self.folder / "airflow.cfg"

    @property
    def passwords(self) -> Path:
        """The password file of SimpleAuthManager: JSON, from user to password."""
        return self.folder / "password.json"

    def password(self) -> str:
        """Return the password of the UI, which is generated once."""
        return _load_or_create(self.passwords, lambda: {USER: secrets.token_urlsafe(18)})[USER]

    def keys(self) -> dict[str, str]:
        """Return the keys of all components, generated once: ``fernet_key``, ``jwt_secret`` and ``secret_key``."""
        return _load_or_create(
            self.folder / "keys.json",
            lambda: {
                "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "jwt_secret": secrets.token_urlsafe(48),
                "secret_key": secrets.token_urlsafe(48),
            },
        )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _load_or_create(path: Path, create: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Read a file of secrets, or create it; its content is never part of a message."""
    try:
        secrets_by_name = json.loads(path.read_text(encoding="utf-8"))
        path.chmod(0o600)
    except FileNotFoundError:
        secrets_by_name = create()
        write_private(path, json.dumps(secrets_by_name) + "\n")
    except ValueError:
        secrets_by_name = None
    if not isinstance(secrets_by_name, dict) or not all(secrets_by_name.get(name) for name in create()):
        raise ConfigurationError(f"{path} is not a valid file of secrets", hint="delete it: it is created again")
    return secrets_by_name
