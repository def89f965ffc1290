"""Looking for what would go wrong at night, before the night; nothing is fitted and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

from diurnal import flow, models
from diurnal.backends import sklearn as backend
from diurnal.errors import DeclarationError, ModelRefused, nearest
from diurnal.sources import Sql

if TYPE_CHECKING:
    from diurnal.experiment import Experiment


def check(experiment: Experiment, connections: Mapping[str, str]) -> dict[str, Any]:
    """Build what the experiment returns, and look at it.

    Parameters
    ----------
    experiment : Experiment
        What to look at.
    connections : Mapping of str to str
        From the id of a connection to its URI.

    Returns
    -------
    dict
        What the experiment is, and under ``"warnings"`` what may surprise.

    Raises
    ------
    DeclarationError
        If it cannot be built, or holds types that a model of it could not be loaded with.
    ConfigurationError
        If its source names a connection that is not there.
    """
    search = experiment.build()
    main, _ = backend.scorer(search)
    _refuse_parameters(search)
    try:
        models.refuse_untrusted(getattr(search, "estimator", search), experiment.trusted)
    except ModelRefused as refusal:
        raise DeclarationError(f"{experiment.place}: {refusal.message}", advice=refusal.advice) from None
    if isinstance(experiment.source, Sql):
        connections[experiment.source.connection]
    unset = [
        f"random_state is not set in {place}: numbers change from run to run" for place in backend.unseeded(search)
    ]
    return {
        "name": experiment.name,
        "task": backend.task(search),
        "returns": type(search).__name__,
        "tuned": backend.is_search(search),
        "scoring": main,
        "schedule": None if experiment.schedule is None else str(experiment.schedule),
        "source": _shown(experiment.source),
        "steps": flow.names(),
        "code_digest": experiment.code_digest,
        "warnings": unset,
    }


def _refuse_parameters(search: Any) -> None:
    """Refuse parameters to tune that are not there; the search itself would say so only when it fits."""
    if not backend.is_search(search):
        return
    known = search.estimator.get_params()
    for grid in _grids(search):
        for name in grid:
            if name not in known and not _is_of_a_candidate(name, grid):
                inner = type(search.estimator).__name__
                raise DeclarationError(
                    f"{inner} has no parameter {name!r} to tune{nearest(name, known)}",
                    advice=f"it takes those of {inner}(...).get_params(); in a pipeline as step__parameter",
                )


def _grids(search: Any) -> Iterator[Mapping[str, Any]]:
    """Give what scikit-learn's own searches tune, and those that follow their conventions."""
    for attribute in ("param_grid", "param_distributions", "search_spaces"):
        given = getattr(search, attribute, None)
        yield from (
            grid for grid in (given if isinstance(given, list | tuple) else [given]) if isinstance(grid, Mapping)
        )


def _is_of_a_candidate(name: str, grid: Mapping[str, Any]) -> bool:
    """Tell whether it may be a parameter of an estimator that the same grid puts in, as ``a__C`` beside ``a``."""
    parts = name.split("__")
    return any("__".join(parts[:n]) in grid for n in range(1, len(parts)))


def _shown(source: Any) -> str:
    """Give a source the same in every process."""
    if isinstance(source, FunctionType):
        return f"{source.__module__}:{source.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(source))
