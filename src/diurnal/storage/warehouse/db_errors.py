"""Translates the errors of the drivers to DiurnalErrors with a hint."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import adbc_driver_manager
import psycopg
import sqlalchemy.exc

from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, TransientError
from diurnal.storage.warehouse.url import WarehouseUrl

# Before a session exists, libpq reports no SQLSTATE but only the server's message.
_LOGIN_ERRORS = (
    ("28P01", r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist"),
    ("28P01", r"server requires (?!SSL)|authentication method|Ident|client certificate"),
    ("3D000", r"database .* does not exist"),
    ("42501", r"permission denied"),
    ("53300", r"too many (clients|connections)|remaining connection slots"),
    ("57P03", r"the database system is|not yet accepting|recovery"),
    ("28000", r"certificate verify failed|SSL .*required|does not support SSL|root certificate file"),
)
_BUSY = (TransientError, "the warehouse cannot process the query now, {address}: {message}", "try again later")
# By SQLSTATE, or by its class. Only a bug of diurnal can raise another one.
_MEANINGS: Mapping[str, tuple[type[DiurnalError], str, str]] = {
    "08": (
        TransientError,
        "the warehouse cannot be reached, {address}: {message}",
        "check that the server runs and can be reached from here, then try again",
    ),
    "25006": _BUSY,  # a standby that only reads, after a failover
    "25P03": _BUSY,
    "28": (
        ConfigurationError,
        "the warehouse rejects the login to {address}: {message}",
        "correct the user, the password or sslmode in DIURNAL_WAREHOUSE",
    ),
    "3D000": (
        ConfigurationError,
        "the server has no {address}: {message}",
        "create the database, or correct DIURNAL_WAREHOUSE",
    ),
    "40": _BUSY,
    "42501": (
        PermissionDeniedError,
        "the role does not have the privileges, {address}: {message}",
        "ask the owner of the database to grant them; the first use also needs CREATE on the schema public",
    ),
    "53": _BUSY,
    "54": (
        ConfigurationError,
        "the warehouse cannot store rows of this width: {message}",
        "drop columns in the source",
    ),
    "55P03": (
        TransientError,
        "another session has a lock in the warehouse, and waiting for it timed out{holder}",
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
def translate_db_errors(address: WarehouseUrl) -> Iterator[None]:
    """Raise errors of a driver as DiurnalErrors; an error that only a bug can cause is raised as it is."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, psycopg.Error, adbc_driver_manager.Error) as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig else error
        if (translated := _translate_error(cause, address)) is None:
            raise
        raise translated from cause
    except OSError as error:
        if isinstance(error, DiurnalError) or error.errno != errno.ENOSPC:
            raise
        raise TransientError(f"the disk is full, at {address}", hint="free some space, then try again") from error


def _translate_error(error: BaseException, address: WarehouseUrl) -> DiurnalError | None:
    message = address.redact(_server_message(error))
    state = getattr(error, "sqlstate", None) or _classify_message(message, error)
    meaning = _MEANINGS.get(state) or _MEANINGS.get(state[:2])
    if meaning is None:
        return None
    error_type, template, hint = meaning
    holder = _describe_lock_holder(address) if state == "55P03" else ""
    return error_type(template.format(address=address, message=message, holder=holder), hint=hint)


def _server_message(error: BaseException) -> str:
    """Return the server's message, without the statement and its parameters."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split()) or type(error).__name__


def _classify_message(message: str, error: BaseException) -> str:
    """Return the SQLSTATE that a message without one stands for."""
    if not isinstance(error, psycopg.OperationalError | adbc_driver_manager.OperationalError):
        lost = r"connection (is|was) (lost|closed)|server closed the connection|no connection to the server"
        return "08006" if re.search(lost, message) else "?????"
    return next((state for state, pattern in _LOGIN_ERRORS if re.search(pattern, message)), "08006")


def _describe_lock_holder(address: WarehouseUrl) -> str:
    """Describe the oldest open transaction, which may have the lock."""
    with suppress(psycopg.Error), psycopg.connect(address.conninfo(), autocommit=True) as connection:
        if row := connection.execute(_OLDEST_TRANSACTION).fetchone():
            return "; the oldest open transaction is that of pid {} ({}, {}) for {} s".format(*row)
    return ""
