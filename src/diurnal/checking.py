"""Looking for what would go wrong at night, before the night; nothing is fitted and nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diurnal import flow, models
from diurnal.backends import sklearn as backend
from diurnal.errors import DeclarationError, ModelRefused
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
        "source": repr(experiment.source),
        "steps": flow.names(),
        "code_digest": experiment.code_digest,
        "warnings": unset,
    }
