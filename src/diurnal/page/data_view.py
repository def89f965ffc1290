"""View 5, the data: the columns of batches over time, their drift, and the distributions of one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from diurnal.errors import NotFoundError
from diurnal.page.chart_responses import chart_response
from diurnal.page.column_details import ColumnDistributions, find_reference, read_distributions
from diurnal.page.drift_strips import DriftStrip, drift_strips, intervals_per_cell
from diurnal.page.html_templates import experiment_timezone, render
from diurnal.page.interval_dates import format_date, parse_date
from diurnal.page.viewer import ReadableExperiment

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

router = APIRouter(prefix="/experiments/{name}/data")

Row = dict[str, Any]
Last = Annotated[Literal["30", "90", "365", "all"], Query()]
ColumnName = Annotated[str, Query(max_length=200)]
_MAX_COLUMNS = 200
_MAX_TABLE_ROWS = 60
_ROLES = {"target": 0, "prediction": 1, "feature": 2}
_NO_REFERENCE = datetime.min.replace(tzinfo=UTC)


@router.get("")
def show_data(
    request: Request, name: ReadableExperiment, date: str = "", column: ColumnName = "", last: Last = "90"
) -> Response:
    """Show the data of an experiment; `last` is the number of data intervals of the charts over time."""
    stores: Stores = request.app.state.stores.reader()
    warehouse = stores.warehouse
    batches = warehouse.batch_rows_over_time(name, None if last == "all" else int(last))
    if not batches:
        raise NotFoundError(f"{name} has no batch")
    timezone = experiment_timezone(request)
    around = warehouse.batches_around(name, parse_date(date, timezone) if date else batches[-1]["data_interval_start"])
    day = around["at"] or around["after"] or batches[0]
    summary = warehouse.profile_summary(name, day["data_interval_start"], day["batch_digest"])
    newest = warehouse.profiled_columns(name)
    since = batches[0]["data_interval_start"]
    per_cell = intervals_per_cell(len(batches))
    strips = drift_strips(warehouse.drift_cells(name, [one["data_interval_start"] for one in batches], per_cell))
    columns = _column_rows(strips, newest, (summary or {}).get("columns") or {})
    selected = column or (columns[0]["column"] if columns else "")
    return render(
        request,
        "data.html",
        title=f"{name} data",
        name=name,
        last=last,
        batches=batches,
        day=day,
        around=around,
        date=format_date(day["data_interval_start"], timezone),
        format_date=partial(format_date, timezone=timezone),
        summary=summary,
        run=warehouse.newest_run_at(name, day["data_interval_start"]),
        columns=columns[:_MAX_COLUMNS],
        n_columns=len(columns),
        n_cells=-(-len(batches) // per_cell),
        per_cell=per_cell,
        column=selected,
        info=next((one for one in columns if one["column"] == selected), None),
        history=_history_rows(stores, name, selected, since) if selected else [],
        n_history=_MAX_TABLE_ROWS,
    )


@router.get("/distribution")
def show_distribution(request: Request, name: ReadableExperiment, column: ColumnName, date: str) -> Response:
    """Show the distribution of a column in one batch beside the reference, as a part of the page."""
    stores: Stores = request.app.state.stores.reader()
    found = _distributions(stores, name, column, parse_date(date, experiment_timezone(request)))
    return render(request, "data_distribution.html", name=name, column=column, date=date, found=found)


@router.get("/charts/distribution.json")
def send_distribution_chart(request: Request, name: ReadableExperiment, column: ColumnName, date: str) -> Response:
    """Send the chart of the distribution of a column."""
    from diurnal.plots.distribution_chart import build_distribution

    start = parse_date(date, experiment_timezone(request))
    found = _distributions(request.app.state.stores.reader(), name, column, start)
    if found.batch is None:
        raise NotFoundError(f"the batch has no profile of {column!r}")
    reference = asdict(found.reference) if found.reference else None
    return chart_response(build_distribution(asdict(found.batch), reference, width="container"))


@router.get("/charts/column.json")
def send_column_chart(request: Request, name: ReadableExperiment, column: ColumnName, last: Last = "90") -> Response:
    """Send the chart of a column over time: its values, missing ones and new categories."""
    from diurnal.plots.column_history_chart import build_column_history
    from diurnal.plots.drift_strip_chart import measured_drift
    from diurnal.plots.timeline_data import local_records

    stores: Stores = request.app.state.stores.reader()
    since = _first_start(stores, name, last)
    series = stores.warehouse.column_series(name, column, since)
    records = [{**row, "summary": {"columns": {column: row["summary"]}}} for row in series if row["summary"]]
    timezone = experiment_timezone(request)
    measured = measured_drift(local_records(_drift_runs(stores, name, column, since), timezone))
    spec = build_column_history(local_records(records, timezone), measured, column, width="container")
    if spec is None:
        raise NotFoundError(f"no profile has the column {column!r}")
    return chart_response(spec)


@router.get("/charts/effect.json")
def send_effect_chart(request: Request, name: ReadableExperiment, column: ColumnName, last: Last = "90") -> Response:
    """Send the chart of the drift of a column over time."""
    from diurnal.plots.column_effect_chart import build_column_effect
    from diurnal.plots.timeline_data import local_records

    stores: Stores = request.app.state.stores.reader()
    rows = stores.warehouse.drift_over_time(name, _first_start(stores, name, last), column)
    if not rows:
        raise NotFoundError(f"no run has measured the drift of {column!r}")
    local = local_records(rows, experiment_timezone(request))
    return chart_response(build_column_effect(local, column, width="container"))


def _first_start(stores: Stores, name: str, last: str) -> datetime:
    if last == "all":
        return _NO_REFERENCE
    batches = stores.warehouse.batch_rows_over_time(name, int(last))
    return batches[0]["data_interval_start"] if batches else _NO_REFERENCE


def _drift_runs(stores: Stores, name: str, column: str, since: datetime) -> list[Row]:
    """Return runs with the drift of one column only."""
    return [
        {**row, "data_interval_end": row["data_interval_start"], "drift": {"columns": [row]}}
        for row in stores.warehouse.drift_over_time(name, since, column)
    ]


def _distributions(stores: Stores, name: str, column: str, start: datetime) -> ColumnDistributions:
    day = stores.warehouse.batches_around(name, start)["at"]
    if day is None:
        raise NotFoundError(f"{name} has no batch of {start:%Y-%m-%d %H:%M} UTC")
    measured = stores.warehouse.newest_drift(name, day["data_interval_start"])
    reference = find_reference(stores, name, measured["drift"] if measured else None)
    return read_distributions(stores, name, column, day["batch_digest"], reference)


def _column_rows(strips: Sequence[DriftStrip], newest: Mapping[str, Row], on_day: Mapping[str, Row]) -> list[Row]:
    """Return a row for each column: those with drift first, the strongest first, then the others by role and name."""
    rows: list[Row] = [{"column": strip.column, "role": strip.role, "strip": strip} for strip in strips]
    known = {strip.column for strip in strips}
    others = sorted({**newest, **on_day}.items(), key=lambda item: (_ROLES.get(item[1].get("role", ""), 3), item[0]))
    rows += [{"column": name, "role": one.get("role", ""), "strip": None} for name, one in others if name not in known]
    return [{**row, "day": on_day.get(row["column"]), "newest": newest.get(row["column"])} for row in rows]


def _history_rows(stores: Stores, name: str, column: str, since: datetime) -> list[Row]:
    """Return the newest values of a column, newest first, for those who do not see the chart; empty without values."""
    series = stores.warehouse.column_series(name, column, since, limit=_MAX_TABLE_ROWS)
    if not any(row["summary"] for row in series):
        return []
    first = series[0]["data_interval_start"]
    effects = {row["data_interval_start"]: row for row in stores.warehouse.drift_over_time(name, first, column)}
    return [{**row, "drift": effects.get(row["data_interval_start"])} for row in reversed(series)]
