"""Checks of the arguments of ``@experiment``: their types and allowed values."""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from numbers import Real
from typing import Any

from diurnal.data.column_names import is_legal_name
from diurnal.errors import ExperimentError, UsageError, did_you_mean
from diurnal.experiment.row_arguments import SPLITS, check_row_arguments
from diurnal.sources.files_arguments import check_timezone
from diurnal.sources.spark_table import takes_session
from diurnal.types import Limits, ticks, timezones
from diurnal.types.calendar import parse_date_or_instant
from diurnal.types.drift_thresholds import DriftThresholds
from diurnal.types.retention import Retention, check_retention_of_window
from diurnal.types.schedule import check_schedule

REQUIRED = object()
PROMOTIONS = (
    "always",
    "approve",
    "guarded",
    "never",
    "proven",
    "superior",
)  # those that promotion.py can decide; a test compares
NEW_COLUMNS = ("refuse", "ignore", "accept")
_DEPRECATED = {"trusted": ("trusted_types", ()), "tuning_tasks": ("n_tuning_shards", 1)}  # to new name and default
_NAMES_OF_UTC = ("UTC", "Etc/UTC", "Etc/UCT", "UCT", "Etc/Zulu", "Zulu", "Universal", "Etc/Universal")


def rename_deprecated(
    declared: Mapping[str, Any], others: Mapping[str, Any], location: tuple[str, int]
) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments under their present names, and the names of the others that stay unknown.

    Parameters
    ----------
    declared : Mapping of str to Any
        The arguments of the signature, defaults included.
    others : Mapping of str to Any
        Further arguments: deprecated or unknown.
    location : tuple of str and int
        File and line of the experiment, for the warning.
    """
    arguments = dict(declared)
    for name in _DEPRECATED.keys() & others.keys():
        new, default = _DEPRECATED[name]
        if declared[new] != default:
            raise ExperimentError(f"{name}= is the deprecated name of {new}=; both are set", hint=f"leave out {name}=")
        message = f"@experiment({name}=) is deprecated; use @experiment({new}=)"
        warnings.warn_explicit(message, DeprecationWarning, *location)
        arguments[new] = others[name]
    return arguments, [name for name in others if name not in _DEPRECATED]


def validate_arguments(declared: Mapping[str, Any], unknown: Iterable[str]) -> dict[str, Any]:
    """Return the arguments, each in the one form that the rest of the code relies on.

    Parameters
    ----------
    declared : Mapping of str to Any
        The arguments of ``@experiment``, defaults included.
    unknown : iterable of str
        Names of arguments that ``@experiment`` does not have.

    Raises
    ------
    ExperimentError
        On the first argument that is unknown, missing or not allowed.
    """
    for name in unknown:
        raise ExperimentError(
            f"@experiment has no argument {name!r}{did_you_mean(name, declared)}",
            hint=f"the arguments are {', '.join(declared)}",
        )
    for name, example in (("source", 'SklearnDataset("breast_cancer")'), ("target", '"label"')):
        if declared[name] is REQUIRED:
            raise ExperimentError(f"@experiment needs {name}=", hint=f"add it, for example {name}={example}")
    arguments = {name: _RULES[name](name, value) for name, value in declared.items()}
    arguments["start_date"] = _check_start_date("start_date", declared["start_date"], arguments["timezone"])
    ticks.check_clock_changes(arguments["schedule"], arguments["timezone"])
    for name in ("key", "drop"):
        if arguments["target"] in arguments[name]:
            raise ExperimentError(
                f"the target {arguments['target']!r} is in {name} too; a column is either the target or in {name}",
                hint=f"remove it from {name}",
            )
    if arguments["key"] and arguments["duplicates"]:
        raise ExperimentError(
            f"duplicates={arguments['duplicates']!r} and key={arguments['key']!r} both define what one sample is",
            hint="leave out one of them; rows with equal keys are one sample",
        )
    check_row_arguments(arguments)
    check_retention_of_window(arguments["retention"], arguments["window"])
    arguments["limits"] = _merge_new_columns(arguments["limits"], arguments["new_columns"])
    if arguments["catchup"] and arguments["start_date"] is None:
        raise ExperimentError("catchup=True needs a start_date to catch up from", hint='add start_date="2026-01-01"')
    return arguments


def _merge_new_columns(limits: Limits, new_columns: str) -> Limits:
    """Return the limits with the rule for new columns that the argument `new_columns` sets."""
    if new_columns == "accept" and limits.extra == "ignore":
        raise ExperimentError(
            "new_columns='accept' and Limits(extra='ignore') are different rules for columns that the contract does "
            "not have",
            hint="leave out one of them",
        )
    return replace(limits, extra="ignore") if new_columns == "ignore" else limits


def _invalid_argument(name: str, value: object, allowed: str, hint: str | None = None) -> ExperimentError:
    type_name = "" if value is None else f" (a {type(value).__name__})"
    return ExperimentError(f"{name}={value!r}{type_name} is not allowed; {name} is {allowed}", hint=hint)


def _check_source(name: str, value: Any) -> Any:
    hint = 'write source=SklearnDataset("breast_cancer"), or a function such as def fetch(interval): ...'
    if isinstance(value, type):
        raise _invalid_argument(name, value, "a Source, not its class", f"call it: {value.__name__}(...)")
    if callable(getattr(value, "read", None)):
        return value
    if not callable(value):
        raise _invalid_argument(name, value, "a Source (it has .read) or a function of a DataInterval", hint)
    if inspect.iscoroutinefunction(value):
        raise _invalid_argument(name, value, "an ordinary function, not an async one", "remove the word async")
    try:
        if not takes_session(value):
            inspect.signature(value).bind(None)
    except TypeError as error:
        raise _invalid_argument(
            name, value, f"a function of one DataInterval, but this one cannot be called with one: {error}", hint
        ) from None
    return value


def _check_column(name: str, value: Any) -> str:
    if not isinstance(value, str) or not is_legal_name(value):
        raise _invalid_argument(name, value, "the name of a column, a text without control characters")
    return value


def _check_optional_column(name: str, value: Any) -> str | None:
    return None if value is None else _check_column(name, value)


def _check_columns(name: str, value: Any) -> tuple[str, ...]:
    columns = tuple(_check_column(name, column) for column in _check_texts(name, value))
    if len(set(columns)) < len(columns):
        raise _invalid_argument(name, value, "a list of different columns", "name each column once")
    return columns


def _check_texts(name: str, value: Any) -> tuple[str, ...]:
    """Return a tuple of texts; one text is a tuple of one: ``key="id"`` is not the columns i and d."""
    if value is None or isinstance(value, str):
        value = () if value is None else (value,)
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(text, str) for text in value):
        raise _invalid_argument(name, value, "a text or a list of texts", f'write {name}=("first", "second")')
    return tuple(sorted(value) if isinstance(value, (set, frozenset)) else value)


def _check_schedule(name: str, value: Any) -> Any:  # noqa: ARG001 - all checks have one signature
    check_schedule(value)
    return value


def _check_timezone(name: str, value: Any) -> str:
    timezone = check_timezone(name, "UTC" if value is None else value, "@experiment") or "UTC"
    return "UTC" if timezone in _NAMES_OF_UTC else timezone


def _check_start_date(name: str, value: Any, timezone: str = "UTC") -> datetime | None:
    hint = 'write "2026-01-01", or a datetime with a timezone'
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = parse_date_or_instant(value, timezone)[0]
        except UsageError as error:
            raise ExperimentError(f"{name}={error.message}", hint=hint) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = timezones.midnight_of(value, timezone)
    if not isinstance(value, datetime) or value.tzinfo is None or value.microsecond:
        raise _invalid_argument(name, value, "a date, or a time in whole seconds with a timezone", hint)
    return value.astimezone(UTC)


def _check_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid_argument(name, value, "True or False")
    return value


def _check_minimum(least: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise _invalid_argument(name, value, f"a whole number, at least {least}")
        return value

    return check


def _check_window(name: str, value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and (value == "all" or re.fullmatch(r"[1-9]\d{0,4}[hdw]", value)):
        return value
    near = did_you_mean(value, ["all"]) if isinstance(value, str) else ""
    raise _invalid_argument(
        name, value, f"a number of intervals, a duration or 'all'{near}", 'write 7, "30d", "12h", "2w" or "all"'
    )


def _check_label_delay(name: str, value: Any) -> timedelta:
    if value is None:
        return timedelta(0)
    if isinstance(value, str) and (match := re.fullmatch(r"([1-9]\d{0,4})([hdw])", value)):
        return timedelta(**{{"h": "hours", "d": "days", "w": "weeks"}[match[2]]: int(match[1])})
    if not isinstance(value, timedelta) or value < timedelta(0) or value.microseconds:
        raise _invalid_argument(
            name,
            value,
            "a duration in whole seconds, as a timedelta or a text",
            f'write {name}="7d", "12h", "2w" or timedelta(minutes=90)',
        )
    return value


def _check_test_size(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise _invalid_argument(
            name, value, "a fraction of the samples between 0 and 1, both excluded", "write, for example, test_size=0.3"
        )
    return float(value)


def _check_sample(name: str, value: Any) -> float | int | None:
    """Return a fraction (a float) or a number of rows (an int): 1.0 is all rows, and 1 would be one row."""
    allowed = "a fraction of the rows, above 0 and at most 1.0, or a number of rows, at least 2"
    hint = f"write, for example, {name}=0.1 or {name}=1_000_000"
    if value is None:
        return None
    if value == 1 and isinstance(value, int):
        raise _invalid_argument(name, value, allowed, f"write {name}=1.0 for all rows, or leave it out")
    if isinstance(value, int) and value > 1:
        return value
    if isinstance(value, float) and 0 < value <= 1:
        return value
    raise _invalid_argument(name, value, allowed, hint)


def _check_promotion(name: str, value: Any) -> str:
    if value not in PROMOTIONS:
        near = did_you_mean(value, PROMOTIONS) if isinstance(value, str) else ""
        raise _invalid_argument(
            name, value, f"one of {', '.join(map(repr, PROMOTIONS))}{near}", 'the usual one is "guarded"'
        )
    return str(value)


def _check_duplicates(name: str, value: Any) -> str | None:
    if value not in (None, "drop", "keep"):
        near = did_you_mean(value, ("drop", "keep")) if isinstance(value, str) else ""
        raise _invalid_argument(
            name, value, f"'drop', 'keep' or None{near}", "leave it out to let the first batch decide"
        )
    return None if value is None else str(value)


def _check_split(name: str, value: Any) -> str:
    if value not in SPLITS:
        near = did_you_mean(value, SPLITS) if isinstance(value, str) else ""
        raise _invalid_argument(name, value, f"one of {', '.join(map(repr, SPLITS))}{near}", 'the usual one is "hash"')
    return str(value)


def _check_new_columns(name: str, value: Any) -> str:
    if value not in NEW_COLUMNS:
        near = did_you_mean(value, NEW_COLUMNS) if isinstance(value, str) else ""
        raise _invalid_argument(
            name, value, f"one of {', '.join(map(repr, NEW_COLUMNS))}{near}", 'the usual one is "refuse"'
        )
    return str(value)


def _check_checks(name: str, value: Any) -> Any:
    if value is not None and (isinstance(value, type) or not callable(getattr(value, "validate", None))):
        raise _invalid_argument(name, value, "an object with .validate(frame), such as a pandera DataFrameSchema")
    return value


def _check_limits(name: str, value: Any) -> Limits:
    if value is not None and not isinstance(value, Limits):
        raise _invalid_argument(name, value, "a diurnal.Limits", "write, for example, limits=Limits(max_rows=100_000)")
    return Limits() if value is None else value


def _check_drift(name: str, value: Any) -> DriftThresholds:
    if value is None:
        return DriftThresholds()
    if isinstance(value, Mapping):
        columns = {column: _check_threshold(f"{name}[{column!r}]", one) for column, one in value.items()}
        if not all(isinstance(column, str) for column in columns):
            raise _invalid_argument(name, value, "a mapping whose keys are names of columns")
        return DriftThresholds(columns=columns)
    return DriftThresholds(_check_threshold(name, value))


def _check_threshold(name: str, value: Any) -> float | None:
    """Return the effect size from which on a column has drifted; None where it is not compared."""
    if value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise _invalid_argument(
            name, value, "an effect size above 0, or False", 'write drift=0.2, drift={"age": 0.3} or drift=False'
        )
    return float(value)


def _check_owner(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _invalid_argument(name, value, "a text that is not empty")
    return value


_RULES: dict[str, Callable[[str, Any], Any]] = {
    "source": _check_source,
    "target": _check_column,
    "key": _check_columns,
    "drop": _check_columns,
    "duplicates": _check_duplicates,
    "schedule": _check_schedule,
    "timezone": _check_timezone,
    "start_date": _check_start_date,
    "catchup": _check_bool,
    "retries": _check_minimum(0),
    "max_active_runs": _check_minimum(1),
    "label_delay": _check_label_delay,
    "window": _check_window,
    "test_size": _check_test_size,
    "sample": _check_sample,
    "groups": _check_optional_column,
    "sample_weight": _check_optional_column,
    "order_by": _check_optional_column,
    "split": _check_split,
    "promotion": _check_promotion,
    "n_tuning_shards": _check_minimum(1),
    "trusted_types": _check_texts,
    "new_columns": _check_new_columns,
    "checks": _check_checks,
    "limits": _check_limits,
    "drift": _check_drift,
    "retention": lambda _, value: Retention.parse(value),
    "tags": _check_texts,
    "owner": _check_owner,
}
