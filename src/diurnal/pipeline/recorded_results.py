"""What a run has recorded, published and kept already: a step that is repeated gives that again.

Once a row is there, other numbers beside it would be of nothing that is kept: a search without a seed finds other
parameters, and the champion is another one by now.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from diurnal.types import Comparison, Evaluation, ModelFile, NoComparisonReason, SearchResult

if TYPE_CHECKING:
    from diurnal.pipeline.context import Day
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
_MODEL = ("path", "digest", "signature", "library_versions", "environment")
_log = logging.getLogger(__name__)


def search_result(day: Day, samples: TrainTestSplit) -> SearchResult | None:
    """Return the result of the run's search, if it is recorded and its files are still there, or no longer needed."""
    row = day.stores.warehouse.run(samples.run.run_id)
    if row is None or row["twin"] is None or not _has_candidates(day, row):
        return None
    if not day.stores.lake.exists(row["twin"]["path"]) and model_file(day, samples.run) is None:
        return None
    _log.info("the row of %s stands: the search is not repeated", samples.run.run_id)
    return SearchResult(
        run=samples.run,
        window=samples.window,
        **{name: row[name] for name in _SEARCH},
        twin=row["twin"]["path"],
        twin_digest=row["twin"]["digest"],
        own_code=tuple(row["twin"]["own_code"]),
        warnings=tuple(row["warnings"]),
        seconds=row["durations"],
    )


def evaluation(day: Day, search: SearchResult) -> Evaluation | None:
    """Return the evaluation of the run's twin, if it is recorded: of this very twin, or of one that is published."""
    row = day.stores.warehouse.run(search.run.run_id)
    if row is None or not (row["model_version"] or (row["twin"] or {}).get("digest") == search.twin_digest):
        return None
    _log.info("the row of %s stands: its scores are given again", search.run.run_id)
    return evaluation_of(search.run, row)


def evaluation_of(run: Run, row: dict[str, Any]) -> Evaluation:
    """Return the evaluation that a row of `experiments` holds."""
    return Evaluation(
        run=run,
        test_score=row["test_score"],
        test_scores=row["test_scores"],
        n_test=row["n_test"],
        champion_version=row["champion_version"],
        comparison=Comparison(**row["comparison"]) if row["comparison"] else None,
        uncompared=row["uncompared"] if row["uncompared"] in get_args(NoComparisonReason) else None,
        warnings=tuple(row["warnings"]),
        seconds=row["durations"],
    )


def model_file(day: Day, run: Run) -> ModelFile | None:
    """Return the model that the run has published, if its file is still what was published."""
    row = day.stores.warehouse.run(run.run_id)
    if row is None or row["model_version"] is None:
        return None
    version = day.stores.warehouse.version(run.experiment, row["model_version"])
    if day.stores.models.digest_of(version["path"]) != version["digest"]:
        return None
    _log.info("version %s of %s stands: it is not fitted again", row["model_version"], run.experiment)
    return ModelFile(run, **{name: version[name] for name in _MODEL})


def as_begun(run: Run, row: dict[str, Any] | None) -> Run:
    """Return a run with the version of the contract that its row names: what is recorded was read through that one."""
    return run if row is None or not row["contract_version"] else replace(run, contract=row["contract_version"])


def is_finished(day: Day, run: Run, row: dict[str, Any] | None) -> bool:
    """Return whether a run is decided and what it has kept is still there, so that no step after `split` is needed.

    `row` is its row of `experiments`, if it has one.
    """
    if row is None or row["decided_at"] is None:
        return False
    return _has_candidates(day, row) and model_file(day, run) is not None


def _has_candidates(day: Day, row: dict[str, Any]) -> bool:
    return row["candidates"] is None or day.stores.lake.exists(row["candidates"])
