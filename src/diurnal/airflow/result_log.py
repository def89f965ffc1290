"""The result of a step in the log of its task: one line, and one for each new warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diurnal.promotion.decision import format_difference
from diurnal.types import Batch, Decision, Evaluation, ModelFile, ModelVersion, Run, SearchResult, TrainTestSplit


def log_result(step: str, inputs: Sequence[Any], result: Any) -> None:
    """Write the lines to the log of the task.

    Parameters
    ----------
    step : str
        The name of the step.
    inputs : sequence
        The results of earlier steps; their warnings are logged already.
    result : Any
        The result of the step.
    """
    import structlog

    log = structlog.get_logger(logger_name="task")
    logged = {warning for value in inputs for warning in getattr(value, "warnings", ())}
    for warning in getattr(result, "warnings", ()):
        if warning not in logged:
            log.warning(warning)
    if (line := result_line(step, result)) is not None:
        log.info(line)


def result_line(step: str, result: Any) -> str | None:
    """Return the line about a step's result; None for a step without one."""
    if step == "save_batch":
        return f"the view shows the batch, load {result}"
    if step == "cut_shards":
        return f"the search is split into {len(result)} shards"
    format_line = _LINES.get(type(result))
    return None if format_line is None else format_line(result)


def _batch_line(batch: Batch) -> str:
    window = f", a window of {len(batch.window)} batches" if len(batch.window) > 1 else ""
    return f"{batch.package.n_rows} rows in package {batch.package.digest[:12]}{window}; run {batch.run.run_id}"


def _samples_line(samples: TrainTestSplit) -> str:
    train, test = (sum(package.n_rows for package in side) for side in (samples.train, samples.test))
    finished = "; the run has finished already, and its files are complete" if samples.finished else ""
    return f"{train} train rows, {test} test rows{finished}"


def _search_line(search: SearchResult) -> str:
    score = "not cross-validated"
    if search.cv_score_mean is not None:
        spread = "" if search.cv_score_std is None else f" ± {search.cv_score_std:.4f}"
        score = f"{search.scoring} {search.cv_score_mean:.4f}{spread} on {search.cv_folds} folds"
    best = _format_values(search.best_params)
    tuned_by = f" (tuned by {search.tuned_by})" if search.tuned_by else ""
    return f"{search.n_candidates} candidates on {search.n_train} samples{tuned_by}; best: {best}; {score}"


def _evaluation_line(evaluation: Evaluation) -> str:
    line = f"test scores on {evaluation.n_test} samples: {_format_values(evaluation.test_scores)}"
    return line + _comparison_clause(evaluation) + _match_clause(evaluation)


def _comparison_clause(evaluation: Evaluation) -> str:
    result = evaluation.comparison
    if result is not None:
        return (
            f"; on {result.n_compared} samples new to both: twin {_format_value(result.twin_score)}, champion "
            f"(version {evaluation.champion_version}) {_format_value(result.champion_score)}"
            f"{format_difference(result)}; "
            f"{result.test}, p = {result.p_worse:.2g}"
        )
    if evaluation.champion_version is None:
        return "; there is no champion to compare with"
    return f"; not compared with the champion, version {evaluation.champion_version}: {evaluation.uncompared}"


def _match_clause(evaluation: Evaluation) -> str:
    """Return the scores of challenger and champion; empty unless the policy is ``"proven"``."""
    match = evaluation.match
    if match is None:
        return f"; {evaluation.unmatched}" if evaluation.unmatched else ""
    if match.unusable:
        return f"; the challenger (version {match.challenger}) cannot be scored: {match.unusable}"
    return (
        f"; challenger (version {match.challenger}) {_format_value(match.challenger_score)}, champion (version "
        f"{match.champion}) {_format_value(match.champion_score)} on {match.n_compared} samples new to both; payoff "
        f"{match.payoff:+.2g}"
    )


def _run_line(run: Run) -> str:
    return f"recorded as {run.run_id}"


def _model_file_line(model: ModelFile) -> str:
    return f"fitted on all rows and saved: {model.path}, digest {model.digest[:12]}"


def _version_line(version: ModelVersion) -> str:
    return f"version {version.version} of {version.experiment}, digest {version.digest[:12]}"


def _decision_line(decision: Decision) -> str:
    if decision.proven is not None:
        return f"version {decision.proven} is promoted: {decision.reason}"
    return f"{'promoted' if decision.promoted else 'not promoted'}: {decision.reason}"


def _format_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_format_value(value)}" for name, value in values.items()) or "none"


def _format_value(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


_LINES: dict[type, Callable[[Any], str]] = {
    Batch: _batch_line,
    TrainTestSplit: _samples_line,
    SearchResult: _search_line,
    Evaluation: _evaluation_line,
    Run: _run_line,
    ModelFile: _model_file_line,
    ModelVersion: _version_line,
    Decision: _decision_line,
}
