"""What is wrong with an experiment: overdue, rejected, failed, without a champion, with an old one, or drifted.

The functions are pure: they read a :class:`~diurnal.pipeline.history.History`, a declaration and the present time.
:mod:`diurnal.pipeline.health_report` reads them from the stores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from diurnal.pipeline.accept_command import date_argument
from diurnal.pipeline.deadlines import LEAST_TOLERANCE, Deadline, count_intervals, next_deadline

if TYPE_CHECKING:
    from diurnal.pipeline.history import History, RecordedFailure
    from diurnal.types.recorded_declaration import Scheduled

Kind = Literal["unreachable", "invalid", "overdue", "rejected", "failed", "no-champion", "old-champion", "drifted"]

KINDS: tuple[Kind, ...] = (
    "unreachable",
    "invalid",
    "overdue",
    "rejected",
    "failed",
    "no-champion",
    "old-champion",
    "drifted",
)
"""The kinds of findings, the most urgent first."""

_ACCEPT = re.compile(r"diurnal contract \S+ (?:accept|diff) .*")
_MAX_TEXT = 300


@dataclass(frozen=True)
class Thresholds:
    """What counts as a finding.

    Attributes
    ----------
    tolerance : datetime.timedelta
        The least time between complete data and an overdue result; durations that were seen are added.
    temporary : datetime.timedelta
        How long temporary failures may last, as they are retried.
    champion_age : datetime.timedelta or None
        The largest age of a champion's promotion. None: any age.
    """

    tolerance: timedelta = LEAST_TOLERANCE
    temporary: timedelta = timedelta(hours=1)
    champion_age: timedelta | None = None


DEFAULT_THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    experiment : str or None
        The experiment; None: the whole deployment.
    kind : str
        One of :data:`KINDS`.
    since : datetime or None
        Since when, in UTC; None if unknown.
    message : str
        What is wrong.
    action : str
        What to do: in most cases a command.
    """

    experiment: str | None
    kind: Kind
    since: datetime | None
    message: str
    action: str

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain JSON types."""
        since = None if self.since is None else self.since.isoformat(timespec="seconds")
        return {**vars(self), "since": since}

    @property
    def predicate(self) -> str:
        """The kind, as the predicate of a sentence about the experiment."""
        return _PREDICATES[self.kind]

    def __str__(self) -> str:
        since = "" if self.since is None else f" since {self.since:%Y-%m-%d %H:%M} UTC"
        return (
            f"{self.experiment or 'this deployment'} is {self.predicate}{since}\n  {self.message}\n  -> {self.action}"
        )


_PREDICATES: dict[Kind, str] = {
    "unreachable": "not reachable",
    "invalid": "not valid",
    "no-champion": "without a champion",
    "old-champion": "served by an old champion",
    "overdue": "overdue",
    "rejected": "without a result (its batch is rejected)",
    "failed": "without a result (a step failed)",
    "drifted": "drifted",
}


def find_problems(
    history: History,
    experiment: Scheduled | None,
    now: datetime,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> list[Finding]:
    """Return what is wrong with an experiment, the most urgent first.

    Parameters
    ----------
    history : History
        Its newest results and failures.
    experiment : Scheduled, optional
        Its declaration, in the project or as it was recorded; None if it is not known.
    now : datetime
        The present time.
    thresholds : Thresholds
        What counts as a finding.

    Returns
    -------
    list of Finding
    """
    found = [
        *_find_failures(history, experiment, now, thresholds),
        *_find_champion_problems(history, experiment, now, thresholds),
        *_find_drift(history, experiment),
    ]
    deadline = next_deadline(history, experiment, now, least=thresholds.tolerance)
    if deadline is not None and deadline.expected_at <= now and not _is_explained(history, deadline, found, now):
        found.append(_overdue(history, experiment, deadline, now))
    return sorted(found, key=lambda finding: KINDS.index(finding.kind))


def _is_explained(history: History, deadline: Deadline, found: list[Finding], now: datetime) -> bool:
    """Return whether the missing result is already a finding: an attempt on the newest data interval has failed."""
    if not any(finding.kind in ("rejected", "failed") for finding in found):
        return False
    length = deadline.interval.end - deadline.interval.start
    newest_due = now - (deadline.expected_at - deadline.interval.end) - length
    failures = (failure for failure in history.open_failures if not failure.is_of_scoring)
    return any(failure.interval.end > newest_due for failure in failures)


def _overdue(history: History, experiment: Scheduled | None, deadline: Deadline, now: datetime) -> Finding:
    n = count_intervals(experiment, deadline, now)
    missing = "one data interval has" if n == 1 else f"{n} data intervals have" if n < 100 else "100 or more have"
    if history.answered_until is None:
        message = f"it has never had a result; that of {deadline.interval} was expected"
    else:
        message = f"there is no result for {deadline.interval}; {missing} none"
    if experiment is None:
        message += " (estimated from earlier data intervals, as its declaration is not known here)"
    never_ran = history.answered_until is None and (experiment is None or experiment.start_date is None)
    date = date_argument(deadline.interval, experiment)
    command = f"diurnal run {history.name} --date {date}" if never_ran else f"diurnal run {history.name} --next"
    return Finding(history.name, "overdue", None if never_ran else deadline.expected_at, message, command)


def _find_failures(
    history: History, experiment: Scheduled | None, now: datetime, thresholds: Thresholds
) -> Iterator[Finding]:
    """Yield a finding for rejected batches, and one for other failures, that no result has followed."""
    rejected = [failure for failure in history.open_failures if failure.is_rejection]
    failed = [failure for failure in history.open_failures if not failure.is_rejection]
    if rejected:
        newest = rejected[0]
        action = _ACCEPT.search(newest.row["error"].get("hint") or "")
        run = f"diurnal run {history.name} --date {date_argument(newest.interval, experiment)}"
        message = f"{newest.interval}: {_shorten_message(newest)}"
        if newest.row["quarantine"]:
            message += f"; the batch is kept in {newest.row['quarantine']}"
        yield Finding(history.name, "rejected", _first_time(rejected), message, action[0] if action else run)
    if failed and not _is_retried(failed, now, thresholds):
        newest = failed[0]
        times = f"{len(failed)} attempts failed, the newest at" if len(failed) > 1 else "one attempt failed, at"
        message = f"{newest.interval}: {times} {newest.row['step']}: {newest.type}: {_shorten_message(newest)}"
        command = "score" if newest.is_of_scoring else "run"
        run = f"diurnal {command} {history.name} --date {date_argument(newest.interval, experiment)}"
        yield Finding(history.name, "failed", _first_time(failed), message, run)


def _is_retried(failures: list[RecordedFailure], now: datetime, thresholds: Thresholds) -> bool:
    """Return whether all failures are temporary and recent, so that a retry may follow."""
    return all(one.is_temporary for one in failures) and now - _first_time(failures) < thresholds.temporary


def _first_time(failures: list[RecordedFailure]) -> datetime:
    return min(failure.at for failure in failures)


def _shorten_message(failure: RecordedFailure) -> str:
    """Return the first problem of a rejection, else the first line of the message, shortened."""
    error = failure.row["error"]
    problems = error.get("problems") or []
    text = str(problems[0].get("message") if problems else error.get("message") or "").partition("\n")[0]
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
    return (text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…") + more


def _find_champion_problems(
    history: History, experiment: Scheduled | None, now: datetime, thresholds: Thresholds
) -> Iterator[Finding]:
    """Yield a finding if no version serves, or one for too long; ``promotion="never"`` declares that this is fine."""
    if experiment is not None and experiment.promotion == "never":
        return
    name, champion, age = history.name, history.champion, thresholds.champion_age
    if champion is None:
        versions = [run for run in history.runs if run.row["model_version"] is not None]
        if versions and experiment is not None:
            message = f"{_count(len(versions), 'run')} published a model, and none was promoted"
            action = f"diurnal promote {name} {versions[0].row['model_version']}"
            yield Finding(name, "no-champion", min(run.row["decided_at"] for run in versions), message, action)
    elif age is not None and now - champion["promoted_at"] > age:
        days = (now - champion["promoted_at"]).days
        message = f"version {champion['version']} has been the champion for {_count(days, 'day')}"
        yield Finding(name, "old-champion", champion["promoted_at"] + age, message, f"diurnal runs {name}")


def _find_drift(history: History, experiment: Scheduled | None) -> Iterator[Finding]:
    """Yield a finding if the newest run has drifted, since the first of the successive runs that have."""
    drifted = list(takewhile(lambda run: run.has_drifted, history.runs))
    if not drifted:
        return
    newest = drifted[0]
    row, strongest = newest.row, newest.row["strongest_drift"] or []
    columns = ", ".join(_describe_drift(column) for column in strongest if column.get("drifted", True))
    version = f" of version {row['drift_version']}" if row["drift_version"] is not None else ""
    message = (
        f"{newest.interval}: {row['n_drifted']} of {_count(row['n_columns'] or 0, 'column')} differ from the training "
        f"window{version}" + (f": {columns}" if columns else "")
    )
    action = f"diurnal report {history.name} --date {date_argument(newest.interval, experiment)}"
    yield Finding(history.name, "drifted", drifted[-1].row["decided_at"], message, action)


def _describe_drift(column: dict[str, Any]) -> str:
    effect = column.get("effect")
    return f"{column.get('column')} ({effect:.2f})" if isinstance(effect, int | float) else str(column.get("column"))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
