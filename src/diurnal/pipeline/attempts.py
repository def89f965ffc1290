"""Attempts of steps: the warehouse stores why an attempt ended without a result.

An error is a row of `failures`, one for each attempt. A window with too few rows is not a failure: the reason is in the
row of the data interval in `heads`. An attempt that a newer one has taken over, or that a user has interrupted, leaves
nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError, NotEnoughDataError, SupersededError
from diurnal.pipeline.error_context import error_context
from diurnal.runtime.redaction import redact_secrets

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext

_MAX_SECONDS = 3.0  # for a row of failures; an error is not held back for longer by a warehouse that is away
_MAX_TEXT = 4_000
_MAX_PROBLEMS = 50
_log = logging.getLogger(__name__)


@contextmanager
def recorded_attempt(context: RunContext, step: str, *, timeout: type[BaseException] = TimeoutError) -> Iterator[None]:
    """Locate and translate the error of a step (:func:`error_context`), and store why the attempt has no result.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    step : str
        The name of the step.
    timeout : type
        The exception of an attempt that took too long, if it is not an ``Exception``: Airflow has its own.
    """
    try:
        with error_context(context, step):
            yield
    except SupersededError:
        raise
    except NotEnoughDataError as error:
        context.stores.warehouse.mark_insufficient(context.experiment.name, context.interval, error.message)
        raise
    except (Exception, timeout) as error:
        _store_failure(context, step, error)
        raise


def describe_failure(error: BaseException, redact: Callable[[str], str] = redact_secrets) -> dict[str, Any]:
    """Return an error as the table `failures` stores it: bounded, without secrets, and valid as JSON of PostgreSQL.

    Parameters
    ----------
    error : BaseException
        The error.
    redact : callable
        Removes secrets from a text.

    Returns
    -------
    dict
        As :meth:`~diurnal.errors.DiurnalError.to_dict` returns it.

    Examples
    --------
    >>> describe_failure(ValueError("the server http://me:secret@db is down"))["message"]
    'the server http://me:***@db is down'
    """
    if isinstance(error, DiurnalError):
        content = error.to_dict()
    else:
        content = {"type": type(error).__qualname__, "message": str(error), "hint": None, "location": None}
    content["problems"] = [_clean_texts(one, redact) for one in content.get("problems", ())[:_MAX_PROBLEMS]]
    return {**_clean_texts(content, redact), "problems": content["problems"]}


def _clean_texts(content: dict[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    return {name: _clean_text(value, redact) if isinstance(value, str) else value for name, value in content.items()}


def _clean_text(text: str, redact: Callable[[str], str]) -> str:
    """Return a text without secrets, of bounded length, and without characters that PostgreSQL's JSON does not have."""
    shown = redact(text).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]} ... ({len(shown) - _MAX_TEXT} more characters)"


def _store_failure(context: RunContext, step: str, error: BaseException) -> None:
    """Write the row of a failed attempt, if the warehouse accepts it soon."""
    warehouse = context.stores.warehouse

    def write() -> None:
        try:
            content = describe_failure(error, lambda text: redact_secrets(warehouse.address.redact(text)))
            quarantine = content.pop("quarantine", None)
            warehouse.add_failure(context.experiment.name, context.interval, step, content, quarantine=quarantine)
        except Exception as reason:  # noqa: BLE001 - the step's own error is the one to raise
            _log.info("the failure of %s %s is not stored: %s", context.experiment.name, step, reason)

    # In a thread, as no timeout of the driver limits the search for a host, or a connection that was lost while idle.
    writer = threading.Thread(target=write, name="diurnal-failure", daemon=True)
    writer.start()
    writer.join(_MAX_SECONDS)
