"""Turn a scikit-learn search into a daily retraining service.

The names in ``__all__`` are the public API; other names may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError

# Not lazy: importing the package diurnal.experiment binds it to this very name, which must stay the decorator.
from diurnal.experiment import experiment
from diurnal.types import DataInterval, Limits

if TYPE_CHECKING:
    from diurnal import plots as plots  # a module: not in __all__
    from diurnal.pipeline.key_trace import trace
    from diurnal.pipeline.live_score_frames import live_scores
    from diurnal.pipeline.result_frames import candidates, evaluation, predictions, profiles, promotions, runs, versions
    from diurnal.storage.load_model import load_model

    __version__: str

__all__ = [
    "DataInterval",
    "DiurnalError",
    "Limits",
    "candidates",
    "evaluation",
    "experiment",
    "live_scores",
    "load_model",
    "predictions",
    "profiles",
    "promotions",
    "runs",
    "trace",
    "versions",
]

_RECORDS = {
    **dict.fromkeys(
        ("candidates", "evaluation", "predictions", "profiles", "promotions", "runs", "versions"), "result_frames"
    ),
    "live_scores": "live_score_frames",
    "trace": "key_trace",
}


def __getattr__(name: str) -> Any:
    """Import the functions that a Dag file does not need when they are first used (PEP 562)."""
    if name == "load_model":
        from diurnal.storage.load_model import load_model

        return load_model
    if name in _RECORDS:
        return getattr(import_module(f"diurnal.pipeline.{_RECORDS[name]}"), name)
    if name == "plots":
        return import_module("diurnal.plots")
    if name == "__version__":
        from importlib.metadata import version

        return version("diurnal")
    raise AttributeError(f"module 'diurnal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_RECORDS, "load_model", "plots", "__version__"]
