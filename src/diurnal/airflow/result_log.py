"""What a task's log says of the result of its step: one line, and one for each new warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diurnal.pipeline.promotion import difference_of
from diurnal.types import Batch, Decision, Evaluation, ModelFile, ModelVersion, Run, SearchResult, TrainTestSplit


def tell(step: str, given: Sequence[Any], result: Any) -> None:
    """Write the lines into the task's log.

    Parameters
    ----------
    step : str
        Its name.
    given : sequence
        What earlier steps gave.
    result : Any
        What it gave.
    """
    import structlog

    log = structlog.get_logger(logger_name="task")
    known = {warning for value in given for warning in getattr(value, "warnings", ())}
    for warning in getattr(result, "warnings", ()):
        if warning not in known:
            log.warning(warning)
    if (line := line_of(step, result)) is not None:
        log.info(line)


def line_of(step: str, result: Any) -> str | None:
    """Give the line that says a step's result; None for a step that has none."""
    if step == "save_batch":
        return f"the view shows the batch, load {result}"
    if step == "cut_shards":
        return f"the search is cut into {len(result)} shards"
    make = _LINES.get(type(result))
    return None if make is None else make(result)


def _batch(batch: Batch) -> str:
    window = f", a window of {len(batch.window)} batches" if len(batch.window) > 1 else ""
    return f"{batch.package.n_rows} rows in package {batch.package.digest[:12]}{window}; run {batch.run.run_id}"


def _samples(samples: TrainTestSplit) -> str:
    train, test = (sum(package.n_rows for package in side) for side in (samples.train, samples.test))
    end = "; the run is finished already, and all that it kept is there" if samples.finished else ""
    return f"{train} rows to train, {test} to test{end}"


def _search(search: SearchResult) -> str:
    scored = "not cross-validated"
    if search.cv_score_mean is not None:
        spread = "" if search.cv_score_std is None else f" ± {search.cv_score_std:.4f}"
        scored = f"{search.scoring} {search.cv_score_mean:.4f}{spread} on {search.cv_folds} folds"
    return f"{search.n_candidates} candidates on {search.n_train} samples; best: {_shown(search.best_params)}; {scored}"


def _evaluation(evaluation: Evaluation) -> str:
    line = f"test scores on {evaluation.n_test} samples: {_shown(evaluation.test_scores)}"
    found = evaluation.comparison
    if found is not None:
        line += (
            f"; on {found.n_compared} samples new to both: twin {_number(found.twin_score)}, champion (version "
            f"{evaluation.champion_version}) {_number(found.champion_score)}{difference_of(found)}; {found.test}, "
            f"p = {found.p_worse:.2g}"
        )
    elif evaluation.champion_version is None:
        line += "; there is no champion to compare with"
    else:
        line += f"; not compared with the champion, version {evaluation.champion_version}: {evaluation.uncompared}"
    return line


def _run(run: Run) -> str:
    return f"recorded as {run.run_id}"


def _model(model: ModelFile) -> str:
    return f"fitted on all rows and saved: {model.path}, digest {model.digest[:12]}"


def _version(version: ModelVersion) -> str:
    return f"version {version.version} of {version.experiment}, digest {version.digest[:12]}"


def _decision(decision: Decision) -> str:
    return f"{'promoted' if decision.promoted else 'not promoted'}: {decision.reason}"


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_number(value)}" for name, value in values.items()) or "none"


def _number(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


_LINES: dict[type, Callable[[Any], str]] = {
    Batch: _batch,
    TrainTestSplit: _samples,
    SearchResult: _search,
    Evaluation: _evaluation,
    Run: _run,
    ModelFile: _model,
    ModelVersion: _version,
    Decision: _decision,
}
