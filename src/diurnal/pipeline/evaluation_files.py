"""Evaluation data of a run in the lake: a JSON file with curves, and a package with results for a sample of rows.

The form of the JSON is described in ``docs/monitoring.md``. Twin and champion are described on the same samples, those
that are new to both. If these are not all test samples of the window, ``"twin_window"`` describes the twin on all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from diurnal.backends import get_backend
from diurnal.backends.evaluation_data import EvaluationData
from diurnal.types import Package

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.backends import SampleData
    from diurnal.experiment.run_context import RunContext
    from diurnal.promotion.champion_comparison import ComparedModels
    from diurnal.storage.lake import Lake

FORM = 1
CATEGORY = "evaluations"
IMPORTANCE_SECONDS = 0.05
IMPORTANCE_SHARE = 0.03  # of the seconds of the steps before


@dataclass(frozen=True)
class EvaluationFiles:
    """Paths of evaluation data below the root of the lake, None for what is absent; the models, and warnings."""

    curves: str | None = None
    sample: str | None = None
    warnings: tuple[str, ...] = ()
    models: Mapping[str, Any] = field(default_factory=dict)


def write_evaluation(
    context: RunContext,
    estimator: Any,
    twin: Any,
    data: SampleData,
    compared: ComparedModels | None,
    *,
    seconds: float,
) -> EvaluationFiles:
    """Describe the twin, and the champion if they were compared, and store the description.

    Whatever fails becomes a warning: an evaluation counts without its description.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    estimator : estimator
        What the experiment returns.
    twin : estimator
        The twin of the run.
    data : SampleData
        All test samples of the window.
    compared : ComparedModels or None
        Twin and champion, and the samples that are new to both.
    seconds : float
        How long permutation importances may take.
    """
    found = EvaluationData()
    described = found.attempt("description", _describe, estimator, twin, data, compared, seconds) or found
    task = get_backend(estimator).task(estimator)
    content = {
        "version": FORM,
        "task": task,
        "n_rows": data.n_rows,
        "models": described.models,
        "notes": described.notes,
    }
    warnings = tuple(f"evaluation data: {problem}" for problem in described.problems)
    name, lake = context.experiment.name, context.stores.lake
    encoded = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    curves = lake.write_bytes(name, CATEGORY, encoded.encode(), ".json") if described.models else None
    sample = None
    if described.sample is not None:
        sample = lake.write_table(context.package_key(CATEGORY), described.sample).path
    return EvaluationFiles(curves, sample, warnings, described.models)


def _describe(
    estimator: Any, twin: Any, data: SampleData, compared: ComparedModels | None, seconds: float
) -> EvaluationData:
    """Describe the twin on all test samples, and both models on those that are new to both."""
    backend = get_backend(estimator)
    if compared is None:
        return backend.describe_evaluation(estimator, {"twin": twin}, data, seconds=seconds)
    models, both = {"twin": compared.twin, "champion": compared.champion}, compared.data
    if both.n_rows == data.n_rows:
        return backend.describe_evaluation(estimator, models, both, seconds=seconds)
    beside = backend.describe_evaluation(estimator, models, both, seconds=0)
    window = backend.describe_evaluation(estimator, {"twin": twin}, data, seconds=seconds)
    if "twin" in window.models:
        alone = window.models["twin"]
        importances = alone.pop("importances", None)
        beside.models["twin_window"] = alone
        if importances and "twin" in beside.models:
            beside.models["twin"]["importances"] = importances
    for text in window.notes:
        beside.note(text)
    beside.problems += [problem for problem in window.problems if problem not in beside.problems]
    return beside


def read_evaluation(lake: Lake, path: str) -> dict[str, Any]:
    """Return the evaluation data of a run.

    Parameters
    ----------
    lake : Lake
        The lake.
    path : str
        The column `evaluation` of the table `experiments`.

    Raises
    ------
    NotFoundError, CorruptPackageError
        If the file is missing or damaged.
    """
    content: dict[str, Any] = json.loads(lake.read_bytes(path))
    return content


def read_evaluation_sample(lake: Lake, path: str) -> pa.Table:
    """Return the results for the sample of rows; `path` is the column `evaluation_sample`."""
    return lake.read(Package(path, PurePosixPath(path).stem, 0))
