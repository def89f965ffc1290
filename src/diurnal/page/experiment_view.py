"""View 2, one experiment: its timeline, runs, versions, contract, and what failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from diurnal.errors import NotFoundError
from diurnal.page.chart_responses import chart_response
from diurnal.page.experiments_view import N_INTERVALS, experiment_row, read_strips
from diurnal.page.html_templates import experiment_timezone, page_links, partial_target, render
from diurnal.page.interval_strip import strip_html
from diurnal.page.run_filter import RunFilter, page_key
from diurnal.page.viewer import CurrentViewer, ReadableExperiment
from diurnal.pipeline.health_report import read_deadlines

if TYPE_CHECKING:
    from diurnal.storage.warehouse import Warehouse

router = APIRouter(prefix="/experiments/{name}")

_N_RUNS = 25
_N_VERSIONS = 10
_N_FAILURES = 20
_N_LIVE_SCORES = 30
_MAX_LIVE_SCORES = 400
_MAX_TIMELINE = 1200
_COMMAND = re.compile(r"diurnal (?:contract|run|verify|gc) [^;]+")

DONE = {
    "promote": "The version is the champion now.",
    "rollback": "The champion is rolled back.",
    "contract": "The contract has a new version. Run the data interval again.",
}
"""What a change has done, for the page after it."""


@router.get("")
def show_experiment(
    request: Request,
    name: ReadableExperiment,
    viewer: CurrentViewer,
    runs: Annotated[RunFilter, Depends()],
    versions_before: Annotated[int | None, Query(ge=1)] = None,
    done: Annotated[str, Query(max_length=20)] = "",
    warning: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Show an experiment; htmx asks for the runs or the versions alone."""
    warehouse: Warehouse = request.app.state.stores.reader().warehouse
    now = datetime.now(UTC)
    context: dict[str, Any] = {"name": name, "now": now, "may_change": viewer.can_change(name)}
    target = partial_target(request)
    if target == "runs":
        return render(
            request,
            "experiment_runs.html",
            **context,
            **_run_context(warehouse, name, runs, experiment_timezone(request)),
        )
    if target == "versions":
        return render(
            request, "experiment_versions.html", **context, **_version_context(warehouse, name, versions_before)
        )
    summaries = warehouse.experiment_summaries([name], n_intervals=N_INTERVALS)
    if not summaries:
        raise NotFoundError(f"there is no experiment {name!r}")
    states, lines = read_strips(warehouse, summaries, now)
    return render(
        request,
        "experiment.html",
        title=name,
        **context,
        row=experiment_row(summaries[0], read_deadlines(warehouse, now, [name]).get(name), now),
        strip=strip_html(
            states.get(name, []), page_links(request)("experiments", name), name, summaries[0]["timezone"]
        ),
        lines=lines.get(name),
        done=DONE.get(done),
        warning=warning if done in DONE else "",
        **_run_context(warehouse, name, runs, experiment_timezone(request)),
        **_version_context(warehouse, name, versions_before),
        **_contract_context(warehouse, name),
        failures=_failure_rows(warehouse, name),
        live_scores=warehouse.live_scores(name, limit=_N_LIVE_SCORES)[::-1],
        of_version=False,
        may_accept=viewer.can_change(name) and request.app.state.contracts is not None,
    )


@router.get("/charts/timeline.json")
def show_timeline(request: Request, name: ReadableExperiment) -> Response:
    """Return the chart of the timeline."""
    from diurnal.plots.timeline_chart import build_timeline

    warehouse: Warehouse = request.app.state.stores.reader().warehouse
    records = warehouse.timeline_records(name, limit=_MAX_TIMELINE)
    return chart_response(build_timeline(**records, timezone=experiment_timezone(request), width="container"))


@router.get("/charts/live_scores.json")
def show_live_scores(request: Request, name: ReadableExperiment) -> Response:
    """Return the chart of live scores."""
    from diurnal.plots.live_score_chart import build_live_scores

    warehouse: Warehouse = request.app.state.stores.reader().warehouse
    rows = warehouse.live_scores(name, limit=_MAX_LIVE_SCORES)
    return chart_response(build_live_scores(rows, timezone=experiment_timezone(request), width="container"))


def _run_context(warehouse: Warehouse, name: str, runs: RunFilter, timezone: str) -> dict[str, Any]:
    rows = warehouse.run_page(name, conditions=runs.conditions(timezone), before=runs.last_key(), limit=_N_RUNS + 1)
    shown = rows[:_N_RUNS]
    return {
        "runs": shown,
        "run_filter": runs,
        "next_before": page_key(shown[-1]) if len(rows) > _N_RUNS else None,
    }


def _version_context(warehouse: Warehouse, name: str, before: int | None) -> dict[str, Any]:
    rows = warehouse.version_page(name, before=before, limit=_N_VERSIONS + 1)
    shown = rows[:_N_VERSIONS]
    promotions = warehouse.promotion_page(name, limit=_N_VERSIONS)
    return {
        "versions": shown,
        "promotions": promotions,
        "champion": promotions[0]["version"] if promotions else None,
        "versions_before": before,
        "next_versions": shown[-1]["version"] if len(rows) > _N_VERSIONS else None,
    }


def _contract_context(warehouse: Warehouse, name: str) -> dict[str, Any]:
    from diurnal.data.contract_changes import Change

    history = warehouse.contract_history(name)
    for row in history:
        row["changes"] = [str(Change(**change)) for change in row["changes"]]
    return {"contract": contract_columns(warehouse.schema(name)), "contract_history": history}


def contract_columns(content: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return a row for each column of a contract, with its role."""
    if content is None:
        return []
    roles = dict.fromkeys(content.get("drop") or (), "dropped") | dict.fromkeys(content.get("key") or (), "key")
    roles |= {content["target"]: "target"}
    return [{**column, "role": roles.get(column["name"], "feature")} for column in content["columns"]]


def _failure_rows(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    """Return the last failures, unresolved ones first, each with its hint and the commands in it."""
    rows = warehouse.failure_page(name, limit=_N_FAILURES)
    for row in rows:
        hint = row["error"].get("hint") or ""
        row["commands"] = _COMMAND.findall(hint)
        row["hint"] = _COMMAND.sub("", hint).rstrip(": ")
    return sorted(rows, key=lambda row: row["is_resolved"])
