"""The versions of libraries that a model's numbers, and its very reading, depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from diurnal.errors import ConfigurationError

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "skops", "diurnal")


def library_versions() -> dict[str, str]:
    """Give the versions that a model's numbers depend on.

    Examples
    --------
    >>> sorted(library_versions())
    ['diurnal', 'numpy', 'pandas', 'pyarrow', 'python', 'scikit-learn', 'scipy', 'skops']
    """
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def refuse_other_versions(versions: Mapping[str, str]) -> None:
    """Refuse what another version of scikit-learn fitted."""
    fitted, here = versions.get("scikit-learn", "an unknown version"), version("scikit-learn")
    if fitted != here:
        raise ConfigurationError(
            f"it was fitted with scikit-learn {fitted}, and this is {here}; only the same version reads it",
            advice="retrain: run its data interval again with this environment, or go back to the one that fitted it",
        )
