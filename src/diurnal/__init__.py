"""From the search object at the end of a notebook to a daily retraining service.

What we promise is what ``__all__`` names; anything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError

# Not lazy: importing the package diurnal.experiment binds it to this very name, which must stay the decorator.
from diurnal.experiment import experiment
from diurnal.types import DataInterval, Limits

if TYPE_CHECKING:
    from diurnal.pipeline.predict import load_model

    __version__: str

__all__ = ["DataInterval", "DiurnalError", "Limits", "experiment", "load_model"]


def __getattr__(name: str) -> Any:
    """Import what only few need (PEP 562)."""
    if name == "load_model":
        from diurnal.pipeline.predict import load_model

        return load_model
    if name == "__version__":
        from importlib.metadata import version

        return version("diurnal")
    raise AttributeError(f"module 'diurnal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "load_model", "__version__"]
