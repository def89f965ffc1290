"""Two runs of an experiment beside each other: scores, parameters, data, code, libraries, and curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from diurnal.errors import NotFoundError
from diurnal.page.chart_responses import chart_response
from diurnal.page.code_diff import diff_code
from diurnal.page.html_templates import experiment_timezone, render
from diurnal.page.run_details import compare_values, find_run, packages_with_dates, step_durations
from diurnal.page.run_files import RunFiles
from diurnal.page.run_view import CHART_TEXTS
from diurnal.page.value_formats import format_interval
from diurnal.page.viewer import ReadableExperiment

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

router = APIRouter(prefix="/experiments/{name}/compare")

Row = dict[str, Any]
RunId = Annotated[str, Query(max_length=200)]


@router.get("")
def show_comparison(request: Request, name: ReadableExperiment, a: RunId = "", b: RunId = "") -> Response:
    """Show two runs beside each other; without two, what to do."""
    if not (a and b):
        return render(request, "compare.html", title=f"{name}: two runs", name=name, runs=None)
    stores: Stores = request.app.state.stores.reader()
    runs = find_run(stores, name, a), find_run(stores, name, b)
    files = RunFiles(stores.lake)
    codes = [files.code(run) for run in runs]
    evaluations = [files.evaluation(run) for run in runs]
    labels = _labels_of(*runs, experiment_timezone(request))
    return render(
        request,
        "compare.html",
        title=f"{name}: {labels[0]} and {labels[1]}",
        name=name,
        runs=runs,
        labels=labels,
        scores=_score_rows(*runs),
        parameters=compare_values(runs[1]["best_params"], runs[0]["best_params"]),
        conditions=compare_values(*(_conditions_of(run) for run in reversed(runs))),
        libraries=compare_values(runs[1]["library_versions"], runs[0]["library_versions"]),
        environment=compare_values(runs[1]["environment"], runs[0]["environment"]),
        durations=_duration_rows(*runs),
        packages=_package_rows(*runs, experiment_timezone(request)),
        code=diff_code(codes[0], codes[1]) if codes[0] and codes[1] else None,
        declared=[text for text in codes[1].changes(codes[0]) if text not in codes[1].files]
        if codes[0] and codes[1]
        else [],
        charts={key: CHART_TEXTS[key] for key in _comparison_charts(evaluations, labels, runs[1]["scoring"])},
        without=[label for label, found in zip(labels, evaluations, strict=True) if found is None],
        lost=files.lost,
    )


@router.get("/charts/{chart}.json")
def send_comparison_chart(request: Request, name: ReadableExperiment, chart: str, a: RunId, b: RunId) -> Response:
    """Send a chart of the evaluations of both runs, such as ``roc.json``."""
    stores: Stores = request.app.state.stores.reader()
    runs = find_run(stores, name, a), find_run(stores, name, b)
    files = RunFiles(stores.lake)
    labels = _labels_of(*runs, experiment_timezone(request))
    charts = _comparison_charts([files.evaluation(run) for run in runs], labels, runs[1]["scoring"])
    if chart not in charts:
        raise NotFoundError(f"these runs have no chart {chart!r}")
    return chart_response(charts[chart])


def _comparison_charts(evaluations: list[Row | None], labels: tuple[str, str], scoring: str) -> dict[str, Row]:
    """Return the charts of two evaluations; those of the second run take the place of the champion's."""
    from diurnal.plots.evaluation_page import evaluation_parts

    names = ("twin", "champion")
    models = {
        name: twin
        for name, evaluation in zip(names, evaluations, strict=True)
        if (twin := ((evaluation or {}).get("models") or {}).get("twin"))
    }
    if not models:
        return {}
    merged = {"models": models, "labels": dict(zip(names, labels, strict=True))}
    charts = evaluation_parts(merged, scoring=scoring, width="container")
    return {name: charts[name] for name in CHART_TEXTS if name in charts}


def _labels_of(first: Row, second: Row, timezone: str) -> tuple[str, str]:
    """Return a label for each run: its data interval, with the version where both are of one interval."""
    one, other = (
        format_interval(run["data_interval_start"], run["data_interval_end"], timezone) for run in (first, second)
    )
    if one != other:
        return one, other
    texts = [f"version {run['model_version']}" if run["model_version"] else "no version" for run in (first, second)]
    return (f"{one}, {texts[0]}", f"{other}, {texts[1]}") if texts[0] != texts[1] else (f"{one}, A", f"{other}, B")


def _score_rows(first: Row, second: Row) -> list[Row]:
    """Return the scores of both runs, and their differences."""
    names = dict.fromkeys([*first["test_scores"], *second["test_scores"]])
    rows = [(f"{name}, test rows", first["test_scores"].get(name), second["test_scores"].get(name)) for name in names]
    if not rows:
        rows = [("test rows", first["test_score"], second["test_score"])]
    rows.append(("cross-validated", first["cv_score_mean"], second["cv_score_mean"]))
    rows.append(("champion, new rows", first["champion_score"], second["champion_score"]))
    return [
        {"name": name, "a": one, "b": other, "difference": None if one is None or other is None else other - one}
        for name, one, other in rows
        if one is not None or other is not None
    ]


def _conditions_of(run: Row) -> Row:
    """Return the conditions of a run that are single values."""
    names = ("n_train", "n_test", "n_candidates", "cv_folds", "scoring", "window", "test_size", "target")
    return {name: run[name] for name in (*names, "contract_version", "champion_version")}


def _duration_rows(first: Row, second: Row) -> list[Row]:
    durations = [dict(step_durations(run)) for run in (first, second)]
    longest = max([1e-9, *durations[0].values(), *durations[1].values()])
    return [
        {"step": step, "a": durations[0].get(step), "b": durations[1].get(step), "longest": longest}
        for step in dict.fromkeys([*durations[0], *durations[1]])
    ]


def _package_rows(first: Row, second: Row, timezone: str) -> Row:
    """Return which batches both runs, or one of them, have learnt from."""
    sides = [
        {package["digest"]: package for package in packages_with_dates(run, timezone)[::-1]} for run in (first, second)
    ]
    return {
        "both": len(sides[0].keys() & sides[1].keys()),
        "a": [package for digest, package in sides[0].items() if digest not in sides[1]],
        "b": [package for digest, package in sides[1].items() if digest not in sides[0]],
    }
