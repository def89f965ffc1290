"""Fitting with one BLAS thread, and saying whose fault a failure is."""

from __future__ import annotations

import warnings as python_warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from sklearn.base import BaseEstimator, clone
from threadpoolctl import threadpool_limits

from diurnal.errors import DiurnalError, ExperimentError, TransientError
from diurnal.runtime.environment import FIT_THREADS


@contextmanager
def fitting() -> Iterator[list[Any]]:
    """Fit with one BLAS thread, and say whose fault a failure is.

    What is warned of is collected, to be said once in the row of the run and not a thousand times on the terminal.
    """
    with threadpool_limits(FIT_THREADS), python_warnings.catch_warnings(record=True) as seen:
        python_warnings.simplefilter("always")
        try:
            yield seen
        except (DiurnalError, OSError, MemoryError):
            raise
        except BrokenProcessPool as error:  # joblib's TerminatedWorkerError is one
            raise TransientError(
                "a process that was fitting was killed, most often because the memory was used up",
                hint="give the machine more, or the search a smaller n_jobs",
            ) from error
        except Exception as error:
            raise ExperimentError(
                f"the fit fails on this batch with {type(error).__name__}: {_without_traceback(str(error))}",
                hint="what the experiment returns must cope with every batch that its contract lets through",
            ) from error


def _without_traceback(said: str) -> str:
    """Give the first and the last line of what a search says when all its fits failed; between is a traceback."""
    lines = [line for line in said.splitlines() if line.strip()] or [""]
    return f"{lines[0]} {lines[-1]}" if "Traceback" in said else said.strip()


def said(seen: list[Any]) -> tuple[str, ...]:
    """Give each warning once, with how often it came."""
    counts = Counter(f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in seen)
    return tuple(f"{text} ({n} times)" if n > 1 else text for text, n in counts.items())


def fresh(estimator: BaseEstimator) -> BaseEstimator:
    """Give an estimator with the same parameters, not fitted.

    CatBoost copies its parameters whenever it is asked for them, which scikit-learn's `clone` takes for a fault.
    """
    try:
        return clone(estimator)
    except RuntimeError:
        if type(estimator).__module__.partition(".")[0] != "catboost":
            raise
        return type(estimator)(**estimator.get_params())
