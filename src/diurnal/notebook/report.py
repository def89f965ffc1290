"""The report of a conversion: the parts that were extracted from a notebook, and the lines that were left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from diurnal.notebook.document import Document
from diurnal.notebook.inlining import CROSS_VALIDATING
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name

_PLOT_MODULES = re.compile("plt|sns|seaborn|px|go|fig|ax|axes|axs|alt|ggplot|matplotlib|plotly|wandb")
_REASONS = [
    (why, re.compile(pattern))  # the pattern of names that a statement calls or reads
    for why, pattern in (
        ("a split: diurnal splits by a hash of each row", "train_test_split|randomSplit"),
        ("a fit: each run fits the search", f"fit|fit_predict|{'|'.join(sorted(CROSS_VALIDATING))}"),
        ("a plot", r"plot\w*|hist|boxplot|scatter|heatmap|show|savefig|from_estimator|set_style|scatter_matrix"),
        (
            "an export: each run publishes the model and stores the batch",
            r"dump|to_(csv|parquet|excel|json|pickle|sql)|save|savez|log_(model|metric|param)s?",
        ),
        (
            "an evaluation: each run evaluates the model on its test rows",
            r"predict\w*|score|\w+_(score|error|loss|curve)|confusion_matrix|classification_report|decision_function"
            r"|best_\w+_|cv_results_|feature_importances_|permutation_importance|coef_",
        ),
        ("parses the command line", "ArgumentParser|add_argument|parse_args"),
        (
            "inspects the data",
            "print|display|pprint|head|tail|info|describe|sample|value_counts|nunique|unique|isnull|isna|shape|dtypes"
            "|corr|columns|groupby|crosstab|set_option|filterwarnings|simplefilter|basicConfig",
        ),
    )
]


@dataclass(frozen=True)
class LeftOutLines:
    """Lines that were left out.

    Attributes
    ----------
    cell : int or None
        The number of the code cell; None in a script.
    line, last_line : int
        The first and the last line within the cell.
    text : str
        The first line.
    reason : str
        The reason why the experiment does not have them.
    """

    cell: int | None
    line: int
    last_line: int
    text: str
    reason: str


@dataclass
class Report:
    """The report of `diurnal init --from`.

    Attributes
    ----------
    taken : list of dict
        Extracted parts: ``what`` they are, their ``text``, and their ``place`` in the notebook.
    left_out : list of LeftOutLines
        The lines that were left out, by cell and line.
    to_fill_in : list of dict
        The ``line`` of the experiment's file, and ``what`` to decide there.
    notes : list of str
        Differences from the notebook.
    """

    taken: list[dict[str, str]] = field(default_factory=list)
    left_out: list[LeftOutLines] = field(default_factory=list)
    to_fill_in: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary of JSON types."""
        return asdict(self)


def list_left_out(program: Program, used: set[int], further: list[tuple[int, str, str]]) -> list[LeftOutLines]:
    """List the lines of a notebook that were not extracted, each with a reason.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    used : set of int
        The indexes of the statements that were extracted.
    further : list of (int, str, str)
        Lines, texts and reasons that are always listed, such as arguments that were left out.
    """
    document = program.document
    kept = {line for index in used for line in _line_numbers(program[index].node)}
    found: dict[int, tuple[int, str, str]] = {}
    for statement in program.statements:
        node = statement.node
        if node.lineno in kept or (statement.definition is not None and _was_inlined(program, node)):
            continue
        found[node.lineno] = (
            node.end_lineno or node.lineno,
            _first_source_line(document, node),
            explain_omission(node),
        )
    for magic in document.skipped:
        found[magic.line] = (magic.line, magic.text, magic.reason)
    grouped = [_left_out_lines(document, line, *rest) for line, rest in sorted(_merge_neighbors(document, found))]
    return sorted(
        [*grouped, *(_left_out_lines(document, line, line, text, why) for line, text, why in further)], key=_position
    )


def _position(left: LeftOutLines) -> tuple[int, int]:
    return left.cell or 0, left.line


def _line_numbers(node: ast.stmt) -> Iterator[int]:
    return iter(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _was_inlined(program: Program, node: ast.stmt) -> bool:
    """Return whether a function was inlined: its statements are then listed individually."""
    inner = set(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return any(other.node.lineno in inner for other in program.statements if other.node is not node)


def _first_source_line(document: Document, node: ast.stmt) -> str:
    return document.lines[node.lineno - 1].strip()[:100] if node.lineno <= len(document.lines) else ""


def _left_out_lines(document: Document, line: int, last: int, text: str, why: str) -> LeftOutLines:
    first = line if document.is_script else document.line_in_cell(line)
    return LeftOutLines(document.cell(line), first, first + last - line, text, why)


def _merge_neighbors(
    document: Document, found: dict[int, tuple[int, str, str]]
) -> Iterator[tuple[int, tuple[int, str, str]]]:
    """Merge neighboring lines of a cell that have the same reason."""
    current: tuple[int, tuple[int, str, str]] | None = None
    for line, (last, text, why) in sorted(found.items()):
        if current is not None:
            start, (end, first_text, first_why) = current
            between = document.lines[end : line - 1]
            same_cell = document.cell(start) == document.cell(line)
            is_next = all(not gap.strip() or gap.strip().startswith("#") for gap in between)
            if why == first_why and same_cell and is_next:
                current = start, (max(last, end), first_text, why)
                continue
            yield current
        current = line, (last, text, why)
    if current is not None:
        yield current


def explain_omission(node: ast.stmt) -> str:
    """Return the reason why a statement is not part of the experiment."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "an import that the experiment does not need"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return "the search does not depend on it"
    names = {callee_name(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    names |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    roots = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    for why, pattern in _REASONS:
        if any(pattern.fullmatch(name) for name in names) or (
            why == "a plot" and any(map(_PLOT_MODULES.fullmatch, roots))
        ):
            return why
    return "inspects the data" if isinstance(node, ast.Expr) else "the search does not depend on it"
