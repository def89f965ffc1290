"""Validation of an experiment without running it: nothing is fitted and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any

from diurnal.backends import get_backend
from diurnal.errors import DiurnalError, ExperimentError, InvalidModelError
from diurnal.pipeline import flow
from diurnal.runtime.project_files import Codebase
from diurnal.sources import Sql

if TYPE_CHECKING:
    from diurnal.experiment import Experiment


def check_experiment(experiment: Experiment, connections: Mapping[str, str]) -> dict[str, Any]:
    """Build the search or estimator of an experiment, and validate it.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    connections : Mapping of str to str
        From the id of a connection to its URI.

    Returns
    -------
    dict
        A description of the experiment, and its ``"warnings"``.

    Raises
    ------
    ExperimentError
        If it cannot be built, or has types that the reader of models does not allow.
    ConfigurationError
        If its source names a connection that does not exist.
    """
    search = experiment.build()
    backend = get_backend(search)
    main = backend.score_name(search)
    try:
        backend.validate(search, experiment.trusted_types, Codebase.around(experiment.file))
    except InvalidModelError as error:
        raise ExperimentError(f"{experiment.location}: {error.message}", hint=error.hint) from None
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
        "source": _source_text(experiment.source),
        "steps": flow.step_names(),
        "code_digest": experiment.code_digest,
        "warnings": [*backend.unseeded_warnings(search), *unused],
    }


def check_for_dry_run(
    experiment: Experiment, connections: Mapping[str, str]
) -> tuple[dict[str, Any], list[DiurnalError], Experiment]:
    """Validate an experiment as :func:`check_experiment` does, and continue after an invalid splitter.

    Returns
    -------
    dict
        The result of :func:`check_experiment`; only the name if it fails.
    list of DiurnalError
        The errors that it fails with.
    Experiment
        The experiment, or a copy with scikit-learn's default folds, for a dry run.
    """
    try:
        return check_experiment(experiment, connections), [], experiment
    except DiurnalError as error:
        first, experiment = error, _with_default_folds(experiment)
    try:
        return check_experiment(experiment, connections), [first], experiment
    except DiurnalError as second:
        errors = [first] if str(second) == str(first) else [first, second]
        return {"name": experiment.name}, errors, experiment


def _with_default_folds(experiment: Experiment) -> Experiment:
    """Replace the splitter: an invalid one ends each build, and would hide all other errors."""
    try:
        search = experiment.function()
    except Exception:  # noqa: BLE001 - it cannot be built, so that no further error can be found
        return experiment
    if getattr(search, "cv", None) is None:
        return experiment
    search.cv = None
    return replace(experiment, function=wraps(experiment.function)(lambda: search))


def _source_text(source: Any) -> str:
    """Return the text of a source, equal in every process."""
    if isinstance(source, FunctionType):
        return f"{source.__module__}:{source.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(source))
