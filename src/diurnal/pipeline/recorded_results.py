"""Results that a run has recorded: a step that is repeated returns them again.

Once the row of a run exists, a repeated step must not return other numbers: a search without a seed finds other
parameters, and the champion may have changed. A run of the same data and code as an earlier one has its search.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, get_args

from diurnal.types import Comparison, Evaluation, Match, ModelFile, NoComparisonReason, SearchResult

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Run, TrainTestSplit

_SEARCH = (
    "best_params",
    "cv_score_mean",
    "cv_score_std",
    "n_candidates",
    "cv_folds",
    "scoring",
    "n_train",
    "candidates",
    "library_versions",
    "environment",
)
_SAME_PLACE = ("python", "installed", "system", "machine", "cpu")
_MODEL = ("path", "digest", "signature", "library_versions", "environment")
RUN_FILES = ("candidates", "code", "evaluation", "evaluation_sample")
"""The columns of `experiments` with paths below the root of the lake; each file is named by its digest."""
_log = logging.getLogger(__name__)


def recorded_search(context: RunContext, samples: TrainTestSplit) -> SearchResult | None:
    """Return the recorded result of the search, if its files still exist or are no longer needed."""
    row = context.stores.warehouse.run(samples.run.run_id)
    if row is None or row["twin"] is None or not _has_candidates(context, row):
        return None
    if not context.stores.lake.exists(row["twin"]["path"]) and recorded_model(context, samples.run) is None:
        return None
    _log.info("%s has a row already: the search is not repeated", samples.run.run_id)
    return _search_from_row(samples, row, warnings=tuple(row["warnings"]), seconds=row["durations"])


def equal_search(context: RunContext, samples: TrainTestSplit) -> SearchResult | None:
    """Return the result of the search of another run with the same data, code, libraries and machine.

    Without its own warnings: those of the fits are in `fit_warnings`. None if there is none, if the run is forced, or
    if the estimators are not seeded, so that another search may find other parameters.
    """
    if context.force or samples.run.repeat:
        return None
    lake, rows = context.stores.lake, context.stores.warehouse.equal_runs(samples.run)
    conditions = _fit_conditions(context) if rows else None
    for row in rows if conditions else ():
        twin = row["twin"] or {}
        is_expired = row["cv_folds"] > 0 and row["candidates"] is None
        if "fit_warnings" not in twin or is_expired:
            continue
        if (dict(row["library_versions"]), [row["environment"].get(name) for name in _SAME_PLACE]) != conditions:
            continue
        files = [path for path in (twin["path"], row["candidates"]) if path is not None]
        if all(map(lake.refresh, files)):  # until this run has a row, only their age keeps them from `diurnal gc`
            tuned_by = twin.get("tuned_by") or row["run_id"]
            _log.info("%s has tuned on the same data with the same code: its search is used", tuned_by)
            return replace(_search_from_row(samples, row), tuned_by=tuned_by)
    return None


def _fit_conditions(context: RunContext) -> tuple[dict[str, str], list[Any]] | None:
    """Return the libraries, and the Python and machine, of a fit in this process; None if it is not seeded."""
    from diurnal.backends import get_backend
    from diurnal.runtime.fit_environment import describe_environment
    from diurnal.storage import models

    search, here = context.experiment.build(), describe_environment()
    if get_backend(search).unseeded_warnings(search):
        return None
    return dict(models.library_versions(search)), [here[name] for name in _SAME_PLACE]


def _search_from_row(samples: TrainTestSplit, row: dict[str, Any], **others: Any) -> SearchResult:
    twin = row["twin"]
    return SearchResult(
        run=samples.run,
        window=samples.window,
        **{name: row[name] for name in _SEARCH},
        twin=twin["path"],
        twin_digest=twin["digest"],
        own_code=tuple(twin["own_code"]),
        fit_warnings=tuple(twin.get("fit_warnings", ())),
        tuned_by=twin.get("tuned_by"),
        **others,
    )


def recorded_evaluation(context: RunContext, search: SearchResult) -> Evaluation | None:
    """Return the recorded evaluation, if it is that of this twin, or of a published model."""
    row = context.stores.warehouse.run(search.run.run_id)
    if row is None or not (row["model_version"] or (row["twin"] or {}).get("digest") == search.twin_digest):
        return None
    _log.info("%s has a row already: its scores are used", search.run.run_id)
    return evaluation_from_row(search.run, row)


def evaluation_from_row(run: Run, row: dict[str, Any]) -> Evaluation:
    """Return the evaluation in a row of `experiments`."""
    challenge = row["challenge"] or {}
    return Evaluation(
        run=run,
        test_score=row["test_score"],
        test_scores=row["test_scores"],
        n_test=row["n_test"],
        champion_version=row["champion_version"],
        comparison=Comparison(**row["comparison"]) if row["comparison"] else None,
        uncompared=row["uncompared"] if row["uncompared"] in get_args(NoComparisonReason) else None,
        match=Match(**challenge["match"]) if challenge.get("match") else None,
        unmatched=challenge.get("unmatched"),
        drift=row["drift"],
        curves=row["evaluation"],
        sample=row["evaluation_sample"],
        warnings=tuple(row["warnings"]),
        seconds=row["durations"],
    )


def challenge_for_row(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the value of the column `challenge`; None unless the policy is ``"proven"``."""
    if evaluation.match is None and evaluation.unmatched is None:
        return None
    match = None if evaluation.match is None else asdict(evaluation.match)
    return {"match": match, "unmatched": evaluation.unmatched}


def recorded_model(context: RunContext, run: Run) -> ModelFile | None:
    """Return the model that the run has published, if its file is unchanged."""
    row = context.stores.warehouse.run(run.run_id)
    if row is None or row["model_version"] is None:
        return None
    version = context.stores.warehouse.version(run.experiment, row["model_version"])
    if context.stores.models.digest_of(version["path"]) != version["digest"]:
        return None
    _log.info("version %s of %s exists already: it is not fitted again", row["model_version"], run.experiment)
    return ModelFile(run, **{name: version[name] for name in _MODEL})


def with_recorded_contract(run: Run, row: dict[str, Any] | None) -> Run:
    """Return a run with the version of the contract that its row names."""
    return run if row is None or not row["contract_version"] else replace(run, contract=row["contract_version"])


def run_is_finished(context: RunContext, run: Run, row: dict[str, Any] | None) -> bool:
    """Return whether a run is decided and its files still exist, so that no step after `split` is needed.

    `row` is its row of `experiments`, if it has one.
    """
    if row is None or row["decided_at"] is None:
        return False
    return _has_candidates(context, row) and recorded_model(context, run) is not None


def _has_candidates(context: RunContext, row: dict[str, Any]) -> bool:
    return row["candidates"] is None or context.stores.lake.exists(row["candidates"])
