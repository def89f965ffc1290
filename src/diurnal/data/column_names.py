"""The names of columns: which are legal, and what is near to one that is not. Light."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from diurnal.errors import Problem, did_you_mean

LONGEST = 63  # bytes of the names that snake_case makes

# Marks that turn the direction of writing, so that a name is not what it looks like.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_legal_name(name: str) -> bool:
    r"""Tell whether a column may have this name: any text without control characters.

    Examples
    --------
    >>> [is_legal_name(name) for name in ("Sepal Length (cm)", "Größe", "growth_%", "it's", "a\nb")]
    [True, True, True, True, False]
    """
    return not any(unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") or mark in _TURNING for mark in name)


def snake_case(name: str) -> str:
    """Give a name of small letters, digits and underscores that is near to another one.

    Examples
    --------
    >>> snake_case("sepal length (cm)")
    'sepal_length_cm'
    >>> snake_case("2nd Größe")
    'c_2nd_grosse'
    """
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "column"
    return ("c_" + words if words[0].isdigit() else words)[:LONGEST].rstrip("_")


def duplicate_name_problems(names: Sequence[str]) -> list[Problem]:
    """Find names that come more than once."""
    return [
        Problem("duplicate-column", f"{n} columns are named {name!r}; a name is given once", name)
        for name, n in Counter(names).items()
        if n > 1
    ]


def illegal_name_problems(names: Sequence[str]) -> list[Problem]:
    """Find names that no column may have."""
    return [
        Problem("column-name", f"the column name {_shown(name)} has a control character", name)
        for name in dict.fromkeys(names)
        if not is_legal_name(name)
    ]


def missing_column_problems(wanted: Sequence[str], came: Sequence[str], word: str = "column") -> list[Problem]:
    """Find columns that are wanted and did not come; each with the new name that it perhaps has."""
    strangers = [name for name in came if name not in wanted]
    return [
        Problem(
            "missing-column",
            f"the {word} {name!r} is missing; what came is {format_names(came)}{did_you_mean(name, strangers)}",
            name,
        )
        for name in wanted
        if name not in came
    ]


def extra_column_problems(wanted: Sequence[str], came: Sequence[str]) -> list[Problem]:
    """Find columns that came and that the schema does not know."""
    return [
        Problem("extra-column", f"the column {_shown(name)} is not in the schema{did_you_mean(name, wanted)}", name)
        for name in dict.fromkeys(came)
        if name not in wanted
    ]


def format_names(names: Sequence[str]) -> str:
    """List names in a message; not more than forty."""
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return (", ".join(map(_shown, names[:40])) or "no column") + more


def _shown(name: str) -> str:
    """Show a name in ASCII: a mark that turns the direction of writing must not act on a message."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")
