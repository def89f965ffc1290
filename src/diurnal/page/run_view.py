"""View 3, a run: when and on what it ran, what its search and its evaluation found, and what was decided."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from diurnal.errors import NotFoundError
from diurnal.page.chart_responses import chart_response
from diurnal.page.classification_metrics import metric_rows
from diurnal.page.comparison_text import explain_challenge, explain_comparison
from diurnal.page.html_templates import experiment_timezone, render
from diurnal.page.interval_dates import format_date
from diurnal.page.run_details import (
    best_rows,
    curve_rows,
    drift_rows,
    find_run,
    packages_with_dates,
    read_run_details,
    score_slices,
)
from diurnal.page.run_files import RunFiles
from diurnal.page.value_formats import format_interval
from diurnal.page.viewer import ReadableExperiment

router = APIRouter(prefix="/experiments/{name}/runs/{run_id}")

CHART_TEXTS = {
    "roc": "ROC curve: the share of positives found, by the share of negatives taken for positives",
    "precision_recall": "Precision and recall at each threshold",
    "calibration": "Calibration: the observed share of positives, by the predicted probability",
    "histogram": "Predicted probabilities of positives and of negatives",
    "confusion": "Confusion matrix of the twin: true classes as rows, predicted ones as columns",
    "champion_confusion": "Confusion matrix of the champion on the same rows",
    "predicted_true": "Predictions of the twin by the true values",
    "champion_predicted_true": "Predictions of the champion by the true values",
    "residuals": "Residuals: true values less predictions",
}
"""The charts of an evaluation, and what they show."""


@router.get("")
def show_run(request: Request, name: ReadableExperiment, run_id: str) -> Response:
    """Show a run."""
    stores = request.app.state.stores.reader()
    run = find_run(stores, name, run_id)
    details = read_run_details(stores, run)
    charts = _evaluation_charts(details.evaluation, run["scoring"])
    timezone = experiment_timezone(request)
    interval = format_interval(run["data_interval_start"], run["data_interval_end"], timezone)
    return render(
        request,
        "run.html",
        title=f"{name} {interval}",
        name=name,
        run=run,
        details=details,
        interval=interval,
        date=format_date(run["data_interval_start"], timezone),
        format_date=partial(format_date, timezone=timezone),
        comparison=explain_comparison(run),
        challenge=explain_challenge(run["challenge"]),
        candidates=best_rows(details.candidates, run["scoring"]),
        slices=score_slices(details.evaluation),
        drift_columns=drift_rows(run["drift"]),
        evaluation_charts={name: CHART_TEXTS[name] for name in charts},
        curves=curve_rows(details.evaluation),
        metrics=metric_rows(details.evaluation),
        packages=packages_with_dates(run, timezone),
        now=datetime.now(UTC),
    )


@router.get("/charts/tuning.json")
def send_tuning_chart(request: Request, name: ReadableExperiment, run_id: str) -> Response:
    """Send the chart of the candidates of a search."""
    from diurnal.plots.tuning_chart import build_tuning

    stores = request.app.state.stores.reader()
    run = find_run(stores, name, run_id)
    candidates = RunFiles(stores.lake).candidates(run)
    if candidates is None:
        raise NotFoundError(f"run {run_id} has no candidates")
    timezone = experiment_timezone(request)
    interval = format_interval(run["data_interval_start"], run["data_interval_end"], timezone)
    return chart_response(build_tuning(candidates, name=interval, width="container"))


@router.get("/charts/{chart}.json")
def send_evaluation_chart(request: Request, name: ReadableExperiment, run_id: str, chart: str) -> Response:
    """Send a chart of the evaluation, such as ``roc.json``."""
    stores = request.app.state.stores.reader()
    run = find_run(stores, name, run_id)
    charts = _evaluation_charts(RunFiles(stores.lake).evaluation(run), run["scoring"])
    if chart not in charts:
        raise NotFoundError(f"run {run_id} has no chart {chart!r}")
    return chart_response(charts[chart])


def _evaluation_charts(evaluation: dict[str, Any] | None, scoring: str) -> dict[str, dict[str, Any]]:
    """Return the charts of an evaluation by name; importances and slices are tables of the page."""
    from diurnal.plots.evaluation_page import evaluation_parts

    if evaluation is None:
        return {}
    charts = evaluation_parts(evaluation, scoring=scoring, width="container")
    return {name: charts[name] for name in CHART_TEXTS if name in charts}
