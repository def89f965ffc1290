"""The versions of the libraries that a model's predictions, and reading it, depend on."""

from __future__ import annotations

import functools
import platform
import sys
from importlib.metadata import version
from typing import Any

from diurnal.runtime import spark
from diurnal.storage.models import library_types
from diurnal.storage.models.formats import is_spark_model
from diurnal.storage.models.object_graph import iter_parts

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "skops", "diurnal")


def library_versions(estimator: Any = None) -> dict[str, str]:
    """Return the versions that a model depends on, including those of the libraries of its parts, or of Spark and Java.

    Examples
    --------
    >>> sorted(library_versions())
    ['diurnal', 'numpy', 'pandas', 'pyarrow', 'python', 'scikit-learn', 'scipy', 'skops']
    """
    of_parts = spark.session_versions() if is_spark_model(estimator) else _versions_of_parts(estimator)
    return _common_versions() | of_parts


@functools.cache
def _common_versions() -> dict[str, str]:
    """Return the versions of what every model depends on, which a process has imported once."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def _versions_of_parts(estimator: Any) -> dict[str, str]:
    """Return the versions of the other libraries whose objects an estimator contains."""
    names = {type(part).__module__.partition(".")[0] for part in iter_parts(estimator)}
    return {name: str(sys.modules[name].__version__) for name in sorted(names & library_types.KNOWN)}
