"""What tunes, fits and scores: one implementation of :class:`Backend` for each library that does.

Which one is decided by the type of what an experiment returns. pyspark is imported only where that type is its own.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from diurnal.backends.protocol import Backend, BroughtIn, Data, Scores, Task, Tuned
from diurnal.errors import ExperimentError
from diurnal.storage.models import is_of_spark

__all__ = ["Backend", "BroughtIn", "Data", "Scores", "Task", "Tuned", "backend_of"]


@singledispatch
def backend_of(made: Any) -> Backend:
    """Give the backend of what an experiment returns, or of a fitted model.

    Raises
    ------
    ExperimentError
        If it is of pyspark, and nothing that can be fitted or asked.
    """
    if not is_of_spark(made):
        from diurnal.backends.sklearn import BACKEND

        return BACKEND
    import diurnal.backends.spark  # noqa: F401 - makes pyspark's types known here

    if backend_of.dispatch(type(made)) is backend_of.dispatch(object):
        raise ExperimentError(
            f"a {type(made).__name__} of pyspark can be neither fitted nor asked",
            hint="return a CrossValidator, a TrainValidationSplit, a Pipeline or an estimator of pyspark.ml",
        )
    return backend_of(made)
