"""Checks of the names of columns, and a legal name for an illegal one. Imports no pyarrow."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from diurnal.errors import Problem, did_you_mean

MAX_NAME_BYTES = 63  # of the names that snake_case returns

# Marks that change the direction of text, so that a name is displayed as another one.
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_legal_name(name: str) -> bool:
    r"""Return whether a column may have this name: any text without control characters.

    Examples
    --------
    >>> [is_legal_name(name) for name in ("Sepal Length (cm)", "Größe", "growth_%", "it's", "a\nb")]
    [True, True, True, True, False]
    """
    return not any(unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") or mark in _DIRECTION_MARKS for mark in name)


def snake_case(name: str) -> str:
    """Return a similar name of lower-case letters, digits and underscores.

    Examples
    --------
    >>> snake_case("sepal length (cm)")
    'sepal_length_cm'
    >>> snake_case("2nd Größe")
    'c_2nd_grosse'
    """
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    joined = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "column"
    return ("c_" + joined if joined[0].isdigit() else joined)[:MAX_NAME_BYTES].rstrip("_")


def duplicate_name_problems(names: Sequence[str]) -> list[Problem]:
    """Return the problems of duplicate names."""
    return [
        Problem("duplicate-column", f"{n} columns are named {name!r}; names must be unique", name)
        for name, n in Counter(names).items()
        if n > 1
    ]


def illegal_name_problems(names: Sequence[str]) -> list[Problem]:
    """Return the problems of illegal names."""
    return [
        Problem("column-name", f"the column name {_escape_name(name)} has a control character", name)
        for name in dict.fromkeys(names)
        if not is_legal_name(name)
    ]


def missing_column_problems(expected: Sequence[str], received: Sequence[str], role: str = "column") -> list[Problem]:
    """Return the problems of missing columns, each with the similar name of another column."""
    extra = [name for name in received if name not in expected]
    return [
        Problem(
            "missing-column",
            f"the {role} {name!r} is missing; the columns are {format_names(received)}{did_you_mean(name, extra)}",
            name,
        )
        for name in expected
        if name not in received
    ]


def extra_column_problems(expected: Sequence[str], received: Sequence[str]) -> list[Problem]:
    """Return the problems of columns that are not in the schema."""
    return [
        Problem(
            "extra-column", f"the column {_escape_name(name)} is not in the schema{did_you_mean(name, expected)}", name
        )
        for name in dict.fromkeys(received)
        if name not in expected
    ]


def format_names(names: Sequence[str]) -> str:
    """List names in a message; not more than forty."""
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return (", ".join(map(_escape_name, names[:40])) or "no column") + more


def _escape_name(name: str) -> str:
    """Escape a name as ASCII: marks that change the direction of text must not affect a message."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")
