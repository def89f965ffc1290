"""Formatting of comments, docstrings and literals, and of the empty lines between definitions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from diurnal.notebook.script_options import PLACEHOLDER

MAX_LINE = 120


def format_placeholder(message: str, indent: int) -> list[str]:
    """Return the comment lines for a placeholder.

    Examples
    --------
    >>> format_placeholder("name the column to predict", 0)
    ['# FILL_IN: name the column to predict']
    """
    return format_comment(f"{PLACEHOLDER}: {message}", indent)


def format_comment(message: str, indent: int) -> list[str]:
    """Return the lines of a comment."""
    return textwrap.wrap(
        " ".join(message.split()),
        MAX_LINE - indent,
        initial_indent="# ",
        subsequent_indent="#     ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def find_placeholders(text: str) -> list[dict[str, object]]:
    r"""List the comments about placeholders, with their line numbers.

    Examples
    --------
    >>> find_placeholders("x = 1\n# FILL_IN: first\n#     and more\n")
    [{'line': 2, 'what': 'first and more'}]
    """
    found: list[dict[str, object]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        start = re.match(rf"\s*# {PLACEHOLDER}: (.*)", line)
        if start:
            message, after = [start[1]], number
            while after < len(lines) and lines[after].lstrip().startswith("#     "):
                message.append(lines[after].lstrip("# "))
                after += 1
            found.append({"line": number, "what": " ".join(message)})
    return found


def format_docstring(message: str) -> str:
    """Return a title as a docstring.

    Examples
    --------
    >>> print(format_docstring('Who "survives"'))
    \"\"\"Who "survives".\"\"\"
    """
    message = message.replace("\\", "\\\\").replace('"""', "'''").strip()
    ends = message[-1:] in (".", "!", "?")
    return f'"""{message}"""' if ends else f'"""{message}."""'


def quote_string(text: str) -> str:
    """Return a string literal with double quotes, if that needs no escapes."""
    return f'"{text}"' if text.isprintable() and not set('"\\') & set(text) else repr(text)


class Block(NamedTuple):
    """Lines of a module that belong together."""

    lines: list[str]
    is_definition: bool = False


def join_blocks(blocks: Iterable[Block]) -> str:
    r"""Join blocks, with two empty lines around definitions and one between other blocks.

    Examples
    --------
    >>> join_blocks([Block(["import re"]), Block([]), Block(["def f():", "    pass"], True)])
    'import re\n\n\ndef f():\n    pass\n'
    """
    lines: list[str] = []
    before: Block | None = None
    for block in blocks:
        if block.lines:
            if before is not None:
                lines += [""] * (2 if block.is_definition or before.is_definition else 1)
            lines += block.lines
            before = block
    return "".join(f"{line.rstrip()}\n" for line in lines)
