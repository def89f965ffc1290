"""Save what the containers keep, and bring it back: `python deploy/backup.py save FOLDER`, `... restore FOLDER`.

The databases are dumped first and the files copied after: a row names a file only once that file is there, and no file
that a row names is ever changed, so that what was dumped is whole without stopping anything. Files are named by their
digest, so that a second backup into the same folder copies new ones only. Secrets (.env) are not part of it.
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
DATABASES = {"warehouse": "diurnal", "airflow": "airflow"}  # and whose they are
FOLDERS = ("data", "models")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")


def compose(*words: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    """Call Docker Compose on the files that COMPOSE_FILE names, or compose.yaml."""
    return subprocess.run(["docker", "compose", *words], cwd=ROOT, check=True, **streams)


def in_postgres(words: list[str], **streams: Any) -> None:
    """Run a program of PostgreSQL in its container."""
    compose("exec", "-T", "postgres", *words, **streams)


def save(folder: Path) -> None:
    """Dump both databases, then copy what the lake and the models have that the folder has not."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for database, role in DATABASES.items():
        target = folder / f"{database}.dump"
        with _whole(target) as file:
            in_postgres(["pg_dump", "-U", role, "-Fc", database], stdout=file)
        print(f"{target}: {target.stat().st_size} bytes")
    for name in FOLDERS:
        print(f"{folder / name}: {copy_new(ROOT / name, folder / name)} files are new")


def restore(folder: Path) -> None:
    """Bring the files back first, then the databases, each in one transaction; what they hold now is replaced."""
    missing = [name for name in (*(f"{d}.dump" for d in DATABASES), *FOLDERS) if not (folder / name).exists()]
    if missing:
        sys.exit(f"{folder} is no backup: it lacks {', '.join(missing)}")
    for name in FOLDERS:
        print(f"{ROOT / name}: {copy_new(folder / name, ROOT / name)} files are back")
    for database, role in DATABASES.items():
        with (folder / f"{database}.dump").open("rb") as file:
            words = ["pg_restore", "-U", role, "-d", database, "--clean", "--if-exists", "--no-owner", "-1"]
            in_postgres(words, stdin=file)
        print(f"{database} is back")
    print("Next: docker compose up --wait, then docker compose exec scheduler diurnal verify")


def copy_new(source: Path, target: Path) -> int:
    """Copy each file that the target lacks, whole or not at all; gives how many."""
    owner = (ROOT / "data").stat() if target.is_relative_to(ROOT) else None
    n_new = 0
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if ".tmp" in path.parts or not path.is_file() or _is_same(path, place):
            continue
        _make_folders(place.parent, owner)
        temporary = place.with_name(f".{place.name}.new")
        shutil.copy2(path, temporary)
        _give(temporary, owner)
        temporary.replace(place)
        n_new += 1
    return n_new


def _is_same(path: Path, place: Path) -> bool:
    return place.is_file() and place.stat().st_size == path.stat().st_size


def _make_folders(folder: Path, owner: os.stat_result | None) -> None:
    if not folder.exists():
        _make_folders(folder.parent, owner)
        folder.mkdir()
        _give(folder, owner)


def _give(path: Path, owner: os.stat_result | None) -> None:
    """Give what root brings back to the containers' user."""
    if owner is not None and os.getuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """Write a file beside its place, and move it there when it is complete."""
    temporary = target.with_name(f".{target.name}.new")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """Parse, and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deed", choices=["save", "restore"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        if given.deed == "restore":
            # nobody may write, or read half of it, while it comes back
            if users := [name for name in running() if name in AIRFLOW]:
                compose("stop", *users)
            restore(given.folder.resolve())
        else:
            save(given.folder.resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)} ended with {error.returncode}: is the system up? docker compose up --wait")


def running() -> list[str]:
    """Give the names of the services that run."""
    return compose("ps", "--services", stdout=subprocess.PIPE).stdout.decode().split()


if __name__ == "__main__":
    main()
