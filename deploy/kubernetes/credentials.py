"""Print the Secrets that values.yaml and pod-template.yaml name, for `kubectl create --filename -`.

Secrets of Airflow are generated randomly. Your own secrets come from the environment, so that no secret is an argument.
`kubectl create` does not change existing Secrets, so running it again loses no key.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environment import fernet_key, secret

YOURS = {
    "METASTORE_URL": "postgresql://airflow:...@host:5432/airflow?sslmode=verify-full, Airflow's own database",
    "WAREHOUSE_URL": "postgresql://diurnal:...@host:5432/warehouse?sslmode=verify-full, the results",
    "AWS_ACCESS_KEY_ID": "the access key of the object store",
    "AWS_SECRET_ACCESS_KEY": "the secret of that key",
}
SCHEME = "postgresql://"


def contents(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return keys and values of each Secret, by its name."""
    missing = [f"  {name}: {meaning}" for name, meaning in YOURS.items() if not environment.get(name)]
    if missing:
        raise SystemExit("\n".join(["set these first (read -rs NAME; export NAME):", *missing]))
    for name in ("METASTORE_URL", "WAREHOUSE_URL"):
        if not environment[name].startswith(SCHEME):
            raise SystemExit(f"{name} must start with {SCHEME} (not shown, because it contains a password)")
    where = environment["METASTORE_URL"].removeprefix(SCHEME)
    store = {name: environment[name] for name in YOURS if name.startswith("AWS_")}
    if environment.get("AWS_ENDPOINT_URL"):  # for another store than Amazon's
        store["AWS_ENDPOINT_URL"] = environment["AWS_ENDPOINT_URL"]
    return {
        # With postgresql:// alone, the driver depends on SQLAlchemy's version; the second driver is for asyncio.
        "diurnal-metastore": {
            "connection": f"postgresql+psycopg2://{where}",
            "connection-async": f"postgresql+psycopg://{where}",
        },
        "diurnal-warehouse": {"connection": environment["WAREHOUSE_URL"]},
        "diurnal-object-store": store,
        "diurnal-fernet": {"fernet-key": fernet_key()},
        "diurnal-api": {"api-secret-key": secret()},
        "diurnal-jwt": {"jwt-secret": secret() + secret()},
        "diurnal-admin": {"password": secret()},
    }


def manifest(name: str, values: dict[str, str]) -> dict[str, object]:
    """Return the manifest of a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": values}


if __name__ == "__main__":
    items = [manifest(name, values) for name, values in contents(os.environ).items()]
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
