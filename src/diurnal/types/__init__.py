"""Data intervals, schedules, limits, and the results that steps pass to each other. No I/O.

A result holds references (a path and its digest), never frames, so that it passes through Airflow's XCom as well as
through a local call. Each consists of numbers, strings, times and tuples only.

Classes are imported on first use: a Dag file needs few of them, and Airflow parses it repeatedly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.types.challenge import Bet as Bet
    from diurnal.types.challenge import Match as Match
    from diurnal.types.challenge import Standing as Standing
    from diurnal.types.evaluation import Comparison as Comparison
    from diurnal.types.evaluation import Evaluation as Evaluation
    from diurnal.types.evaluation import NoComparisonReason as NoComparisonReason
    from diurnal.types.interval import DataInterval as DataInterval
    from diurnal.types.limits import Limits as Limits
    from diurnal.types.results import Batch as Batch
    from diurnal.types.results import Decision as Decision
    from diurnal.types.results import ModelFile as ModelFile
    from diurnal.types.results import ModelVersion as ModelVersion
    from diurnal.types.results import Package as Package
    from diurnal.types.results import Run as Run
    from diurnal.types.results import ScoredBatch as ScoredBatch
    from diurnal.types.results import SearchResult as SearchResult
    from diurnal.types.results import TrainTestSplit as TrainTestSplit

_RESULTS = (
    "Batch",
    "Decision",
    "ModelFile",
    "ModelVersion",
    "Package",
    "Run",
    "ScoredBatch",
    "TrainTestSplit",
    "SearchResult",
)
_EVALUATION = ("Comparison", "Evaluation", "NoComparisonReason")
_LAZY = {
    "DataInterval": "interval",
    "Limits": "limits",
    **dict.fromkeys(_RESULTS, "results"),
    **dict.fromkeys(_EVALUATION, "evaluation"),
    **dict.fromkeys(("Bet", "Match", "Standing"), "challenge"),
}


def __getattr__(name: str) -> Any:
    """Import a class when it is first used (PEP 562)."""
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value
