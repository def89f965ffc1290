"""Differences between the code of two runs, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from diurnal.experiment import Code

LineKind = Literal["same", "added", "removed", "gap"]
MAX_LINES = 2_000
_CONTEXT = 3


@dataclass(frozen=True)
class DiffLine:
    """A line of a difference.

    Attributes
    ----------
    kind : {"same", "added", "removed", "gap"}
        A gap stands for lines that are equal and left out.
    text : str
        The text of the line.
    before, after : int or None
        Its number in either file.
    """

    kind: LineKind
    text: str
    before: int | None = None
    after: int | None = None


def diff_code(before: Code, after: Code) -> dict[str, list[DiffLine]]:
    """Return the differences of each file that has changed, by its path; the experiment's own file is the first one."""
    names = sorted({*before.files, *after.files}, key=lambda name: (name != after.file, name))
    found = {name: diff_texts(before.files.get(name, ""), after.files.get(name, "")) for name in names}
    return {name: lines for name, lines in found.items() if lines}


def diff_texts(before: str, after: str) -> list[DiffLine]:
    r"""Return the lines that differ, with three lines around them; at most 2,000.

    Examples
    --------
    >>> [(line.kind, line.text) for line in diff_texts("a\nb", "a\nc")]
    [('same', 'a'), ('removed', 'b'), ('added', 'c')]
    """
    if before == after:
        return []
    old, new = before.splitlines(), after.splitlines()
    lines: list[DiffLine] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if lines or group[0][1] > 0:
            lines.append(DiffLine("gap", ""))
        for tag, i, i_end, j, j_end in group:
            lines += _lines_of(tag, old[i:i_end], new[j:j_end], i, j)
        if len(lines) > MAX_LINES:
            return [*lines[:MAX_LINES], DiffLine("gap", "")]
    return lines


def _lines_of(tag: str, old: list[str], new: list[str], i: int, j: int) -> Iterator[DiffLine]:
    if tag == "equal":
        for k, text in enumerate(old):
            yield DiffLine("same", text, i + k + 1, j + k + 1)
        return
    for k, text in enumerate(old):
        yield DiffLine("removed", text, before=i + k + 1)
    for k, text in enumerate(new):
        yield DiffLine("added", text, after=j + k + 1)
