"""Saying whose fault it is when a job of Spark fails."""

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

_WORLD = re.compile(
    r"ExecutorLost|executor .{0,40}(lost|exited|failed)|SparkContext (was|has been) shut|stopped SparkContext"
    r"|FetchFailed|OutOfMemory|No space left|Connection (refused|reset)|master.{0,40}unresponsive"
    r"|Python worker exited|heartbeat"
    r"|Answer from Java side is empty|error while (sending or receiving|obtaining a new)|FILE_NOT_EXIST",
    re.IGNORECASE | re.DOTALL,
)
_DAMAGED = re.compile(r"CRC|checksum|is not a Parquet file|could not read page|FAILED_READ_FILE", re.IGNORECASE)


@contextmanager
def blaming(what: str, *, outside: bool = False) -> Iterator[None]:
    """Turn what Spark says into our words: the world's fault is worth another try, the experiment's is not.

    Parameters
    ----------
    what : str
        What was going on, as in ``"the fit"``.
    outside : bool
        Whether files of others are read, so that a damaged one is the batch's fault and not the lake's.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with spark.ignore_pandas_warning():
            yield
    except (DiurnalError, MemoryError):
        raise
    except (Py4JError, PySparkException, OSError, ValueError, TypeError, AssertionError, ArithmeticError) as error:
        said = str(error)
        if isinstance(error, OSError) or _WORLD.search(said):
            raise TransientError(
                f"{what} was cut short, as Spark lost what it needs: {_first(said)}",
                hint="see to its workers, their memory and their disks, then run it again",
            ) from error
        if outside and _DAMAGED.search(said):
            what_came = f"a file of the source cannot be read: {_first(said)}"
            raise BatchRejectedError(
                [Problem("damaged-file", what_came)], hint="write or copy the file again"
            ) from error
        if _DAMAGED.search(said):
            raise CorruptPackageError(
                f"{what} found a damaged package: {_first(said)}",
                hint="`diurnal verify` says which; restore it from a backup, or run its data interval again",
            ) from error
        raise ExperimentError(
            f"{what} fails on this batch with {type(error).__name__}: {_first(said)}",
            hint="what the experiment returns must cope with every batch that its contract lets through",
        ) from error


def _first(said: str) -> str:
    """Return the line that tells most: the last of a Python worker's traceback, else the innermost cause in Java."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()] or [""]
    if "Traceback (most recent call last):" in said:
        begun = next(i for i, line in enumerate(lines) if "Traceback" in line)
        ends = [line for line in lines[begun + 1 :] if re.match(r"[\w.]+(Error|Exception|Refused|Warning)\b", line)]
        lines = ends or lines
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes[-1] if causes else lines[0]).strip()[:400]
