"""Formatting of statements: on one line if it fits, else one element per line, in the style of Black."""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from collections.abc import Mapping, Sequence

from diurnal.notebook.magics import parse_python

MAX_LINE = 120
_LITERAL = re.compile(r"""[rRuU]?("([^"\\]|\\.)*"|'([^'\\]|\\.)*')""")
_BRACKETS = {ast.List: "[]", ast.Tuple: "()", ast.Set: "{}", ast.Dict: "{}"}


class Layout:
    """Formats statements of a notebook.

    Parameters
    ----------
    lines : sequence of str
        The lines of the notebook, from which literals and comments are copied.
    edits : Mapping of (int, int) to str, optional
        Replacements of string literals, by line and column.
    """

    def __init__(self, lines: Sequence[str], edits: Mapping[tuple[int, int], str] | None = None) -> None:
        self.lines = lines
        self.edits = edits or {}

    def format_statement(self, node: ast.stmt, indent: int = 0) -> list[str]:
        """Return the lines of a statement.

        Parameters
        ----------
        node : ast.stmt
            The statement. It is copied if it has comments and was not rewritten.
        indent : int
            The number of spaces before it.
        """
        is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        is_compound = hasattr(node, "body") or isinstance(node, ast.Match)
        copied = self._copy_source(node, indent, always=is_definition)
        written = (
            [" " * indent + line if line else "" for line in self._unparse(node).split("\n")] if is_compound else []
        )
        if copied is not None or not is_compound:
            return copied or self._format_simple(node, indent)
        if max(map(len, written)) > MAX_LINE:
            return self._copy_source(node, indent, always=True) or written
        return written

    def _copy_source(self, node: ast.stmt, indent: int, *, always: bool) -> list[str] | None:
        """Return the source of a statement that has comments, or of any with `always`; None if it was rewritten."""
        source = self.source_lines(node)
        if source is None or not (always or "#" in source) or not _is_unchanged(source, node):
            return None
        edited = "\n".join(
            self._edit_line(number) for number in range(_first_line_number(node), (node.end_lineno or 0) + 1)
        )
        copied = [" " * indent + line if line.strip() else "" for line in _dedented_lines(edited, node)]
        return None if max(map(len, copied)) > MAX_LINE or _changes_multiline_strings(node, indent) else copied

    def comments_above(self, node: ast.stmt) -> list[str]:
        """Return the comments directly above a statement, or nothing if they contain commented-out code."""
        found: list[str] = []
        line = _first_line_number(node) - 2
        while 0 <= line < len(self.lines) and self.lines[line].strip().startswith("#"):
            if _is_cell_marker(self.lines[line].strip()):
                break
            found.insert(0, self.lines[line].strip())
            line -= 1
        return [] if any(map(_is_commented_code, found)) else found

    def source_lines(self, node: ast.stmt) -> str | None:
        """Return the source lines of a statement as text, or None if it was generated."""
        first, last = _first_line_number(node), node.end_lineno
        if last is None or not 1 <= first <= last <= len(self.lines):
            return None
        return "\n".join(self.lines[first - 1 : last])

    def _edit_line(self, number: int) -> str:
        """Return a line in which `edits` replace its literals."""
        line = self.lines[number - 1].encode()
        for (edit_line, column), text in sorted(self.edits.items(), reverse=True):
            if edit_line == number:
                rest = line[column:].decode()
                old = _LITERAL.match(rest)
                line = line[:column] + (text + rest[old.end() :] if old else rest).encode()
        return line.decode()

    def _unparse(self, node: ast.AST) -> str:
        return ast.unparse(ast.fix_missing_locations(_LiteralRestorer(self).visit(copy.deepcopy(node))))

    def literal(self, node: ast.AST) -> str | None:
        """Return the source text of a literal on one line, or None."""
        line, end = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
        if line != end or not 1 <= line <= len(self.lines):
            return None
        text = self.lines[line - 1].encode()[node.col_offset : node.end_col_offset]  # type: ignore[attr-defined]
        return text.decode(errors="replace")

    def _format_simple(self, node: ast.stmt, indent: int) -> list[str]:
        flat = self._unparse(node)
        value = getattr(node, "value", None)
        if isinstance(value, ast.Tuple) and value.elts and flat.endswith(")"):  # a, b = 1, 2
            written = self._unparse(value)
            flat = flat.removesuffix(written) + written[1:-1]
        if "\n" in flat or indent + len(flat) <= MAX_LINE:
            return [" " * indent + flat]
        flat = self._unparse(node)
        if not isinstance(value, ast.expr):
            return [" " * indent + flat]
        written = self._unparse(value)
        prefix = flat.removesuffix(written)
        if prefix == flat:
            return [" " * indent + flat]
        return self.format_expression(value, prefix, "", indent)

    def format_expression(self, node: ast.expr, prefix: str = "", suffix: str = "", indent: int = 0) -> list[str]:
        """Return the lines of an expression between a prefix and a suffix, split at its brackets if it is too long.

        Parameters
        ----------
        node : ast.expr
            The expression.
        prefix, suffix : str
            The text before it on the first line, and after it on the last line.
        indent : int
            The number of spaces before the first line.
        """
        flat = self._unparse(node)
        margin = " " * indent
        if "\n" in flat or indent + len(prefix) + len(flat) + len(suffix) <= MAX_LINE:
            return [f"{margin}{prefix}{flat}{suffix}"]
        opening, items, closing = self._split_brackets(node)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp):
            return [f"{margin}{prefix}{flat[0]}", f"{margin}    {flat[1:-1]}", f"{margin}{flat[-1]}{suffix}"]
        if not items:
            return [f"{margin}{prefix}{flat}{suffix}"]
        inner = ", ".join(f"{head}{self._unparse(item)}" for head, item in items)
        if "\n" not in inner and indent + 4 + len(inner) <= MAX_LINE:
            middle = [f"{margin}    {inner}"]
        else:
            comma = "," if len(items) > 1 or isinstance(node, ast.Tuple) else ""
            middle = [line for head, item in items for line in self.format_expression(item, head, comma, indent + 4)]
        return [f"{margin}{prefix}{opening}", *middle, f"{margin}{closing}{suffix}"]

    def _split_brackets(self, node: ast.expr) -> tuple[str, list[tuple[str, ast.expr]], str]:
        """Split an expression into the text before its brackets, the elements within, and the closing bracket."""
        if isinstance(node, ast.Call):
            positional = [("", argument) for argument in node.args]
            named = [(f"{k.arg}=" if k.arg else "**", k.value) for k in node.keywords]
            return f"{self._unparse(node.func)}(", [*positional, *named], ")"
        if isinstance(node, ast.Dict):
            pairs = [
                (f"{self._unparse(key)}: " if key else "**", value)
                for key, value in zip(node.keys, node.values, strict=True)
            ]
            return "{", pairs, "}"
        brackets = _BRACKETS.get(type(node))
        if brackets is None or not isinstance(node, ast.List | ast.Tuple | ast.Set):
            return "", [], ""
        return brackets[0], [("", element) for element in node.elts], brackets[1]


class _LiteralRestorer(ast.NodeTransformer):
    """Restores literals as they are written in the notebook: ``1e-3`` and not ``0.001``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        edit = self.layout.edits.get((getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))
        if edit is not None and isinstance(node.value, str):
            return ast.Name(edit, ast.Load())
        text = self.layout.literal(node)
        try:
            is_same = text is not None and ast.literal_eval(text) == node.value
        except (ValueError, SyntaxError):
            is_same = False
        if text is None or not is_same or type(node.value) is bool:
            text = repr(node.value)
        return ast.Name(_double_quoted(text) if isinstance(node.value, str) else _normalized_number(text), ast.Load())

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        text = self.layout.literal(node)
        if text is None or not _parses_to(text, node):
            text = ast.unparse(node)
        if text[:2] == "f'" and text[:4] != "f'''" and not set('"\\') & set(text):
            text = f'f"{text[2:-1]}"'
        return ast.Name(text, ast.Load())

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return node  # a docstring
        return self.generic_visit(node)


def _double_quoted(text: str) -> str:
    """Return a string literal with double quotes, if that needs no further escapes."""
    is_plain = text[:1] == "'" and text[:3] != "'''" and '"' not in text and "\\'" not in text
    return f'"{text[1:-1]}"' if is_plain else text


def _normalized_number(text: str) -> str:
    """Return a number in the style of formatters: ``0.1`` for ``.1``, ``1.0`` for ``1.``."""
    text = re.sub(r"^\.(?=\d)", "0.", text)
    return re.sub(r"(?<=\d)\.(?=$|[eEjJ])", ".0", text)


def _parses_to(text: str, node: ast.expr) -> bool:
    """Return whether a text parses to an expression."""
    try:
        return ast.dump(ast.parse(text, mode="eval").body) == ast.dump(node)
    except (SyntaxError, ValueError):
        return False


def _first_line_number(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", None) or []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _dedented_lines(source: str, node: ast.stmt) -> list[str]:
    lines = textwrap.dedent(source).rstrip().split("\n")
    return lines if lines[0][:1].strip() else [line[node.col_offset :] for line in lines]


def _is_unchanged(source: str, node: ast.stmt) -> bool:
    """Return whether a text parses to a statement; it does not if the statement was rewritten."""
    try:
        module = parse_python(textwrap.dedent(source))
    except SyntaxError:
        return False
    return len(module.body) == 1 and ast.dump(module.body[0]) == ast.dump(node)


def _changes_multiline_strings(node: ast.stmt, indent: int) -> bool:
    """Return whether another indent would change a string that spans several lines."""
    return indent != node.col_offset and any(
        isinstance(part, ast.Constant | ast.JoinedStr) and part.lineno != part.end_lineno for part in ast.walk(node)
    )


def _is_commented_code(comment: str) -> bool:
    """Return whether a comment is commented-out code."""
    try:
        body = parse_python(comment.lstrip("# ")).body
    except SyntaxError:
        return False
    prose_nodes = (ast.Name, ast.Constant, ast.BinOp, ast.Tuple)
    return not all(isinstance(node, ast.Expr) and isinstance(node.value, prose_nodes) for node in body)


def _is_cell_marker(comment: str) -> bool:
    return comment.startswith(("# %%", "#%%", "# In[", "#!", "# -*-", "# +", "# -"))
