"""Errors of a step: each gets its location, and those of the operating system and of object stores are translated."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, SupersededError, TransientError

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext

_WRONG_LOCATION = (errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_STORE_LIBRARIES = ("aiobotocore", "botocore", "aiohttp", "gcsfs", "adlfs", "azure", "google")
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "ClientAuthenticationError",
)


@contextmanager
def error_context(context: RunContext, step: str) -> Iterator[None]:
    """Add the location to every error, and translate those of the environment. Nothing is stored."""
    location = f"{context.experiment.name} {context.interval} {step}"
    try:
        yield
    except DiurnalError as error:
        error.add_location(location)
        raise
    except MemoryError as error:
        raise TransientError(
            "this machine is out of memory",
            hint="add memory, or use smaller batches, a shorter window or a smaller search",
        ).add_location(location) from error
    except Exception as error:
        if is_environment_error(error):
            raise as_diurnal_error(error).add_location(location) from error
        raise


@contextmanager
def superseded_context(check: Callable[[], object]) -> Iterator[None]:
    """Replace the error of an attempt that was overtaken by the SupersededError that `check` raises.

    After an erasure or a removal, packages that it reads are missing.
    """
    try:
        yield
    except SupersededError:
        raise
    except Exception as error:
        try:
            check()
        except SupersededError as superseded:
            raise superseded from error
        except DiurnalError:  # the warehouse is away: the error is that of the step
            pass
        raise


def is_environment_error(error: BaseException) -> bool:
    """Return whether the operating system or the client library of an object store raised the error."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _STORE_LIBRARIES


def as_diurnal_error(error: BaseException) -> DiurnalError:
    """Translate an error of the environment.

    Examples
    --------
    >>> as_diurnal_error(OSError(errno.ENOSPC, "No space left on device", "data/x.parquet"))
    TransientError('No space left on device: data/x.parquet')
    """
    number = getattr(error, "errno", None)
    file = getattr(error, "filename", None)
    message = f"{getattr(error, 'strerror', None) or error}" + (f": {file}" if file else "")
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return PermissionDeniedError(
            message, hint="grant this user write access, or set another location in diurnal.toml"
        )
    if isinstance(error, FileNotFoundError) or number in _WRONG_LOCATION:
        return ConfigurationError(message, hint="set a writable location in diurnal.toml or by DIURNAL_LAKE")
    if number in _NO_SPACE:
        return TransientError(message, hint="free some space, then run it again; no partial result was kept")
    return TransientError(message, hint="run it again; no partial result was kept")
