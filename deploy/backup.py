"""Back up and restore the data of the containers: `python deploy/backup.py save FOLDER`, `... restore FOLDER`.

The databases are dumped before the files are copied: a row names a file only once that file exists, and a file that a
row names never changes, so the backup is consistent without downtime. Files are named by their digest, so a second
backup into the same folder copies new ones only. Secrets (.env) are not included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
DATABASES = {"warehouse": "diurnal", "airflow": "airflow"}  # and their owners
FOLDERS = ("data", "models")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")


def compose(*args: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    """Call Docker Compose on the files that COMPOSE_FILE names, or compose.yaml."""
    return subprocess.run(["docker", "compose", *args], cwd=ROOT, check=True, **streams)


def in_postgres(args: list[str], **streams: Any) -> None:
    """Run a program of PostgreSQL in its container."""
    compose("exec", "-T", "postgres", *args, **streams)


def save(folder: Path) -> None:
    """Dump both databases, then copy the files of the lake and the models that the folder does not have."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for database, role in DATABASES.items():
        target = folder / f"{database}.dump"
        with _atomic_file(target) as file:
            in_postgres(["pg_dump", "-U", role, "-Fc", database], stdout=file)
        print(f"{target}: {target.stat().st_size} bytes")
    for name in FOLDERS:
        print(f"{folder / name}: {copy_new(ROOT / name, folder / name)} new files")


def restore(folder: Path) -> None:
    """Restore the files, then the databases, each in one transaction; their present content is replaced."""
    missing = [name for name in (*(f"{d}.dump" for d in DATABASES), *FOLDERS) if not (folder / name).exists()]
    if missing:
        sys.exit(f"{folder} is not a backup; missing: {', '.join(missing)}")
    for name in FOLDERS:
        print(f"{ROOT / name}: {copy_new(folder / name, ROOT / name)} files restored")
    for database, role in DATABASES.items():
        with (folder / f"{database}.dump").open("rb") as file:
            args = ["pg_restore", "-U", role, "-d", database, "--clean", "--if-exists", "--no-owner", "-1"]
            in_postgres(args, stdin=file)
        print(f"{database} restored")
    print("Next: docker compose up --wait, then docker compose exec scheduler diurnal verify")


def copy_new(source: Path, target: Path) -> int:
    """Copy each file that the target does not have, atomically; return their number."""
    owner = (ROOT / "data").stat() if target.is_relative_to(ROOT) else None
    n_new = 0
    for path in sorted(source.rglob("*")):
        destination = target / path.relative_to(source)
        if ".tmp" in path.parts or not path.is_file() or _is_same(path, destination):
            continue
        _make_folders(destination.parent, owner)
        temporary = destination.with_name(f".{destination.name}.new")
        shutil.copy2(path, temporary)
        _set_owner(temporary, owner)
        temporary.replace(destination)
        n_new += 1
    return n_new


def _is_same(path: Path, destination: Path) -> bool:
    return destination.is_file() and destination.stat().st_size == path.stat().st_size


def _make_folders(folder: Path, owner: os.stat_result | None) -> None:
    if not folder.exists():
        _make_folders(folder.parent, owner)
        folder.mkdir()
        _set_owner(folder, owner)


def _set_owner(path: Path, owner: os.stat_result | None) -> None:
    """Make the containers' user the owner of a file that root restores."""
    if owner is not None and os.getuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def _atomic_file(target: Path) -> Iterator[IO[bytes]]:
    """Write a temporary file, and move it to its place when it is complete."""
    temporary = target.with_name(f".{target.name}.new")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """Parse the arguments and run the action."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["save", "restore"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        if options.action == "restore":
            # no component may read or write during the restore
            if users := [name for name in running() if name in AIRFLOW]:
                compose("stop", *users)
            restore(options.folder.resolve())
        else:
            save(options.folder.resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)} ended with {error.returncode}: is the system up? docker compose up --wait")


def running() -> list[str]:
    """Return the names of the running services."""
    return compose("ps", "--services", stdout=subprocess.PIPE).stdout.decode().split()


if __name__ == "__main__":
    main()
