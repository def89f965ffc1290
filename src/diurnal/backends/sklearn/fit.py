"""The context of a fit: one BLAS thread, collected warnings, and errors that name the cause."""

from __future__ import annotations

import warnings as python_warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from sklearn.base import BaseEstimator, clone

from diurnal.errors import DiurnalError, ExperimentError, TransientError
from diurnal.runtime.fit_environment import limit_fit_threads


@contextmanager
def fit_context() -> Iterator[list[Any]]:
    """Run fits with one BLAS thread, and translate their errors.

    Warnings are collected: each is stored once in the row of the run, and not printed for each of many fits.
    """
    with limit_fit_threads(), python_warnings.catch_warnings(record=True) as seen:
        python_warnings.simplefilter("always")
        try:
            yield seen
        except (DiurnalError, OSError, MemoryError):
            raise
        except BrokenProcessPool as error:  # joblib's TerminatedWorkerError is one
            raise TransientError(
                "a process that was fitting was killed, most often because the memory was used up",
                hint="give the machine more memory, or the search a smaller n_jobs",
            ) from error
        except Exception as error:
            raise ExperimentError(
                f"the fit fails on this batch with {type(error).__name__}: {_without_traceback(str(error))}",
                hint="return an estimator that can be fitted to every batch that the contract accepts",
            ) from error


def _without_traceback(message: str) -> str:
    """Return the first and the last line of the message of a search whose fits all fail; between is a traceback."""
    lines = [line for line in message.splitlines() if line.strip()] or [""]
    return f"{lines[0]} {lines[-1]}" if "Traceback" in message else message.strip()


def format_warnings(seen: list[Any]) -> tuple[str, ...]:
    """Return each warning once, with its count."""
    counts = Counter(f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in seen)
    return tuple(f"{text} ({n} times)" if n > 1 else text for text, n in counts.items())


def clone_unfitted(estimator: BaseEstimator) -> BaseEstimator:
    """Return an estimator with the same parameters, not fitted.

    CatBoost copies its parameters in ``get_params``, which scikit-learn's `clone` reports as an error.
    """
    try:
        return clone(estimator)
    except RuntimeError:
        if type(estimator).__module__.partition(".")[0] != "catboost":
            raise
        return type(estimator)(**estimator.get_params())
