"""Translation of the errors of Spark jobs into those of diurnal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from diurnal.errors import (
    BatchRejectedError,
    CorruptPackageError,
    DiurnalError,
    ExperimentError,
    Problem,
    TransientError,
)
from diurnal.runtime import spark

_TEMPORARY = re.compile(
    r"ExecutorLost|executor .{0,40}(lost|exited|failed)|SparkContext (was|has been) shut|stopped SparkContext"
    r"|FetchFailed|OutOfMemory|No space left|Connection (refused|reset)|master.{0,40}unresponsive"
    r"|Python worker exited|heartbeat"
    r"|Answer from Java side is empty|error while (sending or receiving|obtaining a new)|FILE_NOT_EXIST",
    re.IGNORECASE | re.DOTALL,
)
_DAMAGED = re.compile(r"CRC|checksum|is not a Parquet file|could not read page|FAILED_READ_FILE", re.IGNORECASE)


@contextmanager
def translate_job_errors(action: str, *, is_external: bool = False) -> Iterator[None]:
    """Translate errors of Spark: temporary failures can be retried, errors of the experiment cannot.

    Parameters
    ----------
    action : str
        The action, as in ``"the fit"``.
    is_external : bool
        Whether files outside the lake are read, so that a damaged one is an error of the batch and not of the lake.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with spark.ignore_pandas_warning():
            yield
    except (DiurnalError, MemoryError):
        raise
    except (Py4JError, PySparkException, OSError, ValueError, TypeError, AssertionError, ArithmeticError) as error:
        message = str(error)
        if isinstance(error, OSError) or _TEMPORARY.search(message):
            raise TransientError(
                f"{action} was interrupted, as Spark lost a resource: {_main_line(message)}",
                hint="check its workers, their memory and their disks, then run it again",
            ) from error
        if is_external and _DAMAGED.search(message):
            problem = f"a file of the source cannot be read: {_main_line(message)}"
            raise BatchRejectedError([Problem("damaged-file", problem)], hint="write or copy the file again") from error
        if _DAMAGED.search(message):
            raise CorruptPackageError(
                f"{action} found a damaged package: {_main_line(message)}",
                hint="`diurnal verify` names it; restore it from a backup, or run its data interval again",
            ) from error
        raise ExperimentError(
            f"{action} fails on this batch with {type(error).__name__}: {_main_line(message)}",
            hint="return an estimator that can be fitted to every batch that the contract accepts",
        ) from error


def _main_line(message: str) -> str:
    """Return the most specific line: the last of a Python worker's traceback, else the innermost cause in Java."""
    lines = [line.rstrip() for line in message.splitlines() if line.strip()] or [""]
    if "Traceback (most recent call last):" in message:
        start = next(i for i, line in enumerate(lines) if "Traceback" in line)
        ends = [line for line in lines[start + 1 :] if re.match(r"[\w.]+(Error|Exception|Refused|Warning)\b", line)]
        lines = ends or lines
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes[-1] if causes else lines[0]).strip()[:400]
