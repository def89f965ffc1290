"""The files of an embedded cluster: where they are, which account owns them, and how a new cluster is created."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from diurnal.errors import ConfigurationError, TransientError
from diurnal.runtime.postgres.os_user import (
    MAJOR,
    OWN_SERVER_HINT,
    SYSTEM_FOLDER,
    Account,
    can_run,
    choose_account,
    find_programs,
    make_traversable,
    run_program,
)

_SHORT_FOLDER = Path("/tmp")  # noqa: S108 - every process must find the same folder, whatever its TMPDIR


class ClusterFiles:
    """The folder of an embedded server, which only the account of the server can open.

    Parameters
    ----------
    folder : Path
        The requested folder of the data. It is created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.requested = folder.absolute()

    @cached_property
    def folder(self) -> Path:
        """The folder of the data: the requested one, or for root a system folder if the account cannot reach that one.

        Once a cluster exists, its location is fixed: a chmod of some parent folder must not start an empty warehouse
        elsewhere.
        """
        folder = self.requested
        if re.search(r"[\"$`\\\n]", str(folder)):  # pg_ctl passes the path to a shell
            raise ConfigurationError(
                f"the embedded warehouse cannot be in {folder}: its path contains a quote, $ or a backslash",
                hint="move the project, or set DIURNAL_LAKE to another folder",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        if self._account and self._uses_fallback(self._account):
            make_traversable(self._fallback.parent)
            # The name of the fallback folder is a digest; this file names the project that it belongs to.
            (self._fallback.parent / "project").write_bytes(os.fsencode(folder) + b"\n")
            folder = self._fallback
        return self._make_private(folder)

    @cached_property
    def sockets(self) -> Path:
        """The folder of the socket: that of the data, unless its path is too long or unusual for a socket's address."""
        if len(os.fsencode(self.folder)) <= 85 and re.fullmatch(r"[A-Za-z0-9_./+-]+", str(self.folder)):
            return self.folder
        return self._make_private(_SHORT_FOLDER / f"diurnal-{self._owner_id}-{_digest_path(self.folder)}")

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "cluster"

    @property
    def log(self) -> Path:
        """The log of the server."""
        return self.folder / "server.log"

    @property
    def is_created(self) -> bool:
        """Whether a cluster exists; this property creates no folder."""
        return any((folder / "cluster").exists() for folder in (self.requested, self._fallback))

    def open_file(self, name: str) -> BinaryIO:
        """Open a file of the folder for reading and writing; create it for the account if it does not exist."""
        descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._set_owner(descriptor)
        return os.fdopen(descriptor, "r+b")

    def create_cluster(self) -> None:
        """Create the cluster and its database in a temporary folder, then rename it.

        A process that is killed in between leaves only a temporary folder, which the next call deletes.
        """
        for leftover in self.folder.glob("new-*"):
            shutil.rmtree(leftover)
        if self.cluster.exists():
            self._check_version()
            return
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        self._set_owner(new)
        options = ["--auth=trust", "--encoding=UTF8", "--no-instructions", "-U", "diurnal", "-D", str(new)]
        settings = ["-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "listen_addresses="]
        try:
            self.run("initdb", *options, *settings, "--locale=C.UTF-8")
        except ConfigurationError as error:
            if "locale" not in error.message:
                raise
            self.run("initdb", *options, *settings, "--locale=C")
        self.run("postgres", "--single", "-j", "-D", str(new), "postgres", text="CREATE DATABASE warehouse;\n\n")
        new.rename(self.cluster)

    def run(self, program: str, *arguments: str, text: str = "", keep_open: Sequence[int] = ()) -> None:
        """Run a program of PostgreSQL as the account. Its output goes to files, as a daemon would keep a pipe open.

        Parameters
        ----------
        program : str
            ``initdb``, ``pg_ctl`` or ``postgres``.
        *arguments : str
            Its arguments.
        text : str
            Its standard input.
        keep_open : sequence of int
            File descriptors that it inherits.

        Raises
        ------
        TransientError
            If the disk is full.
        ConfigurationError
            If the program fails; the message has the last lines of its output and of the log.
        """
        size_before = self.log.stat().st_size if self.log.exists() else 0
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
            stdin.write(text.encode())
            stdin.seek(0)
            command = [str(self._programs / program), *arguments]
            status = run_program(self._account, *command, stdin=stdin, output=stdout, keep_open=keep_open)
            stdout.seek(0)
            output = stdout.read().decode(errors="replace")
        if status == 0:
            return
        if self.log.exists():
            with self.log.open("rb") as lines:
                lines.seek(size_before)
                output += lines.read().decode(errors="replace")
        last_lines = "\n".join(output.strip().splitlines()[-8:])
        if os.strerror(errno.ENOSPC) in output:
            raise TransientError(
                f"the disk of {self.folder} is full:\n{last_lines}", hint="free some space, then retry"
            )
        raise ConfigurationError(f"the embedded PostgreSQL fails ({program}):\n{last_lines}", hint=OWN_SERVER_HINT)

    def _check_version(self) -> None:
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise ConfigurationError(
                f"the warehouse in {self.folder} was created by PostgreSQL {version}; the installed version is {MAJOR}",
                hint="dump it with the old version and restore it in the new one",
            )

    @cached_property
    def _account(self) -> Account | None:
        return choose_account(self.requested)

    @cached_property
    def _programs(self) -> Path:
        return find_programs(self._account)

    @property
    def _owner_id(self) -> int:
        return self._account.pw_uid if self._account else os.geteuid()

    @property
    def _fallback(self) -> Path:
        return SYSTEM_FOLDER / _digest_path(self.requested) / self.requested.name

    def _uses_fallback(self, account: Account) -> bool:
        """Return whether the data of root are, or will be, in the system folder."""
        here, there = ((folder / "cluster").exists() for folder in (self.requested, self._fallback))
        if here and there:
            raise ConfigurationError(
                f"there are two warehouses of this project, in {self.requested} and in {self._fallback}",
                hint="find out which is the right one, and move the other one away",
            )
        reachable = can_run(account, "/bin/sh", "-c", 'cd "$1"', "sh", str(self.requested.parent))
        if here and not reachable:
            raise ConfigurationError(
                f"the account {account.pw_name!r}, which runs the server, can no longer reach {self.requested}",
                hint="let it pass through the folders above (chmod o+x)",
            )
        return there or not reachable

    def _make_private(self, folder: Path) -> Path:
        """Create a folder that only the account can open, or check that an existing one belongs to it."""
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if self._account and folder.lstat().st_uid == 0:
            self._set_owner(folder)
        status = folder.stat(follow_symlinks=folder == self.requested)
        if status.st_uid != self._owner_id:
            raise PermissionError(errno.EACCES, "it belongs to another user", str(folder))
        if status.st_mode & 0o077:
            folder.chmod(0o700)
        return folder

    def _set_owner(self, path: Path | int) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)


def _digest_path(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
