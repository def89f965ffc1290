"""Formats of cells of text: regular expressions for ints, floats, dates in a source without types.

Each format is a regular expression of RE2, applied to whole columns. Some formats are no kinds. They detect a column
that was *meant* to be of a kind: numbers with a comma, times with and without a timezone, dates in several notations.
Such a column is rejected with a code of its own. As text, it would silently become thousands of categories.

A column of text keeps its cells as they are. In a column of another kind, a mark of a missing value such as ``NA`` is
null; spaces around a number are no part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diurnal.data.schema import KINDS, Kind, arrow_type
from diurnal.data.text_notation import MISSING_MARKS

if TYPE_CHECKING:
    import numpy.typing as npt

_CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_FINITE = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_ANY = "(?s:.*)"
_FLOAT = rf"{_FINITE}|(?i:-?inf(inity)?|nan)"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NOTATIONS = (  # no cell has two of them
    _DATE,
    _CLOCK + _ZONE,
    _CLOCK,
    r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2,4}",
    "[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}",
    "[0-9]{1,2}-[0-9]{1,2}-[0-9]{2,4}",
    "[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}",
)

FORMATS = {
    "int": "-?(0|[1-9][0-9]*)",
    "float": _FLOAT,
    "comma": rf"{_FLOAT}|-?[0-9]+,[0-9]+",
    "bool": "(?i:true|false)",
    "date": _DATE,
    "instant": _CLOCK + _ZONE,
    "timestamp": _CLOCK,
    "moments": _CLOCK + _ZONE + "?",
    "dates": "|".join(_NOTATIONS),
}
"""From the narrowest to the widest; the first one that matches a whole column is its format."""

_NUMBERS = ("int", "float", "comma")
_SPACES = r"[ \t]*"
_PATTERNS = {
    form: re.compile(f"{_SPACES}(?:{pattern}){_SPACES}" if form in _NUMBERS else pattern)
    for form, pattern in FORMATS.items()
}

_WIDER = {
    "int": {"float", "comma"},
    "float": {"comma"},
    "date": {"dates"},
    "instant": {"moments", "dates"},
    "timestamp": {"moments", "dates"},
    "moments": {"dates"},
}

_EXACT = {
    "int": r"-?(0|[1-9][0-9]*)(\.0*)?",
    **{kind: FORMATS[kind] for kind in ("float", "bool", "date", "instant")},
    "timestamp": f"{_CLOCK}|{_DATE}",  # pandas writes a column of midnights as dates
}

_Refusal = tuple[str, str]

_COMMA = "has a comma; declare its meaning: Files(..., decimal=',') or Files(..., thousands=',')"

_UNFIT: dict[str, tuple[tuple[str, _Refusal], ...]] = {
    "int": (
        (FORMATS["int"], ("integer-too-large", "does not fit in 64 bits; an id is better kept as text")),
        (_FINITE, ("fraction-in-int", "is no whole number")),
        (FORMATS["comma"], ("decimal-comma", _COMMA)),
        (_ANY, ("text-in-number", "is no number")),
    ),
    "float": (
        (FORMATS["comma"], ("decimal-comma", _COMMA)),
        (_ANY, ("text-in-number", "is no number")),
    ),
    "bool": ((_ANY, ("not-a-bool", "is neither true nor false")),),
    "date": (
        (_DATE, ("impossible-date", "is not a valid date")),
        (FORMATS["dates"], ("mixed-dates", "is not written as YYYY-MM-DD, as others are")),
        (_ANY, ("not-a-date", "is no date as YYYY-MM-DD")),
    ),
    "instant": (
        (FORMATS["instant"], ("impossible-date", "is not a valid date")),
        (FORMATS["moments"], ("naive-timestamp", "has no offset from UTC, and the column has one by the contract")),
        (FORMATS["dates"], ("mixed-dates", "is not written as 2026-11-23T06:00:00Z, as others are")),
        (_ANY, ("not-an-instant", "is no instant as 2026-11-23T06:00:00Z")),
    ),
    "timestamp": (
        (_EXACT["timestamp"], ("impossible-date", "is not a valid date")),
        (FORMATS["moments"], ("zoned-timestamp", "has an offset from UTC, and the column has none by the contract")),
        (FORMATS["dates"], ("mixed-dates", "is not written as 2026-11-23 06:00:00, as others are")),
        (_ANY, ("not-a-timestamp", "is no time as 2026-11-23 06:00:00")),
    ),
}


def match_format(texts: pa.Array, form: str) -> npt.NDArray[np.bool_]:
    """Return a mask of the cells that match a format as a whole; a null matches every format."""
    found = pc.match_substring_regex(texts, rf"^(?:{form})$")
    return pc.fill_null(found, True).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _trim(texts: pa.Array, form: str) -> pa.Array:
    """Remove the spaces around numbers."""
    return pc.ascii_trim(texts, " \t") if form in _NUMBERS else texts


def _missing_mask(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a mask of the marks of missing values."""
    return pc.is_in(texts, pa.array(MISSING_MARKS)).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def parse_texts(texts: pa.Array, kind: Kind) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Parse cells of text as a kind.

    Returns
    -------
    pyarrow.Array, numpy.ndarray of bool
        The values, and a mask of the cells that cannot be parsed; these are null.
    """
    if kind == "text":
        return texts, np.zeros(len(texts), dtype=bool)
    fits = match_format(texts, _EXACT[kind])
    if not fits.all():
        texts = pc.if_else(pa.array(_missing_mask(texts)), None, _trim(texts, kind))
        fits = match_format(texts, _EXACT[kind])
    kept = pc.if_else(pa.array(fits), texts, None)
    if kind == "int":
        kept = pc.replace_substring_regex(kept, r"\.0*$", "")
    values = pc.equal(pc.ascii_lower(kept), "true") if kind == "bool" else _cast_valid(kept, arrow_type(kind))
    unfit = pc.and_(pc.is_valid(texts), pc.is_null(values))
    return values, unfit.to_numpy(zero_copy_only=False)


def describe_unparsable(
    texts: pa.Array, kind: Kind, unfit: npt.NDArray[np.intp]
) -> list[tuple[str, str, npt.NDArray[np.intp]]]:
    """Group the cells that cannot be parsed by their problem: code, message and rows."""
    found = []
    for form, (code, message) in _UNFIT[kind]:
        cells = texts.take(pa.array(unfit))
        mask = match_format(cells, form)
        if mask.any():
            found.append((code, f"{format_cell(cells.filter(pa.array(mask))[0].as_py())} {message}", unfit[mask]))
        unfit = unfit[~mask]
    return found


def format_cell(value: Any) -> str:
    """Format a cell for a message, in ASCII and cut to forty characters."""
    text = ascii(value)
    return text if len(text) <= 42 else f"{text[:38]}..."


def _cast_valid(texts: pa.Array, expected: pa.DataType) -> pa.Array:
    """Cast; a text that matches the format and has no value (30 February, 10**30) becomes null."""
    try:
        return texts.cast(expected)
    except pa.ArrowInvalid:
        good = [text for text in pc.unique(texts).to_pylist() if text is not None and _is_castable(text, expected)]
        return pc.if_else(pc.is_in(texts, pa.array(good, pa.string())), texts, None).cast(expected)


def _is_castable(text: str, expected: pa.DataType) -> bool:
    try:
        pa.scalar(text).cast(expected)
    except pa.ArrowInvalid:
        return False
    return True


def _has_format(texts: pa.Array, form: str) -> bool:
    """Return whether all cells are of a format; the first one excludes most formats, without a pattern of RE2."""
    return bool(_PATTERNS[form].fullmatch(texts[0].as_py()) and match_format(texts, _PATTERNS[form].pattern).all())


class TextTypeInference:
    """Infers the kind of a column of text: that of the narrowest format that all cells match, or all that have a value.

    Attributes
    ----------
    empty : bool
        Whether no cell has a value.
    n_missing : int
        Number of marks of missing values, unless the column is one of text.
    """

    def __init__(self) -> None:
        self._possible = list(FORMATS)
        self._notations: set[str] = set()
        self.empty = True
        self.n_missing = 0

    def update(self, texts: pa.Array) -> None:
        """Read the next cells of the column."""
        texts = texts.drop_null()
        if not len(texts) or not self._possible:
            return
        missing = _missing_mask(texts)
        self.empty = self.empty and bool(missing.all())
        if missing.any():
            self.n_missing += int(missing.sum())
            if "int" in self._possible and match_format(texts, "(?i:nan)").any():  # a float
                self._possible.remove("int")
            texts = texts.filter(pa.array(~missing))
        if not len(texts):
            return
        still: list[str] = []
        for form in self._possible:
            if any(form in _WIDER.get(narrower, ()) for narrower in still) or _has_format(texts, form):
                still.append(form)
        self._possible = still
        if still and still[0] in ("date", "instant", "timestamp", "moments", "dates"):
            self._notations |= {notation for notation in _NOTATIONS if match_format(texts, notation).any()}

    def _narrowest_format(self) -> str:
        return self._possible[0] if self._possible and not self.empty else "text"

    def infer_kind(self) -> Kind:
        """Return the kind of the column; text if the format is no kind (see :meth:`find_problem`)."""
        first = self._narrowest_format()
        return next((kind for kind in KINDS if kind == first), "text")

    def find_problem(self, name: str) -> _Refusal | None:
        """Return the code and message if the format of the column, which has this name, is rejected."""
        first, as_text = self._narrowest_format(), f"; Files(..., dtype={{{name!a}: str}}) keeps it as text"
        if first == "comma":
            return "decimal-comma", f"has numbers with commas: it {_COMMA}{as_text}"
        if first == "moments":
            message = "has times with and without an offset from UTC; write all as 2026-11-23T06:00:00Z"
            return "mixed-timezones", f"{message}{as_text}"
        if first == "dates" and len(self._notations) > 1:
            return "mixed-dates", f"has dates in more than one notation; write all as YYYY-MM-DD{as_text}"
        return None
