"""Values for charts: numbers, times and texts in a form that JSON, SVG and Vega's expressions accept.

Names and values of users never become the name of a field: Vega-Lite reads ``.``, ``[`` and ``]`` in it as access to
members. Charts use own short names of fields, and users' texts as values, titles and labels.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

MAX_LABEL = 60
NUMBER_LABELS = {"labelExpr": "format(datum.value, '~g')"}
"""Part of an axis: labels such as 50 or 0.002; Vega's own format of an axis writes 5e+1 and leaves some out."""
# Control characters, lone surrogates and noncharacters are not allowed in XML; bidirectional controls reorder the text
# around them.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


# Vega looks texts up in JavaScript's objects, so that a label "constructor" is found to be a function.
_OF_OBJECTS = frozenset(
    {
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString"),
        *("valueOf", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
    }
)


def clean_text(value: object, limit: int = MAX_LABEL) -> str:
    r"""Return a text that can stand in any place of a chart, in one line of at most `limit` characters.

    Vega-Lite writes titles into expressions, in which it escapes quotes but not backslashes: a backslash before a quote
    would end the string. It becomes the similar character U+2216.

    Examples
    --------
    >>> clean_text("a\x00b\nc"), clean_text("x" * 9, limit=5)
    ('a\ufffdb c', 'xxxx…')
    """
    text = " ".join(_FORBIDDEN.sub("\ufffd", str(value)).replace("\\", "\u2216").split())
    if text in _OF_OBJECTS:
        return f"{text}\u200b"  # an invisible space
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def value_text(value: object, limit: int = MAX_LABEL) -> str:
    """Return a parameter's value as a label.

    Examples
    --------
    >>> value_text(0.1), value_text(1e-05), value_text(None), value_text(True), value_text([1, 2])
    ('0.1', '1e-05', 'None', 'True', '[1, 2]')
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if isinstance(value, Mapping | list):
        return clean_text(json.dumps(value, ensure_ascii=False, default=str), limit)
    return clean_text(value, limit)


def as_number(value: object, digits: int = 6) -> float | int | None:
    """Return a finite number with a few significant digits, which keep a specification small; else None.

    Examples
    --------
    >>> as_number(0.123456789), as_number(12), as_number(float("nan")), as_number("1"), as_number(True)
    (0.123457, 12, None, None, None)
    """
    if type(value) is float:  # most values: the shortest way
        return float("%.*g" % (digits, value)) if math.isfinite(value) else None  # noqa: UP031 - twice as fast
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    if isinstance(value, int | np.integer):
        return int(value) if abs(int(value)) <= 2**53 else float(value)
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def epoch_milliseconds(moment: datetime | None) -> int | None:
    """Return a time, as the clock of its timezone shows it, for a UTC scale of Vega, which has no other timezones.

    Examples
    --------
    >>> from datetime import timedelta, timezone
    >>> epoch_milliseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000
    >>> epoch_milliseconds(datetime(1970, 1, 2, tzinfo=timezone(timedelta(hours=9))))
    86400000
    """
    if moment is None or moment != moment:  # noqa: PLR0124 - pandas' NaT
        return None
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value: Vega reads an absent field as null."""
    return {name: value for name, value in row.items() if value is not None}


def is_log_spaced(values: Iterable[float]) -> bool:
    """Return whether distinct values are spaced evenly on a logarithmic axis rather than a linear one.

    Parameters
    ----------
    values : iterable of float
        Finite numbers.

    Examples
    --------
    >>> is_log_spaced([0.1, 1, 10]), is_log_spaced([1, 2, 3, 4]), is_log_spaced([0, 1, 10, 100]), is_log_spaced([2, 8])
    (True, False, False, False)
    """
    distinct = sorted(set(values))
    if len(distinct) < 3 or distinct[0] <= 0 or distinct[-1] / distinct[0] < 10:
        return False
    if not math.isfinite(distinct[-1]):
        return False
    linear = _unevenness([b - a for a, b in pairwise(distinct)])
    logarithmic = _unevenness([math.log(b / a) for a, b in pairwise(distinct)])
    return logarithmic < linear


def log_ticks(low: float, high: float, limit: int = 9) -> list[float]:
    """Return round numbers for the labels of a logarithmic axis: powers of ten, of few decades also 2 and 5 times them.

    Parameters
    ----------
    low, high : float
        The ends of the axis, above 0.
    limit : int
        The largest number of labels.

    Examples
    --------
    >>> log_ticks(0.001, 100), log_ticks(3, 60)
    ([0.001, 0.01, 0.1, 1.0, 10.0, 100.0], [5.0, 10.0, 20.0, 50.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    slack = 1 + 1e-9
    for factors in ((1,), (1, 2, 5)):
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
        ticks = [tick for tick in ticks if low / slack <= tick <= high * slack]
        if len(ticks) >= 4:
            break
    return [ticks[i] for i in thin_evenly(len(ticks), limit)]


def _unevenness(steps: Sequence[float]) -> float:
    """Return the coefficient of variation of the steps, in units of the largest one so that squares are finite."""
    largest = max(steps)
    if not 0 < largest < math.inf:
        return math.inf
    units = [step / largest for step in steps]
    mean = sum(units) / len(units)
    return float((sum((unit - mean) ** 2 for unit in units) / len(units)) ** 0.5 / mean)


def thin_evenly(n: int, limit: int) -> list[int]:
    """Return at most `limit` of the positions 0 to n - 1, evenly spaced, with the first and the last.

    Examples
    --------
    >>> thin_evenly(3, 5), thin_evenly(100, 3)
    ([0, 1, 2], [0, 50, 99])
    """
    if n <= limit:
        return list(range(n))
    return [int(i) for i in np.unique(np.linspace(0, n - 1, limit).round())]
