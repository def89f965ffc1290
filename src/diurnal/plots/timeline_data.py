"""The records of an experiment as the rows and marks of its timeline."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Any

from diurnal.plots.chart_values import as_number, clean_text, epoch_milliseconds, is_log_spaced, value_text
from diurnal.types import timezones

Record = Mapping[str, Any]

MAX_INTERVALS = 1_200
MAX_MARKS = 400
MAX_PARAMETERS = 8
PROMOTED, ROLLED_BACK, REJECTED, FAILED, CODE, CONTRACT = (
    "promotion",
    "rollback",
    "rejected batch",
    "failure",
    "code change",
    "contract change",
)
MARK_KINDS = (PROMOTED, ROLLED_BACK, REJECTED, FAILED, CODE, CONTRACT)
_MISSING = object()


@dataclass(frozen=True)
class TimelineParameter:
    """A tuned parameter over time.

    Attributes
    ----------
    name : str
        Its name, for a title.
    row_field : str
        The field of the rows with its value, if it is numeric.
    is_log : bool
        Whether its values are spaced evenly on a logarithmic axis.
    stretches : list of dict
        Otherwise: spans of equal values, with start `d`, end `e`, `value` and the parameter's name `lane`.
    """

    name: str
    row_field: str = ""
    is_log: bool = False
    stretches: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TimelineData:
    """What a timeline shows.

    Attributes
    ----------
    rows : list of dict
        One for each data interval, or for several of them in succession.
    marks : list of dict
        Events, each with its time `d`, `kind` and `text`.
    parameters : list of TimelineParameter
        Those that vary.
    constants : list of str
        Those that do not, as ``name = value``.
    steps : list of str
        The steps with the longest durations, whose fields are ``s0``, ``s1``, ...
    per_point : int
        The number of data intervals that one row stands for.
    n_intervals : int
        The number of data intervals.
    n_hidden_marks : int
        The number of marks that are left out, which are the oldest.
    """

    rows: list[dict[str, Any]]
    marks: list[dict[str, Any]]
    parameters: list[TimelineParameter]
    constants: list[str]
    steps: list[str]
    per_point: int
    n_intervals: int
    n_hidden_marks: int

    def has(self, name: str) -> bool:
        """Return whether a field has a value in any row."""
        return any(name in row for row in self.rows)


def collect_timeline(
    runs: Iterable[Record],
    promotions: Iterable[Record] = (),
    failures: Iterable[Record] = (),
    contracts: Iterable[Record] = (),
    *,
    timezone: str = "UTC",
) -> TimelineData:
    """Return the rows and marks of a timeline; see :func:`diurnal.plots.timeline_chart.build_timeline`."""
    runs, promotions, failures, contracts = (
        local_records(records, timezone) for records in (runs, promotions, failures, contracts)
    )
    ordered = sorted(runs, key=_run_order)
    newest = list({run["data_interval_start"]: run for run in ordered}.values())  # of several runs the last
    varying, constants = _split_parameters(newest)
    steps = _longest_steps(newest)
    fields = {name: f"p{i}" for i, name in enumerate(varying)}
    rows = [_row(run, fields, varying, steps) for run in newest]
    per_point = -(-len(rows) // MAX_INTERVALS) or 1
    marks = _marks(newest, ordered, promotions, failures, contracts)
    parameters = [_parameter(name, fields[name], newest, rows) for name in varying]
    return TimelineData(
        rows=rows if per_point == 1 else _aggregate(rows, per_point),
        marks=marks[-MAX_MARKS:],
        parameters=parameters,
        constants=constants,
        steps=steps,
        per_point=per_point,
        n_intervals=len(rows),
        n_hidden_marks=max(0, len(marks) - MAX_MARKS),
    )


def local_records(records: Iterable[Record], timezone: str) -> list[Record]:
    """Return records with times in a timezone, which :func:`interval_text` and axes show; instants stay the same.

    Examples
    --------
    >>> from datetime import UTC
    >>> start, end = datetime(2026, 11, 1, 5, tzinfo=UTC), datetime(2026, 11, 2, 5, tzinfo=UTC)
    >>> [local] = local_records([{"data_interval_start": start, "data_interval_end": end}], "America/Bogota")
    >>> interval_text(local["data_interval_start"], local["data_interval_end"])
    '2026-11-01'
    """
    zone = timezones.get_timezone(timezone)
    return [
        {**record, **{name: record[name].astimezone(zone) for name in _INSTANTS if record.get(name) is not None}}
        for record in records
    ]


_INSTANTS = ("data_interval_start", "data_interval_end", "since", "promoted_at")


def interval_text(start: datetime, end: datetime | None) -> str:
    """Return the name of a data interval in the timezone of its start, as lists of runs show it.

    Examples
    --------
    >>> from datetime import UTC
    >>> interval_text(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    '2026-11-01'
    >>> interval_text(datetime(2026, 11, 1, 7, tzinfo=UTC), None)
    '2026-11-01 07:00 UTC'
    """
    last = None if end is None else end.astimezone(start.tzinfo)
    if last is not None and start.time() == last.time() == time() and last.date() > start.date():
        newest = last.date() - timedelta(days=1)
        return f"{start:%Y-%m-%d}" if newest == start.date() else f"{start:%Y-%m-%d} to {newest}"
    return f"{start:%Y-%m-%d %H:%M} {start:%z}".replace("+0000", "UTC")


def _run_order(run: Record) -> tuple[datetime, datetime]:
    return run["data_interval_start"], run.get("recorded_at") or run["data_interval_start"]


def _row(run: Record, fields: Mapping[str, str], varying: Sequence[str], steps: Sequence[str]) -> dict[str, Any]:
    comparison = run.get("comparison") or {}
    best, durations = run.get("best_params") or {}, run.get("durations") or {}
    twin, champion = as_number(comparison.get("twin_score")), as_number(comparison.get("champion_score"))
    difference = as_number(comparison.get("difference"))
    if difference is None and twin is not None and champion is not None:
        difference = as_number(twin - champion)
    drifted = _strongest_drift(run.get("drift"))
    values = {
        "d": epoch_milliseconds(run["data_interval_start"]),
        "e": epoch_milliseconds(run.get("data_interval_end")),
        "l": interval_text(run["data_interval_start"], run.get("data_interval_end")),
        "v": run.get("model_version"),
        "t": as_number(run.get("test_score")),
        "c": champion if champion is not None else as_number(run.get("champion_score")),
        "cv": run.get("champion_version"),
        "x": difference,
        "lo": as_number(comparison.get("low"), 4),
        "hi": as_number(comparison.get("high"), 4),
        "n": _batch_rows(run),
        **drifted,
        **{fields[name]: as_number(best.get(name)) for name in varying},
        **_step_seconds(durations, steps),
        "dec": _decision_text(run),
        "id": run.get("run_id"),
    }
    return {name: value for name, value in values.items() if value is not None}


def _decision_text(run: Record) -> str | None:
    return "promoted" if run.get("promoted") else None


def _batch_rows(run: Record) -> int | None:
    """Return the number of rows of the batch, which is the last package of the window."""
    packages = run.get("packages") or []
    if isinstance(packages, list) and packages and isinstance(packages[-1], Mapping) and "n_rows" in packages[-1]:
        return int(packages[-1]["n_rows"])
    known = [run[name] for name in ("n_train", "n_test") if run.get(name) is not None]
    return int(sum(known)) if known else None


def _strongest_drift(drift: Any) -> dict[str, Any]:
    """Return the largest effect of a column, as a multiple of the column's threshold."""
    columns = (drift or {}).get("columns") or []
    ratios = [
        (column["effect"] / column["threshold"], column)
        for column in columns
        if as_number(column.get("effect")) is not None and (as_number(column.get("threshold")) or 0) > 0
    ]
    if not ratios:
        return {}
    ratio, column = max(ratios, key=lambda pair: pair[0])
    return {"q": as_number(ratio, 4), "qc": clean_text(column.get("column", ""), 40), "qn": drift.get("n_drifted")}


def _split_parameters(runs: Sequence[Record]) -> tuple[list[str], list[str]]:
    """Return the names of the parameters that vary, most changes first, and texts of the others."""
    names = dict.fromkeys(name for run in runs for name in run.get("best_params") or {})
    changes: dict[str, int] = {}
    constants = []
    for name in names:
        values = [value_text((run.get("best_params") or {}).get(name, _MISSING)) for run in runs]
        changes[name] = sum(before != after for before, after in pairwise(values))
        if not changes[name]:
            constants.append(f"{clean_text(name)} = {values[0]}")
    varying = [name for name, count in changes.items() if count]
    return sorted(varying, key=lambda name: -changes[name])[:MAX_PARAMETERS], constants


def _parameter(name: str, number: str, runs: Sequence[Record], rows: Sequence[Record]) -> TimelineParameter:
    values = [(run.get("best_params") or {}).get(name, _MISSING) for run in runs]
    present = [value for value in values if value is not _MISSING]
    numbers = [value for value in map(as_number, present) if value is not None]
    if len(numbers) == len(present):
        return TimelineParameter(clean_text(name), row_field=number, is_log=is_log_spaced(numbers))
    for row in rows:
        row.pop(number, None)  # type: ignore[attr-defined]
    stretches: list[dict[str, Any]] = []
    for row, value in zip(rows, values, strict=True):
        if value is _MISSING:
            continue
        text = value_text(value, 40)
        end = row.get("e", row["d"])
        if stretches and stretches[-1]["value"] == text and row["d"] - stretches[-1]["e"] <= 2 * (end - row["d"]):
            stretches[-1]["e"] = end
        else:
            stretches.append({"d": row["d"], "e": end, "value": text, "lane": clean_text(name, 40)})
    return TimelineParameter(clean_text(name), stretches=stretches[-MAX_MARKS:])


def _longest_steps(runs: Sequence[Record]) -> list[str]:
    """Return up to four steps with the longest durations in total."""
    total: dict[str, float] = {}
    for run in runs:
        for step, seconds in (run.get("durations") or {}).items():
            total[step] = total.get(step, 0.0) + (as_number(seconds) or 0.0)
    return sorted(total, key=lambda step: -total[step])[:4]


def _step_seconds(durations: Mapping[str, Any], steps: Sequence[str]) -> dict[str, Any]:
    values = {f"s{i}": as_number(durations.get(step), 3) for i, step in enumerate(steps)}
    total = [as_number(seconds) or 0.0 for seconds in durations.values()]
    return {**values, "st": as_number(sum(total), 4) if total else None}


def _aggregate(rows: Sequence[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Return a row for each `size` rows in succession: means of numbers, and the values of the last row otherwise."""
    merged = []
    for at in range(0, len(rows), size):
        group = rows[at : at + size]
        row = {name: value for one in group for name, value in one.items()}
        for name in row:
            numbers = [one[name] for one in group if isinstance(one.get(name), float)]
            if numbers and name not in {"d", "e"}:
                row[name] = as_number(sum(numbers) / len(numbers), 5)
        merged.append({**row, "d": group[0]["d"], "l": f"{group[0]['l']} to {group[-1]['l']}"})
    return merged


def _marks(
    newest: Sequence[Record],
    ordered: Sequence[Record],
    promotions: Sequence[Record],
    failures: Sequence[Record],
    contracts: Sequence[Record],
) -> list[dict[str, Any]]:
    marks = [
        *_promotion_marks(ordered, promotions),
        *_failure_marks(failures),
        *_code_marks(newest),
        *_contract_marks(newest, contracts),
    ]
    return sorted(marks, key=lambda mark: mark["d"])


def _mark(start: datetime, end: datetime | None, kind: str, text: str) -> dict[str, Any]:
    """Return a mark in the middle of a data interval, or at a moment."""
    return {
        "d": epoch_milliseconds(start if end is None else start + (end - start) / 2),
        "kind": kind,
        "text": clean_text(text, 160),
        "l": interval_text(start, end),
    }


def _span(record: Record) -> tuple[datetime, datetime | None]:
    return record["data_interval_start"], record.get("data_interval_end")


def _promotion_marks(runs: Sequence[Record], promotions: Sequence[Record]) -> list[dict[str, Any]]:
    """Return marks at the data interval that was the newest recorded one at the time of a promotion.

    Data intervals and promotions are on different clocks: a backfill promotes versions of a whole year within an hour.
    """
    if not promotions:
        own = [run for run in runs if run.get("promoted")]
        return [_mark(*_span(run), PROMOTED, f"version {run.get('model_version')}: {run.get('reason')}") for run in own]
    of_version = {run.get("model_version"): run for run in runs if run.get("promoted")}
    recorded = sorted((run for run in runs if run.get("recorded_at")), key=lambda run: run["recorded_at"])
    times = [run["recorded_at"] for run in recorded]
    marks = []
    for one in promotions:
        run = of_version.get(one["version"]) if one["kind"] == "promote" and one.get("evidence") else None
        at = bisect_right(times, one["promoted_at"]) - 1
        run = run or (recorded[at] if at >= 0 else None)
        span: tuple[datetime, datetime | None] = _span(run) if run else (one["promoted_at"], None)
        text = f"version {one['version']}, by {one.get('promoted_by')}: {one.get('reason')}"
        marks.append(_mark(*span, ROLLED_BACK if one["kind"] == "rollback" else PROMOTED, text))
    return marks


def _failure_marks(failures: Sequence[Record]) -> list[dict[str, Any]]:
    """Return one mark for all failed attempts of a data interval by the same step."""
    groups: dict[tuple[Any, str, str], list[Record]] = {}
    for one in sorted(failures, key=lambda one: one.get("failed_at") or one["data_interval_start"]):
        kind = REJECTED if (one.get("error") or {}).get("type") == "BatchRejectedError" else FAILED
        groups.setdefault((one["data_interval_start"], kind, str(one.get("step"))), []).append(one)
    marks = []
    for (_, kind, step), group in groups.items():
        error = group[-1].get("error") or {}
        times = f", {len(group)} times" if len(group) > 1 else ""
        text = f"{step}{times}: {error.get('message') or error.get('type')}"
        marks.append(_mark(*_span(group[-1]), kind, text))
    return marks


def _code_marks(runs: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        _mark(*_span(after), CODE, f"{str(after['code_digest'])[:12]}, before {str(before['code_digest'])[:12]}")
        for before, after in pairwise([run for run in runs if run.get("code_digest")])
        if before["code_digest"] != after["code_digest"]
    ]


def _contract_marks(runs: Sequence[Record], contracts: Sequence[Record]) -> list[dict[str, Any]]:
    changed = [one for one in contracts if one.get("since") is not None and one.get("version", 1) > 1]
    if changed:
        return [
            _mark(
                one["since"], None, CONTRACT, f"version {one['version']}, by {one.get('accepted_by')}: {one.get('why')}"
            )
            for one in changed
        ]
    return [
        _mark(*_span(after), CONTRACT, f"version {after['contract_version']}, before {before['contract_version']}")
        for before, after in pairwise([run for run in runs if run.get("contract_version")])
        if before["contract_version"] != after["contract_version"]
    ]
