"""View 1, all experiments: a row for each, with its last data intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from diurnal.page.html_templates import is_partial, page_links, render
from diurnal.page.interval_states import STATES, IntervalState, interval_state, interval_states
from diurnal.page.interval_strip import strip_html
from diurnal.page.page_stores import NoWarehouseError
from diurnal.page.score_lines import ScoreLines, score_lines
from diurnal.page.viewer import CurrentViewer
from diurnal.pipeline.health_report import read_deadlines

if TYPE_CHECKING:
    from diurnal.pipeline.deadlines import Deadline
    from diurnal.storage.warehouse import Warehouse

router = APIRouter()

N_INTERVALS = 60
_ROWS_PER_LOAD = 30

Sort = Literal["attention", "name", "last", "champion", "score", "warnings"]
Filter = Literal["overdue", "failed", "rejected", "running", "warnings", "drifted"]

_FILTER_LABELS: Mapping[Filter, str] = {
    "overdue": "overdue",
    "failed": "failed",
    "rejected": "with batches in quarantine",
    "running": "running",
    "warnings": "with warnings",
    "drifted": "with drift",
}


@dataclass(frozen=True)
class ExperimentRow:
    """A row of the table.

    Attributes
    ----------
    summary : Mapping of str to Any
        A row of :meth:`diurnal.storage.warehouse.Warehouse.experiment_summaries`.
    last : IntervalState
        The state of the last data interval.
    deadline : Deadline, optional
        When the next result is expected; None if none is.
    is_overdue : bool
        Whether that moment is over.
    """

    summary: Mapping[str, Any]
    last: IntervalState
    deadline: Deadline | None
    is_overdue: bool

    @property
    def name(self) -> str:
        """The name of the experiment."""
        name: str = self.summary["experiment"]
        return name

    @property
    def description(self) -> str:
        """The first line of its docstring; empty if it is not known."""
        return str(self.summary["description"] or "").strip().partition("\n")[0]

    @property
    def filters(self) -> frozenset[Filter]:
        """The filters that the row passes."""
        found: dict[Filter, bool] = {
            "overdue": self.is_overdue,
            "failed": self.last.state == "failed",
            "rejected": self.summary["n_rejected"] > 0,
            "running": self.last.state == "running",
            "warnings": self.summary["n_warned"] > 0,
            "drifted": bool(self.summary["n_drifted"]),
        }
        return frozenset(name for name, passes in found.items() if passes)

    @property
    def urgency(self) -> int:
        """0 for a row that needs no attention; more for one that needs it more."""
        weights = {"failed": 8, "overdue": 4, "rejected": 4, "drifted": 1}
        return sum(weight for name, weight in weights.items() if name in self.filters)


@router.get("/")
def show_experiments(
    request: Request,
    viewer: CurrentViewer,
    q: Annotated[str, Query(max_length=100)] = "",
    sort: Annotated[str, Query(pattern="^-?(attention|name|last|champion|score|warnings)$")] = "attention",
    only: Annotated[Filter | None, Query()] = None,
    after: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """Show the experiments that the viewer may see.

    Parameters
    ----------
    request, viewer
        The request and its viewer.
    q : str
        A part of a name or of a description.
    sort : str
        A column; with a minus sign, in descending order.
    only : str, optional
        Only experiments with this property.
    after : int
        The number of rows that the page has already.
    """
    now = datetime.now(UTC)
    warehouse = request.app.state.stores.reader().warehouse
    summaries = warehouse.experiment_summaries(n_intervals=N_INTERVALS)
    if not summaries:
        raise NoWarehouseError
    readable = [row for row in summaries if viewer.can_read(row["experiment"])]
    deadlines = read_deadlines(warehouse, now, [row["experiment"] for row in readable])
    rows = [experiment_row(row, deadlines.get(row["experiment"]), now) for row in readable]
    counts = {name: sum(name in row.filters for row in rows) for name in _FILTER_LABELS}
    matching = [row for row in rows if q.lower() in f"{row.name} {row.description.lower()}"]
    found = [row for row in matching if only is None or only in row.filters]
    found = sort_rows(found, sort)
    shown = found[after : after + _ROWS_PER_LOAD]
    states, lines = read_strips(warehouse, [row.summary for row in shown], now)
    zones = {row.name: row.summary["timezone"] for row in shown}
    link = page_links(request)
    part = "experiments_rows.html" if after else "experiments_found.html"
    return render(
        request,
        part if is_partial(request) else "experiments.html",
        title="Experiments",
        rows=shown,
        strips={
            name: strip_html(of_it, link("experiments", name), name, zones[name]) for name, of_it in states.items()
        },
        lines=lines,
        now=now,
        n_found=len(found),
        n_all=len(rows),
        next_after=after + len(shown) if after + len(shown) < len(found) else None,
        query={"q": q, "sort": sort if sort != "attention" else None, "only": only},
        sort=sort,
        counts=counts,
        filter_labels=_FILTER_LABELS,
        state_labels=STATES,
    )


def experiment_row(summary: Mapping[str, Any], deadline: Deadline | None, now: datetime) -> ExperimentRow:
    """Return the row of a summary."""
    head = {**summary, "is_lacking": summary["lacking"] is not None}
    is_of_last = summary["run_id"] is not None and summary["run_start"] == summary["data_interval_start"]
    failure = None
    if summary["failed_at"] is not None:
        failure = {**summary, "is_rejected": summary["quarantine"] is not None}
    last = interval_state(head, summary if is_of_last else None, failure, now, summary["duration"])
    return ExperimentRow(summary, last, deadline, deadline is not None and deadline.expected_at <= now)


def sort_rows(rows: Sequence[ExperimentRow], sort: str) -> list[ExperimentRow]:
    """Return rows in the order of a column; a minus sign reverses it. Rows without a value come last."""
    keys: dict[str, Callable[[ExperimentRow], Any]] = {
        "name": lambda row: row.name,
        "last": lambda row: row.summary["decided_at"],
        "champion": lambda row: row.summary["promoted_at"],
        "score": lambda row: row.summary["test_score"],
        "warnings": lambda row: row.summary["n_warned"] + row.summary["n_rejected"],
    }
    column = sort.removeprefix("-")
    by_name = sorted(rows, key=lambda row: row.name)
    if column == "attention":
        return sorted(by_name, key=lambda row: -row.urgency)
    key = keys[column]
    present = [row for row in by_name if key(row) is not None]
    absent = [row for row in by_name if key(row) is None]
    return sorted(present, key=key, reverse=sort.startswith("-")) + absent


def read_strips(
    warehouse: Warehouse, summaries: Sequence[Mapping[str, Any]], now: datetime
) -> tuple[dict[str, list[IntervalState]], dict[str, ScoreLines]]:
    """Return the states of the last data intervals of experiments, and the lines of their scores."""
    if not summaries:
        return {}, {}
    heads = warehouse.last_intervals([row["experiment"] for row in summaries], n_intervals=N_INTERVALS)
    since: dict[str, datetime] = {}
    for head in heads:
        since.setdefault(head["experiment"], head["data_interval_start"])
    runs = warehouse.newest_runs_since(since)
    failures = warehouse.newest_failures_since(since)
    durations = {row["experiment"]: row["duration"] for row in summaries}
    states = interval_states(heads, runs, failures, now, durations, N_INTERVALS)
    lines = {
        name: score_lines(
            [state.run["test_score"] if state.run else None for state in of_it],
            [state.run["champion_score"] if state.run else None for state in of_it],
        )
        for name, of_it in states.items()
    }
    return states, lines
