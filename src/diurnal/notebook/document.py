"""The code of a notebook or script: its cells, its title, and the location of each line."""

from __future__ import annotations

import ast
import bisect
import io
import json
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diurnal.errors import UsageError
from diurnal.notebook.magics import Magic, parse_python, replace_magics

MAX_BYTES = 64 * 2**20
_FORMS = "a Jupyter notebook (.ipynb) or a Python script (.py)"
_HEADING = re.compile(
    r"^\s*#{1,6}\s+(.+)|<h[1-6][^>]*>(.+?)</h[1-6]>|\A\s*\*\*(.+?)\*\*\s*$", re.MULTILINE | re.IGNORECASE
)
_MARKER = re.compile(r"#\s*%%\s*(\[(markdown|md)\])?\s*(?P<title>.*)")


@dataclass
class Document:
    """All code of a notebook or script, cell after cell.

    Attributes
    ----------
    path : Path
        The file of the notebook or script.
    title : str
        The first heading, or the first line of the docstring of a script; empty if there is neither.
    lines : list of str
        The lines of all cells. The line numbers of `nodes` refer to this list and start at 1.
    nodes : list of ast.stmt
        The statements of all cells.
    skipped : list of Magic
        The lines that are not Python. Their line numbers refer to `lines` as well.
    out_of_order : bool
        Whether the execution counts show another order than the order of the cells.
    starts : list of int
        The first line of each cell; a script has one cell.
    """

    path: Path
    title: str = ""
    lines: list[str] = field(default_factory=list)
    nodes: list[ast.stmt] = field(default_factory=list)
    skipped: list[Magic] = field(default_factory=list)
    out_of_order: bool = False
    starts: list[int] = field(default_factory=list)

    @property
    def is_script(self) -> bool:
        """Whether the document is a script, which has no cells."""
        return self.path.suffix.lower() != ".ipynb"

    def cell(self, line: int) -> int | None:
        """Return the number of the code cell that contains a line; None in a script."""
        return None if self.is_script else bisect.bisect_right(self.starts, line)

    def line_in_cell(self, line: int) -> int:
        """Return the number of a line within its cell."""
        return line - self.starts[bisect.bisect_right(self.starts, line) - 1] + 1

    def location(self, line: int) -> str:
        """Return the location of a line as text, such as ``cell 2, line 3``."""
        cell = self.cell(line)
        return f"line {line}" if cell is None else f"cell {cell}, line {self.line_in_cell(line)}"

    def add(self, text: str) -> None:
        """Add a code cell. A cell of a notebook that is not valid Python is skipped."""
        text, magics = replace_magics(text)
        before = len(self.lines)
        self.starts.append(before + 1)
        self.skipped += [Magic(before + magic.line, magic.text, magic.reason) for magic in magics]
        self.lines += text.split("\n")
        try:
            nodes = parse_python(text).body
        except SyntaxError as error:
            self._refuse_script(error)
            reason = f"it cannot be parsed as Python: {error.msg} (line {error.lineno})"
            self.skipped.append(Magic(before + 1, text.strip().split("\n")[0], reason))
            return
        self.nodes += [ast.increment_lineno(node, before) for node in nodes]

    def _refuse_script(self, error: SyntaxError) -> None:
        if self.is_script:
            raise UsageError(
                f"{self.path}:{error.lineno}: the script is not valid Python: {error.msg}",
                hint="correct the script and run the command again",
            )


def read_document(path: Path) -> Document:
    """Read a notebook (nbformat 3 or 4) or a script without running it.

    Raises
    ------
    UsageError
        If the file is neither, is too large or damaged, or is in another language than Python.
    """
    suffix = path.suffix.lower()
    if suffix not in (".ipynb", ".py"):
        raise UsageError(f"{path} is not {_FORMS}", hint=f"pass {_FORMS}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UsageError(
            f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are allowed",
            hint="clear the outputs of the notebook and save it",
        )
    return _read_script(path) if suffix == ".py" else _read_notebook(path)


def _read_script(path: Path) -> Document:
    content = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = _normalize_newlines(content.decode(encoding))
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UsageError(f"{path} cannot be decoded as text: {error}", hint="save the file in UTF-8") from None
    document = Document(path)
    document.add(text.removeprefix("\ufeff"))
    docstring = ast.get_docstring(ast.Module(document.nodes, []), clean=True) or ""
    document.title = _first_text_line(docstring) or _find_title(list(_markdown_cells(text)))
    return document


def _markdown_cells(text: str) -> Iterator[str]:
    """Yield the markdown cells of a script in the percent format."""
    inside, lines = False, list[str]()
    for line in [*text.split("\n"), "# %%"]:
        marker = _MARKER.match(line)
        if marker:
            if inside:
                yield "\n".join(lines)
            inside, lines = bool(marker[1]), []
        elif inside:
            lines.append(line.removeprefix("#").strip())


def _read_notebook(path: Path) -> Document:
    content = _load_json(path)
    _check_language(path, content)
    document, markdown, counts = Document(path), list[str](), list[int]()
    for cell_type, text, count in _iter_cells(path, content):
        if cell_type == "code" and text.strip():
            document.add(text)
            counts += [count] if isinstance(count, int) else []
        elif cell_type in ("markdown", "heading"):
            markdown.append(text)
    document.title = _find_title(markdown)
    document.out_of_order = counts != sorted(counts)
    return document


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"{path} is not a notebook: it is not JSON: {reason}", hint=f"pass {_FORMS}") from None
    if not isinstance(content, dict) or not {"cells", "worksheets"} & set(content):
        raise UsageError(f"{path} is not a notebook: it has no cells", hint=f"pass {_FORMS}")
    return content


def _check_language(path: Path, content: dict[str, Any]) -> None:
    """Raise an error for a notebook of another language; a notebook without a language is read as Python."""
    tables = content.get("metadata")
    tables = tables if isinstance(tables, dict) else {}
    kernel, info = (t if isinstance(t, dict) else {} for t in (tables.get("kernelspec"), tables.get("language_info")))
    kernels = {"ir": "R", "julia": "Julia"}
    language_of_kernel = kernels.get(str(kernel.get("name")).split("-")[0], "python")
    language = str(kernel.get("language") or info.get("name") or language_of_kernel)
    if "python" not in language.lower():
        raise UsageError(
            f"{path} is a notebook in {language}; experiments are written in Python", hint=f"pass {_FORMS}"
        )


def _iter_cells(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the type, the text and the execution count of each cell."""
    pages = [content] if "cells" in content else content["worksheets"]
    for page in pages if isinstance(pages, list) else [None]:
        cells = page.get("cells", []) if isinstance(page, dict) else None
        if not isinstance(cells, list):
            raise UsageError(f"{path} is damaged: its cells are not a list", hint="open it in Jupyter and save it")
        for number, cell in enumerate(cells, 1):
            yield _read_cell(path, number, cell)


def _read_cell(path: Path, number: int, cell: Any) -> tuple[str, str, Any]:
    cell_type = cell.get("cell_type") if isinstance(cell, dict) else None
    source = cell.get("source", cell.get("input", "")) if isinstance(cell, dict) else None
    text = "".join(source) if isinstance(source, list) and all(isinstance(s, str) for s in source) else source
    if not isinstance(cell_type, str) or not isinstance(text, str):
        raise UsageError(
            f"{path} is damaged: cell {number} has no type or no text", hint="open it in Jupyter and save it"
        )
    if cell_type == "heading":  # of nbformat 3
        text = f"# {text}"
    return cell_type, _normalize_newlines(text), cell.get("execution_count", cell.get("prompt_number"))


def _normalize_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _find_title(markdown: list[str]) -> str:
    """Return the first heading of the markdown cells, or an empty string."""
    for text in markdown:
        found = _HEADING.search(text)
        title = _strip_markup(found[1] or found[2] or found[3]) if found else ""
        if title:
            return title
    return ""


def _strip_markup(text: str) -> str:
    """Return the first line without the markup of Markdown and HTML."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<[^>]*>|[*`]|\s#+\s*$|\\", "", text)
    return _first_text_line(text)


def _first_text_line(text: str) -> str:
    line = " ".join(text.strip().split("\n")[0].split())
    return line[:200]
