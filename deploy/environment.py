"""Write .env with random secrets for `docker compose`, and create the folders that the containers write.

Existing variables do not change, so it can run again after an upgrade that needs another secret.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

FOLDERS = ("data", "models", "logs", "serving")
IMAGE_UID = 50000
HEAD = """\
# Written by `make compose-env`. It contains secrets: only its owner can read it, and git ignores it.
# Without it, the databases cannot be opened: keep a copy with your passwords.
"""


def secret() -> str:
    """Return 192 random bits as letters and digits that need no quoting in a URL."""
    return secrets.token_urlsafe(24).replace("-", "A").replace("_", "B")


def fernet_key() -> str:
    """Return a key in the format of the library `cryptography`, which need not be installed."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def values() -> dict[str, str]:
    """Return all variables of compose.yaml and its overlays that have no default."""
    uid = os.getuid()
    return {
        "PROJECT": "./examples/breast_cancer",
        "AIRFLOW_UID": str(uid or IMAGE_UID),
        "AIRFLOW_ADMIN_PASSWORD": secret(),
        "POSTGRES_PASSWORD": secret(),
        "AIRFLOW_DB_PASSWORD": secret(),
        "WAREHOUSE_PASSWORD": secret(),
        "REDIS_PASSWORD": secret(),
        "SPARK_SECRET": secret(),
        "FERNET_KEY": fernet_key(),
        "API_SECRET_KEY": secret(),
        "JWT_SECRET": secret() + secret(),
    }


def write(path: Path) -> list[str]:
    """Add the missing variables to the file, and return their names."""
    text = path.read_text() if path.exists() else HEAD
    there = {line.partition("=")[0] for line in text.splitlines()}
    new = {name: value for name, value in values().items() if name not in there}
    if new:
        lines = "".join(f"{name}={value}\n" for name, value in new.items())
        temporary = path.with_name(path.name + ".new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text if text.endswith("\n") else text + "\n")
            file.write(lines)
        temporary.replace(path)
    return list(new)


def main() -> None:
    """Write .env beside compose.yaml, and create the folders."""
    root = Path(__file__).resolve().parents[1]
    path = root / ".env"
    added = write(path)
    for name in FOLDERS:
        folder = root / name
        folder.mkdir(exist_ok=True)
        if os.getuid() == 0:  # the containers do not run as root
            os.chown(folder, IMAGE_UID, 0)
    print(f"wrote {', '.join(added)} to {path}" if added else f"{path} is complete")
    print("Next: docker compose up --wait; then http://localhost:8080, user admin, password in .env")


if __name__ == "__main__":
    sys.exit(main())
