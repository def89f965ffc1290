"""Looking for what would go wrong at night, before the night; nothing is fitted and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any

from diurnal.backends import backend_of
from diurnal.errors import DiurnalError, ExperimentError, InvalidModelError
from diurnal.pipeline import flow
from diurnal.runtime.project_files import Codebase
from diurnal.sources import Sql

if TYPE_CHECKING:
    from diurnal.experiment import Experiment


def check_experiment(experiment: Experiment, connections: Mapping[str, str]) -> dict[str, Any]:
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
    ExperimentError
        If it cannot be built, or holds types that a model of it could not be loaded with.
    ConfigurationError
        If its source names a connection that is not there.
    """
    search = experiment.build()
    backend = backend_of(search)
    main = backend.score_name(search)
    try:
        backend.refuse_faults(search, experiment.trusted_types, Codebase.around(experiment.file))
    except InvalidModelError as refusal:
        raise ExperimentError(f"{experiment.place}: {refusal.message}", hint=refusal.hint) from None
    unused = backend.check_metadata(search, experiment.metadata)
    if isinstance(experiment.source, Sql):
        connections[experiment.source.connection]
    return {
        "name": experiment.name,
        "task": backend.task(search),
        "returns": type(search).__name__,
        "tuned": backend.is_search(search),
        "scoring": main,
        "schedule": None if experiment.schedule is None else str(experiment.schedule),
        "timezone": experiment.timezone,
        "source": _shown(experiment.source),
        "steps": flow.step_names(),
        "code_digest": experiment.code_digest,
        "warnings": [*backend.unseeded(search), *unused],
    }


def check_for_dry_run(
    experiment: Experiment, connections: Mapping[str, str]
) -> tuple[dict[str, Any], list[DiurnalError], Experiment]:
    """Look at an experiment as :func:`check` does, and go on after a splitter that lacks something.

    Returns
    -------
    dict
        What :func:`check` gives; only the name where it fails.
    list of DiurnalError
        What it fails with.
    Experiment
        It, or one with scikit-learn's own folds, that can be tried further.
    """
    try:
        return check_experiment(experiment, connections), [], experiment
    except DiurnalError as fault:
        first, experiment = fault, _with_default_folds(experiment)
    try:
        return check_experiment(experiment, connections), [first], experiment
    except DiurnalError as further:
        faults = [first] if str(further) == str(first) else [first, further]
        return {"name": experiment.name}, faults, experiment


def _with_default_folds(experiment: Experiment) -> Experiment:
    """Replace a splitter: that it needs what is not declared ends each build, and would hide all other faults."""
    try:
        made = experiment.function()
    except Exception:  # noqa: BLE001 - it cannot be built at all, and that fault is the only one that can be found
        return experiment
    if getattr(made, "cv", None) is None:
        return experiment
    made.cv = None
    return replace(experiment, function=wraps(experiment.function)(lambda: made))


def _shown(source: Any) -> str:
    """Give a source the same in every process."""
    if isinstance(source, FunctionType):
        return f"{source.__module__}:{source.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(source))
