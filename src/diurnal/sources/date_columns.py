"""Conversion of columns of dates to ISO 8601."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diurnal.data.naive_timestamps import to_mask
from diurnal.errors import BatchRejectedError, Problem

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.sources.files import Files

    Lost = list[tuple[str, str, npt.NDArray[np.intp]]]

_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
_CLOCK = re.compile("%[HIMSfpXcrTR]")
_NOON = (" %I:%M %p", " %I:%M:%S %p")


class DateConverter:
    """Converts a column of dates. Its format is `date_format`, or the format of the first cell of the file.

    `dayfirst` alone decides the order of day and month. The cells never do: on the 5th of a month they would suggest
    another order than on the 23rd.
    """

    def __init__(self, name: str, files: Files) -> None:
        form = files.date_format
        self._name, self._dayfirst = name, files.dayfirst
        self._form: str | None = form.get(name) if isinstance(form, Mapping) else form

    def read(self, texts: pa.Array) -> tuple[pa.Array, Lost]:
        """Return the cells in ISO 8601; and those that are no dates: code, message, rows."""
        is_iso = to_mask(pc.match_substring_regex(texts, _ISO))
        others = texts.filter(pa.array(~is_iso)).drop_null()
        if not len(others):
            self._form = self._form or ("ISO8601" if is_iso.any() else None)
            return texts, []
        form = self._form = self._form or ("ISO8601" if is_iso.any() else self._guess_format(others[0].as_py()))
        if form == "ISO8601":
            found = pa.nulls(len(texts), pa.string())
        else:
            found = _parse_with_format(pc.if_else(pa.array(is_iso), None, texts), form)
        dates = pc.if_else(pa.array(is_iso), texts, found)
        rows = np.flatnonzero(to_mask(pc.is_valid(texts)) & ~to_mask(pc.is_valid(dates)))
        if not len(rows):
            return dates, []
        first = texts[int(rows[0])].as_py()[:40]
        message = f"{first!a} is not a date in the format {form}; declare another one by date_format="
        return dates, [("not-a-date", message, rows)]

    def _guess_format(self, first: str) -> str:
        """Return the format of a cell."""
        from pandas.tseries.api import guess_datetime_format

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            form = guess_datetime_format(first, dayfirst=self._dayfirst) or self._guess_12_hour_format(first)
        if form is None:
            raise self._format_error(
                f"the format of the date {first[:40]!a} is unknown", 'declare the format, as in date_format="%d.%m.%y"'
            )
        is_dayfirst = "%m" in form and form.find("%d") < form.find("%m") and not form.startswith("%Y")
        if "%m" in form and "%d" in form and not form.startswith("%Y") and is_dayfirst != self._dayfirst:
            hint = f"declare dayfirst={is_dayfirst}, or date_format={form!r}"
            order = "day" if self._dayfirst else "month"
            raise self._format_error(
                f"the date {first[:40]!a} does not begin with the {order}, and dayfirst={self._dayfirst}", hint
            )
        return form

    def _guess_12_hour_format(self, first: str) -> str | None:
        """Try the formats with AM and PM, which pandas does not infer."""
        days = ("%d/%m/%Y" if self._dayfirst else "%m/%d/%Y", "%Y-%m-%d")
        forms = [day + clock for day in days for clock in _NOON]
        return next((form for form in forms if _parse_with_format(pa.array([first]), form)[0].is_valid), None)

    def _format_error(self, message: str, hint: str) -> BatchRejectedError:
        return BatchRejectedError([Problem("date-format", f"{self._name}: {message}", self._name)], hint=hint)


def _parse_with_format(texts: pa.Array, form: str) -> pa.Array:
    """Return the cells in ISO 8601; null where they are not in the format."""
    import pandas as pd

    moments = pd.to_datetime(texts.to_pandas(), format=form, errors="coerce", utc="%z" in form or "%Z" in form)
    written = pa.Array.from_pandas(moments).cast(pa.timestamp("us", "UTC" if moments.dt.tz else None)).cast(pa.string())
    return written if _CLOCK.search(form) else pc.utf8_slice_codeunits(written, 0, 10)
