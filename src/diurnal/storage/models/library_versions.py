"""The versions of libraries that a model's numbers, and its very reading, depend on."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from diurnal.errors import ConfigurationError
from diurnal.runtime import spark
from diurnal.storage.models import library_types
from diurnal.storage.models.formats import SKOPS, is_of_spark
from diurnal.storage.models.object_graph import parts

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "skops", "diurnal")


def library_versions(estimator: Any = None) -> dict[str, str]:
    """Give the versions that a model's numbers depend on; Spark's and Java's, or other libraries', where it is of them.

    Examples
    --------
    >>> sorted(library_versions())
    ['diurnal', 'numpy', 'pandas', 'pyarrow', 'python', 'scikit-learn', 'scipy', 'skops']
    """
    found = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return found | (spark.session_versions() if is_of_spark(estimator) else _of_parts(estimator))


def _of_parts(estimator: Any) -> dict[str, str]:
    """Give the versions of other libraries that an estimator is made of."""
    names = {type(part).__module__.partition(".")[0] for part in parts(estimator)}
    return {name: str(sys.modules[name].__version__) for name in sorted(names & library_types.KNOWN)}


def refuse_other_versions(versions: Mapping[str, str], form: str = SKOPS) -> None:
    """Refuse what another version of scikit-learn, or an older or a newer Spark than this major one, fitted."""
    name = "scikit-learn" if form == SKOPS else "pyspark"
    fitted, here = versions.get(name, "an unknown version"), version(name)
    same = fitted == here if form == SKOPS else fitted.partition(".")[0] == here.partition(".")[0]
    if not same:
        raise ConfigurationError(
            f"it was fitted with {name} {fitted}, and this is {here}; only the same version reads it",
            hint="retrain: run its data interval again with this environment, or go back to the one that fitted it",
        )
