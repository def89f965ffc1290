"""The content of the report of a run: what the warehouse and the lake have about it, and what stands out.

A run of an earlier release has no profile and no evaluation data, and a file may be lost: what is missing is a note in
the report.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from diurnal.errors import NotFoundError
from diurnal.page.comparison_text import explain_comparison, verdict_of_run
from diurnal.page.run_details import RunDetails, read_run_details
from diurnal.page.small_distributions import distribution_images

if TYPE_CHECKING:
    from diurnal.experiment.code import Code
    from diurnal.storage.stores import Stores

Row = dict[str, Any]
Level = Literal["good", "attention", "problem"]

_KEY = re.compile(r"-(\d{8}T\d{6}(?:Z|[+-]\d{4}))-[0-9a-f]+$")
_DAY_HOURS = (timedelta(hours=23), timedelta(hours=25))  # of a day on which clocks change


@dataclass(frozen=True)
class Finding:
    """A sentence about a run that stands out.

    Attributes
    ----------
    level : {"good", "attention", "problem"}
        How it is marked.
    text : str
        The sentence.
    """

    level: Level
    text: str


@dataclass(frozen=True)
class ReportContent:
    """What a report shows.

    Attributes
    ----------
    details : RunDetails
        The run, as its view shows it.
    history : list of dict
        The rows of the experiment's runs up to it, oldest first.
    version : dict or None
        The row of the model version that it published.
    champion : dict or None
        The newest promotion, with the champion's run and data interval.
    promotions, failures : list of dict
        The promotions and the failures of the experiment, newest first.
    contracts : list of dict
        The versions of the contract.
    profile : dict or None
        The summary of the profile of its batch.
    timezone : str
        The timezone of the experiment.
    distributions : dict of str to str
        Images of the distributions of the columns with the strongest drift.
    """

    details: RunDetails
    history: list[Row]
    version: Row | None
    champion: Row | None
    promotions: list[Row]
    failures: list[Row]
    contracts: list[Row]
    profile: Row | None
    timezone: str
    distributions: dict[str, str]

    @property
    def run(self) -> Row:
        """The row of the run."""
        return self.details.run

    @property
    def interval(self) -> str:
        """The data interval in the timezone of the experiment."""
        return interval_label(self.run)

    @property
    def description(self) -> str:
        """The docstring of the experiment as the run had it; empty without code."""
        return docstring_of(self.details.code) if self.details.code else ""

    @property
    def decision(self) -> str:
        """The outcome of the run in one sentence."""
        run, champion = self.run, self.run["champion_version"]
        if run["decided_at"] is None:
            return "The run has no decision: it is not finished, or it was interrupted."
        if run["promoted"]:
            return f"Version {run['model_version']} became the champion."
        kept = f"Version {champion} stayed the champion." if champion else "There is no champion."
        return f"Version {run['model_version']} was published and not promoted. {kept}"

    @property
    def findings(self) -> list[Finding]:
        """What stands out, the most important first."""
        found = [*self._decision_findings(), *self._drift_findings()]
        if n := len(self.run["warnings"]):
            found.append(Finding("attention", f"The run has {_count(n, 'warning')}."))
        found += [Finding("attention", text) for text in self.details.lost]
        return sorted(found, key=lambda one: ("problem", "attention", "good").index(one.level))

    @property
    def level(self) -> Level:
        """The level of the most important finding."""
        return self.findings[0].level if self.findings else "good"

    def _decision_findings(self) -> list[Finding]:
        run = self.run
        if run["decided_at"] is None:
            return [Finding("problem", "The run is not finished.")]
        if run["uncompared"]:
            return [Finding("attention", explain_comparison(run))]
        verdict = verdict_of_run(run)
        if not run["promoted"] and verdict in ("worse", "probably worse"):
            found = "worse than the champion by more than chance" if verdict == "worse" else "probably worse"
            return [Finding("attention", f"The new model is {found}; the champion keeps serving.")]
        return [Finding("good", "The run is finished, and its model is published.")]

    def _drift_findings(self) -> list[Finding]:
        drift = self.run["drift"]
        if not drift:
            return []
        n, total = drift.get("n_drifted", 0), drift.get("n_columns", 0)
        if not n:
            return [Finding("good", f"None of {_count(total, 'column')} drifted from the champion's training data.")]
        named = ", ".join(str(column["column"]) for column in drift["columns"] if column.get("drifted"))
        short = named if len(named) <= 200 else f"{named[:199]}…"
        return [Finding("attention", f"{n} of {_count(total, 'column')} drifted: {short}.")]


def read_report_content(stores: Stores, run: Row) -> ReportContent:
    """Read what a report shows; no model and no batch is loaded.

    Parameters
    ----------
    stores : Stores
        The stores.
    run : dict
        The row of the run.
    """
    warehouse, name = stores.warehouse, run["experiment"]
    history = [row for row in warehouse.runs(name) if row["data_interval_start"] <= run["data_interval_start"]]
    return ReportContent(
        details=read_run_details(stores, run),
        history=history[::-1],
        version=warehouse.version(name, run["model_version"]) if run["model_version"] else None,
        champion=warehouse.newest_promotion(name),
        promotions=warehouse.promotions(name),
        failures=warehouse.failures(name),
        contracts=warehouse.contracts(name),
        profile=warehouse.profile_summary(name, run["data_interval_start"], run["batch_digest"]),
        timezone=warehouse.timezone_of(name),
        distributions=distribution_images(stores, run),
    )


def select_run(stores: Stores, experiment: str, date: str | None = None) -> Row:
    """Return the newest run of an experiment, or the newest one of the data interval that contains a date.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str
        Name of the experiment.
    date : str, optional
        A date in the timezone of the experiment, such as ``2026-11-23``, or a prefix of a run id's time.

    Raises
    ------
    NotFoundError
        If there is no such run; the message lists the nearest dates.
    """
    runs = stores.warehouse.runs(experiment)
    if not runs:
        raise NotFoundError(f"{experiment} has no run yet", hint=f"run it first: diurnal run {experiment}")
    if date is None:
        return runs[0]
    found = [run for run in runs if _includes_date(run, date)]
    if found:
        return max(found, key=lambda run: run["recorded_at"])
    labels = list(dict.fromkeys(interval_label(run) for run in runs))
    nearest = sorted(labels, key=lambda label: _days_apart(label, date))[:5]
    message = f"{experiment} has no run of {date}; the nearest are {', '.join(sorted(nearest))}"
    raise NotFoundError(message, hint=f"list them with: diurnal runs {experiment}")


def interval_label(run: Mapping[str, Any]) -> str:
    """Return the data interval of a run as a date, or as its start with a time, in the timezone of the experiment.

    Examples
    --------
    >>> from datetime import UTC
    >>> start = datetime(2026, 3, 8, 5, tzinfo=UTC)
    >>> run = {"data_interval_start": start, "data_interval_end": start + timedelta(hours=23)}
    >>> interval_label(run | {"run_id": "late-20260308T000000-0500-0123456789ab"})
    '2026-03-08'
    >>> interval_label(run | {"run_id": "late-20260308T050000Z-0123456789ab"})
    '2026-03-08 05:00'
    """
    start = local_start(run)
    duration = run["data_interval_end"] - run["data_interval_start"]
    is_day = (start.hour, start.minute) == (0, 0) and duration >= _DAY_HOURS[0]
    if not is_day:
        return f"{start:%Y-%m-%d %H:%M}"
    if duration <= _DAY_HOURS[1]:
        return f"{start:%Y-%m-%d}"
    last = start + duration - timedelta(hours=12)
    return f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"


def local_start(run: Mapping[str, Any]) -> datetime:
    """Return the start of a run's data interval with the offset of the experiment's timezone, which the id has."""
    match = _KEY.search(run["run_id"])
    start: datetime = run["data_interval_start"]
    return start.astimezone(datetime.strptime(match[1], "%Y%m%dT%H%M%S%z").tzinfo) if match else start


def docstring_of(code: Code) -> str:
    """Return the docstring of an experiment from its stored text; nothing is imported.

    Examples
    --------
    >>> from diurnal.experiment.code import Code
    >>> docstring_of(Code("", "late", "late.py", {}, {}, {"late.py": "def late(): 'Predict.'"}))
    'Predict.'
    """
    try:
        tree = ast.parse(code.files.get(code.file or "", ""))
    except (SyntaxError, ValueError):
        return ""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == code.name]
    return (ast.get_docstring(functions[-1]) or "") if functions else ""


def _includes_date(run: Mapping[str, Any], date: str) -> bool:
    """Return whether a data interval contains a date, or begins with a time that begins so."""
    start = local_start(run)
    if start.isoformat().startswith(date.replace(" ", "T")):
        return True
    end = start + (run["data_interval_end"] - run["data_interval_start"])
    return f"{start:%Y-%m-%d}" <= date <= f"{end - timedelta(seconds=1):%Y-%m-%d}" and len(date) == len("2026-11-23")


def _days_apart(label: str, date: str) -> float:
    try:
        return abs((datetime.fromisoformat(label[:10]) - datetime.fromisoformat(date[:10])).days)
    except ValueError:
        return 0.0


def _count(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> _count(1, "warning"), _count(2, "warning")
    ('1 warning', '2 warnings')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
