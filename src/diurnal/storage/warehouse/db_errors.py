"""What the drivers raise, in our words: who can do something about it, and what."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import adbc_driver_manager
import psycopg
import sqlalchemy.exc

from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, TransientError
from diurnal.storage.warehouse.url import Address

# Before a session exists, libpq gives no SQLSTATE but the server's sentence only.
_REFUSALS = (
    ("28P01", r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist"),
    ("28P01", r"server requires (?!SSL)|authentication method|Ident|client certificate"),
    ("3D000", r"database .* does not exist"),
    ("42501", r"permission denied"),
    ("53300", r"too many (clients|connections)|remaining connection slots"),
    ("57P03", r"the database system is|not yet accepting|recovery"),
    ("28000", r"certificate verify failed|SSL .*required|does not support SSL|root certificate file"),
)
_BUSY = (TransientError, "the warehouse cannot do it now, {address}: {said}", "try again later")
# By SQLSTATE, or by its class; what is missing here only a bug of ours can raise.
_MEANINGS: Mapping[str, tuple[type[DiurnalError], str, str]] = {
    "08": (
        TransientError,
        "the warehouse cannot be reached, {address}: {said}",
        "see that the server runs and can be reached from here, then try again",
    ),
    "25006": _BUSY,  # a standby that only reads, after a failover
    "25P03": _BUSY,
    "28": (
        ConfigurationError,
        "the warehouse refuses the login to {address}: {said}",
        "correct the user, the password or sslmode in DIURNAL_WAREHOUSE",
    ),
    "3D000": (
        ConfigurationError,
        "the warehouse has no {address}: {said}",
        "create the database, or correct DIURNAL_WAREHOUSE",
    ),
    "40": _BUSY,
    "42501": (
        PermissionDeniedError,
        "the warehouse does not allow it, {address}: {said}",
        "let the owner of the database grant it; the first use also needs CREATE on the schema public",
    ),
    "53": _BUSY,
    "54": (ConfigurationError, "the warehouse cannot hold rows this wide: {said}", "drop columns in the source"),
    "55P03": (
        TransientError,
        "another session holds a lock in the warehouse, and waiting for it took too long{holder}",
        "end that transaction if it hangs, then try again",
    ),
    "57": _BUSY,
    "58": _BUSY,
}
_OLDEST_TRANSACTION = """
SELECT pid, coalesce(nullif(application_name, ''), 'unnamed'), state,
       extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
  AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 1
"""


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn an error of a driver into one of ours; one that only a bug of ours can raise stays as it is."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, psycopg.Error, adbc_driver_manager.Error) as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig else error
        if (ours := _translation(cause, address)) is None:
            raise
        raise ours from cause
    except OSError as error:
        if isinstance(error, DiurnalError) or error.errno != errno.ENOSPC:
            raise
        raise TransientError(f"the disk is full, at {address}", hint="make room, then try again") from error


def _translation(error: BaseException, address: Address) -> DiurnalError | None:
    said = address.hidden(_said(error))
    state = getattr(error, "sqlstate", None) or _guessed(said, error)
    found = _MEANINGS.get(state) or _MEANINGS.get(state[:2])
    if found is None:
        return None
    kind, sentence, hint = found
    holder = _holder(address) if state == "55P03" else ""
    return kind(sentence.format(address=address, said=said, holder=holder), hint=hint)


def _said(error: BaseException) -> str:
    """The server's own sentence, without the statement and its parameters."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split()) or type(error).__name__


def _guessed(said: str, error: BaseException) -> str:
    if not isinstance(error, psycopg.OperationalError | adbc_driver_manager.OperationalError):
        lost = r"connection (is|was) (lost|closed)|server closed the connection|no connection to the server"
        return "08006" if re.search(lost, said) else "?????"
    return next((state for state, pattern in _REFUSALS if re.search(pattern, said)), "08006")


def _holder(address: Address) -> str:
    """Who may hold the lock that was waited for: the oldest transaction that is still open."""
    with suppress(psycopg.Error), psycopg.connect(address.conninfo(), autocommit=True) as connection:
        if row := connection.execute(_OLDEST_TRANSACTION).fetchone():
            return "; the oldest open transaction is that of pid {} ({}, {}) for {} s".format(*row)
    return ""
