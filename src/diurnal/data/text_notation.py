"""Notation of numbers and times in a source of text, as metadata of an Arrow schema.

The kind of a column of text is known only after its last cell, and a column of kind ``text`` keeps its cells unchanged.
Therefore a source does not rewrite ``1.234,5``. It declares the notation, and the contract applies it to find numbers
and instants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

from diurnal.data.schema import UNTYPED, Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

TYPED = {b"diurnal.typed": b"1"}
"""Metadata of a field of text whose kind is fixed, within a schema that is :data:`UNTYPED`."""

MISSING_MARKS = (  # as in pandas
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Texts for a missing value: null in a column of numbers, booleans or dates, and categories in a column of text."""

_PREFIX = "diurnal.written."
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = rf"{_DATE}[T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,6}})?)?"
_WORDS = "-?(?i:inf(inity)?|nan)"

Lost = tuple[str, str, "npt.NDArray[np.bool_]"]


@dataclass(frozen=True)
class Notation:
    """Notation of numbers and times.

    Attributes
    ----------
    decimal : str
        Decimal separator.
    thousands : str, optional
        Separator of groups of digits. A group has two or three digits, the last one three.
    timezone : str, optional
        Timezone of times without an offset from UTC.

    Examples
    --------
    >>> import pyarrow as pa
    >>> german = Notation(decimal=",", thousands=".")
    >>> german.normalize_numbers(pa.array(["1.234,5", "-7", "1.5", "x", None])).to_pylist()
    ['1234.5', '-7', "1.5 [decimal=',', thousands='.']", 'x', None]
    >>> Notation.from_schema(pa.schema([], metadata=german.metadata)) == german
    True
    """

    decimal: str = "."
    thousands: str | None = None
    timezone: str | None = None

    @classmethod
    def from_schema(cls, schema: pa.Schema) -> Notation:
        """Read the notation from a schema."""
        marks = schema.metadata or {}
        keys = {name: (_PREFIX + name).encode() for name in ("decimal", "thousands", "timezone")}
        return cls(**{name: marks[key].decode() for name, key in keys.items() if key in marks})

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The metadata of a schema with this notation."""
        said = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        changed = {name: value for name, (value, usual) in said.items() if value != usual}
        return {**UNTYPED, **{(_PREFIX + name).encode(): value.encode() for name, value in changed.items()}}

    def normalize(self, texts: pa.Array) -> pa.Array:
        """Convert numbers and times to the default notation, to infer the kind of a column."""
        return self.normalize_times(self.normalize_numbers(texts))[0]

    def convert(self, texts: pa.Array, kind: Kind) -> tuple[pa.Array, list[Lost]]:
        """Convert the cells of a column of a known kind to the default notation.

        Returns
        -------
        pyarrow.Array, list of (str, str, numpy.ndarray of bool)
            The cells; and those that have no value: code, message and mask.
        """
        if kind in ("int", "float"):
            return self.normalize_numbers(texts), []
        return self.normalize_times(texts, f"{_CLOCK}|{_DATE}") if kind == "instant" else (texts, [])

    def normalize_numbers(self, texts: pa.Array) -> pa.Array:
        """Convert numbers to the default notation. A number in another notation is marked, so that it is none."""
        if (self.decimal, self.thousands) == (".", None):
            return texts
        import pyarrow.compute as pc

        bare = pc.ascii_trim(texts, " \t")
        written = pc.match_substring_regex(bare, self._number_pattern)
        plain = pc.replace_substring(bare, self.thousands, "") if self.thousands else bare
        plain = pc.replace_substring(plain, self.decimal, ".")
        foreign = pc.match_substring_regex(bare, "^-?[0-9.]+([eE][+-]?[0-9]+)?$")
        said = f"decimal={self.decimal!r}" + (f", thousands={self.thousands!r}" if self.thousands else "")
        marked = pc.binary_join_element_wise(texts, f"[{said}]", " ")
        return pc.if_else(written, plain, pc.if_else(foreign, marked, texts))

    def normalize_times(self, texts: pa.Array, form: str = _CLOCK) -> tuple[pa.Array, list[Lost]]:
        """Convert times without offset to instants; also return the ambiguous and nonexistent times."""
        if self.timezone is None:
            return texts, []
        import pyarrow as pa
        import pyarrow.compute as pc

        from diurnal.data.naive_timestamps import localize_timestamps

        bare = pc.match_substring_regex(texts, f"^(?:{form})$")
        cells = pc.if_else(bare, texts, None)
        try:
            times = cells.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:  # such as 30 February: it is not converted, and is rejected as an impossible date
            times = _keep_valid_dates(cells).cast(pa.timestamp("us"))
        found, lost = localize_timestamps(times, self.timezone)
        return pc.coalesce(found.cast(pa.string()), texts), lost

    @cached_property
    def _number_pattern(self) -> str:
        point, digits = re.escape(self.decimal), "(0|[1-9][0-9]*)"
        if self.thousands:
            mark = re.escape(self.thousands)
            digits = f"(0|[1-9][0-9]*|[1-9][0-9]{{0,2}}({mark}[0-9]{{2,3}})*{mark}[0-9]{{3}})"
        return f"^(?:-?({digits}({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?|{_WORDS})$"


def _keep_valid_dates(cells: pa.Array) -> pa.Array:
    """Keep the cells that are valid dates."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pd.to_datetime(cells.to_pandas(), format="ISO8601", errors="coerce").notna()
    return pc.if_else(pa.array(found.to_numpy()), cells, None)


def untyped_columns(schema: pa.Schema) -> frozenset[str]:
    """Return the names of the columns of text whose kind is not fixed."""
    import pyarrow.types as pt

    if not UNTYPED.items() <= (schema.metadata or {}).items():
        return frozenset()
    typed = TYPED.items()
    return frozenset(f.name for f in schema if pt.is_string(f.type) and not typed <= (f.metadata or {}).items())
