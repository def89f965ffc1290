"""Lines of a notebook that are not Python: magics, shell commands and help requests."""

from __future__ import annotations

import ast
import re
import warnings
from typing import NamedTuple

_RUNS_PYTHON = ("time", "timeit", "capture", "prun", "memit")  # the argument of these magics is Python
_MAGIC = re.compile(r"(?P<indent>\s*)(?P<mark>%%?|!!?|\?\??)(?P<name>\S*)(?P<rest>.*)", re.DOTALL)
_HELP = re.compile(r"\s*[\w.]+(\(.*\))?\s*\?\??\s*")
_ASSIGNED = re.compile(r"\s*[\w.,\s\[\]'\"]+=\s*[%!]")
_SHELL = re.compile(r"\s*(pip3?|conda|mamba|uv|apt-get|ls|cd|pwd|cat|mkdir|wget|curl)\s+[\w./~-]")
_OPTIONS = re.compile(r"(\s*-\w+(\s*\d+)?)*\s*")
_TOKEN = re.compile(
    r"""\#.* | (?P<long>\"{3}|'{3}) | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    | (?P<open>[([{]) | (?P<close>[)\]}])""",
    re.VERBOSE,
)


class Magic(NamedTuple):
    """A line that is skipped because it is not Python."""

    line: int
    text: str
    reason: str


def parse_python(text: str) -> ast.Module:
    """Parse Python without the parser's warnings.

    Raises
    ------
    SyntaxError
        If the text is not Python, including what `ast.parse` rejects with another exception, such as a null byte.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except ValueError as error:
        raise SyntaxError(str(error)) from None


def replace_magics(text: str) -> tuple[str, list[Magic]]:
    r"""Replace lines that are not Python by ``pass``, so that all other lines keep their numbers.

    Examples
    --------
    >>> text, magics = replace_magics("%matplotlib inline\nif gpu:\n    !pip install cupy\n%time model.fit(X, y)")
    >>> print(text)
    pass
    if gpu:
        pass
    model.fit(X, y)
    >>> [magic.reason for magic in magics]
    ['a magic', 'a shell command']
    """
    try:
        parse_python(text)
    except SyntaxError:
        return _MagicReplacer(text).replace()
    return text, []


class _MagicReplacer:
    """Replaces the lines of a cell, one after the other."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.magics: list[Magic] = []
        self.depth = 0  # the number of open brackets
        self.quote = ""  # the quotes of an open string that spans several lines
        self.whole_cell = False

    def replace(self) -> tuple[str, list[Magic]]:
        number = 0
        while number < len(self.lines):
            number = self._replace_line(number)
        return "\n".join(self.lines), self.magics

    def _replace_line(self, number: int) -> int:
        """Replace a line if it is not Python, and return the number of the next line."""
        line = self.lines[number]
        reason = "" if self.depth or self.quote else self._classify(line, number)
        if not reason:
            self._track_brackets(line)
            return number + 1
        last = len(self.lines) - 1 if self.whole_cell else number
        while last < len(self.lines) - 1 and self.lines[last].endswith("\\"):
            last += 1
        python = self._python_of_magic(line)
        if python is None:
            self.magics.append(Magic(number + 1, line.strip(), reason))
        indent = line[: len(line) - len(line.lstrip())]
        self.lines[number] = indent + (python or "pass")
        self.lines[number + 1 : last + 1] = [""] * (last - number)
        return last + 1

    def _classify(self, line: str, number: int) -> str:
        found = _MAGIC.match(line)
        if found and found["mark"] == "%%" and found["name"] not in _RUNS_PYTHON:
            self.whole_cell = not any(before.strip() for before in self.lines[:number])
            return "a cell magic"
        if found:
            return {"%": "a magic", "!": "a shell command", "?": "help"}[found["mark"][0]]
        if _ASSIGNED.match(line):
            return "a magic or shell command"
        if _SHELL.match(line):
            return "a shell command"
        return "help" if _HELP.fullmatch(line) else ""

    def _python_of_magic(self, line: str) -> str | None:
        """Return the statement after a magic such as ``%time``; empty for ``%%time``, which runs its cell."""
        found = _MAGIC.match(line)
        if not found or found["mark"][0] != "%" or found["name"] not in _RUNS_PYTHON:
            return None
        if found["mark"] == "%%":
            return ""
        return _OPTIONS.sub("", found["rest"], count=1)

    def _track_brackets(self, line: str) -> None:
        """Track the brackets and strings that are open at the end of a line."""
        at = 0
        while at < len(line):
            if self.quote:
                end = line.find(self.quote, at)
                if end < 0:
                    return
                self.quote, at = "", end + 3
                continue
            found = _TOKEN.search(line, at)
            if not found:
                return
            self.quote = found["long"] or ""
            self.depth += bool(found["open"]) - (bool(found["close"]) and self.depth > 0)
            at = found.end()
