"""Print the Secrets that values.yaml and pod-template.yaml name, for `kubectl create --filename -`.

What only Airflow needs to know is drawn afresh; what is yours comes by the environment, so that no secret is ever an
argument. `kubectl create` leaves alone what is there, so that running it again loses no key.
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
    "AWS_ACCESS_KEY_ID": "who writes to the object store",
    "AWS_SECRET_ACCESS_KEY": "and its secret",
}
SCHEME = "postgresql://"


def contents(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Give keys and values of each Secret, by its name."""
    missing = [f"  {name}: {meaning}" for name, meaning in YOURS.items() if not environment.get(name)]
    if missing:
        raise SystemExit("\n".join(["set these first (read -rs NAME; export NAME):", *missing]))
    for name in ("METASTORE_URL", "WAREHOUSE_URL"):
        if not environment[name].startswith(SCHEME):
            raise SystemExit(f"{name} must start with {SCHEME} (it is not shown: it holds a password)")
    where = environment["METASTORE_URL"].removeprefix(SCHEME)
    store = {name: environment[name] for name in YOURS if name.startswith("AWS_")}
    if environment.get("AWS_ENDPOINT_URL"):  # for a store that is not Amazon's
        store["AWS_ENDPOINT_URL"] = environment["AWS_ENDPOINT_URL"]
    return {
        # A bare postgresql:// would leave the driver to SQLAlchemy's version; the other driver is for asyncio.
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
    """Give a Secret as Kubernetes wants it."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": values}


if __name__ == "__main__":
    items = [manifest(name, values) for name, values in contents(os.environ).items()]
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
