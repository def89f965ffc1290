"""The statements that read and prepare a frame, rewritten for a source function."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from diurnal.notebook import readers
from diurnal.notebook.backward_slice import slice_backward
from diurnal.notebook.effects import find_free_names
from diurnal.notebook.program import Program, Statement
from diurnal.notebook.queries import find_query
from diurnal.notebook.readers import ProjectPaths
from diurnal.notebook.row_slices import read_splitter_fraction
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.syntax import callee_name, root_name

PROJECT = "PROJECT"
_PATH = re.compile(r"(?!/)[\w .*/-]+\.(csv|tsv|txt|parquet|feather|json|jsonl|xlsx?|pkl|pickle|npy|npz|h5|db)(\.\w+)?")
_GENERATED_NAMES = {PROJECT, PLACEHOLDER, "pa", "self", "interval", "connections"}


@dataclass
class Preparation:
    """The statements of a source function.

    Attributes
    ----------
    nodes : dict of int to ast.stmt
        The statements, by index.
    unresolved : frozenset of str
        Names without a definition.
    split : ast.Call or None
        The call of the split that was replaced.
    split_index : int
        The index of the split.
    test_fraction : float or None
        The fraction of rows for testing, if the notebook selects rows by the folds of a splitter.
    queries : dict of str to str
        The expressions of the SQL sources that the function reads, by name.
    to_fill_in : list of str
        Decisions for the user of the experiment.
    edits : dict of (int, int) to str
        Replacements of string literals within functions, by line and column.
    """

    nodes: dict[int, ast.stmt] = field(default_factory=dict)
    unresolved: frozenset[str] = frozenset()
    split: ast.Call | None = None
    split_index: int = -1
    test_fraction: float | None = None
    queries: dict[str, str] = field(default_factory=dict)
    to_fill_in: list[str] = field(default_factory=list)
    edits: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def first_index(self) -> int:
        """The index of the first statement that is not an import; -1 if there is none."""
        return next((i for i, node in self.nodes.items() if not isinstance(node, ast.Import | ast.ImportFrom)), -1)

    def __or__(self, other: Preparation) -> Preparation:
        """Return the union of two preparations, in the order of their statements."""
        return Preparation(
            dict(sorted({**self.nodes, **other.nodes}.items())),
            self.unresolved | other.unresolved,
            self.split or other.split,
            max(self.split_index, other.split_index),
            self.test_fraction or other.test_fraction,
            {**self.queries, **other.queries},
            list(dict.fromkeys([*self.to_fill_in, *other.to_fill_in])),
            {**self.edits, **other.edits},
        )


def collect_preparation(
    program: Program, names: Iterable[str], at: int, paths: ProjectPaths, *, spark: bool = False
) -> Preparation:
    """Collect the statements that names depend on, with paths relative to the project.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    names : iterable of str
        The names of the frames and columns.
    at : int
        The index of the statement that uses them.
    paths : ProjectPaths
        The folders of the notebook and of the project.
    spark : bool
        Whether the function gets the session of Spark as an argument.
    """
    names, found = frozenset(names), Preparation()
    rewriter = _SourceRewriter(program, found, paths, spark=spark)
    sliced = slice_backward(program, names, at, fits=True, rewrite=rewriter.node)
    nodes = _drop_unused_parts(program, sliced.nodes, names)
    found.nodes = dict(sorted({**_seed_statements(program, nodes, at), **nodes}.items()))
    found.unresolved = sliced.unresolved - _GENERATED_NAMES - ({"spark"} if spark else set())
    found.to_fill_in.reverse()
    found.to_fill_in += _describe_relative_paths(found)
    return found


def _describe_relative_paths(found: Preparation) -> list[str]:
    """Describe the paths that depend on the working directory."""
    texts: dict[str, None] = {}
    for node in found.nodes.values():
        own = {
            id(part.right) for part in ast.walk(node) if isinstance(part, ast.BinOp) and root_name(part.left) == PROJECT
        }
        for part in ast.walk(node):
            text = part.value if isinstance(part, ast.Constant) and id(part) not in own else None
            is_edited = (getattr(part, "lineno", 0), getattr(part, "col_offset", 0)) in found.edits
            if isinstance(text, str) and _PATH.fullmatch(text) and not is_edited:
                texts[text] = None
    parts = [part for node in found.nodes.values() for part in ast.walk(node)]
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    names |= {callee_name(part.func) for part in parts if isinstance(part, ast.Call)}
    return [
        *(f"the path {text!r} is relative to the working directory; write PROJECT / {text!r}" for text in texts),
        *(
            f"`{name}` is another path here; compute it from PROJECT"
            for name in ("__file__", "getcwd")
            if name in names
        ),
    ]


def rewrite_paths(program: Program, node: ast.expr, at: int, paths: ProjectPaths) -> tuple[ast.expr, Preparation]:
    """Return an expression with paths relative to the project, and the preparation with the notes about them."""
    found = Preparation()
    changed = _SourceRewriter(program, found, paths, spark=False).rewrite_reads(at, ast.Expr(node))
    return (changed.value if isinstance(changed, ast.Expr) else node), found


def _drop_unused_parts(program: Program, nodes: dict[int, ast.stmt], names: frozenset[str]) -> dict[int, ast.stmt]:
    """Drop the parts of a split that no later statement uses, such as those for testing."""
    retained: dict[int, ast.stmt] = {}
    needed, changed = set(names), set[str]()
    for index, node in sorted(nodes.items(), reverse=True):
        retained[index] = _keep_targets(node, needed, changed) if hasattr(node, "was_split") else node
        needed |= find_free_names(retained[index])
        changed |= program[index].changes
    return retained


def _keep_targets(node: ast.stmt, needed: set[str], changed: set[str]) -> ast.stmt:
    """Keep the needed parts of a split; a part that changes later is a copy, as the parts of a split are."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Tuple):
        return node
    pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))  # type: ignore[attr-defined]
    pairs = [
        (target, _copy_call(value) if target.id in changed and isinstance(value, ast.Name) else value)
        for target, value in pairs
        if isinstance(target, ast.Name) and target.id in needed
    ]
    if len(pairs) == 1:
        assigned = ast.Assign([pairs[0][0]], pairs[0][1])
    else:
        both = [target for target, _ in pairs], [value for _, value in pairs]
        assigned = ast.Assign([ast.Tuple(both[0], ast.Store())], ast.Tuple(both[1], ast.Load()))
    return ast.fix_missing_locations(ast.copy_location(assigned, node))


def _copy_call(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(node, "copy", ast.Load()), [], [])


def _select_all_rows(node: ast.stmt, folds: frozenset[str]) -> ast.stmt:
    """Select all rows instead of those of a fold: ``housing.copy()`` for ``housing.loc[train_index]``."""

    class Folds(ast.NodeTransformer):
        def visit_Subscript(self, part: ast.Subscript) -> ast.AST:
            self.generic_visit(part)
            if not isinstance(part.slice, ast.Name) or part.slice.id not in folds or isinstance(part.ctx, ast.Store):
                return part
            is_indexer = isinstance(part.value, ast.Attribute) and part.value.attr in ("loc", "iloc")
            return _copy_call(part.value.value if is_indexer else part.value)  # type: ignore[attr-defined]

    changed: ast.stmt = Folds().visit(copy.deepcopy(node))
    return ast.fix_missing_locations(changed)


def describe_undated_file(path: str | None, date: str) -> list[str]:
    """Describe that each data interval reads the same file, because its path has no date."""
    if path is None:
        return []
    if path.startswith(PLACEHOLDER):
        return ["the path of the file comes from the command line: write it here"]
    return [
        f"each data interval reads the whole file {path}; if each interval has its own file, write its "
        f"date in the path: {date}"
    ]


def _seed_statements(program: Program, nodes: dict[int, ast.stmt], at: int) -> dict[int, ast.stmt]:
    """Return the statements that seed random numbers, if other statements use them."""
    if not any("random." in ast.unparse(node) for node in nodes.values()):
        return {}
    found: dict[int, ast.stmt] = {}
    for index, statement in enumerate(program.statements[:at]):
        call = statement.node.value if isinstance(statement.node, ast.Expr) else None
        if isinstance(call, ast.Call) and callee_name(call.func) == "seed":
            found |= {**slice_backward(program, statement.uses, index).nodes, index: statement.node}
    return found


class _SourceRewriter:
    """Rewrites the statements of a source function."""

    def __init__(self, program: Program, found: Preparation, paths: ProjectPaths, *, spark: bool) -> None:
        self.program = program
        self.found = found
        self.paths = paths
        self.spark = spark

    def node(self, index: int, statement: Statement) -> ast.stmt | None:
        """Return the replacement of a statement, or None to leave it out."""
        if statement.is_import:
            return statement.node
        if statement.definition is not None:
            self._edit_literals(index, statement.node)
            return statement.node
        if statement.splitter_call is not None or (self.spark and "spark" in statement.binds):
            return None
        call = _find_split(statement)
        if call is not None:
            return self._replace_split(index, statement, call)
        return self.rewrite_reads(index, statement.node)

    def _replace_split(self, index: int, statement: Statement, call: ast.Call) -> ast.stmt:
        """Replace a split by all rows for both parts, because diurnal splits by a hash of each row."""
        self.found.split = call
        targets = statement.target.elts if isinstance(statement.target, ast.Tuple) else []
        values = [copy.deepcopy(call.args[position // 2]) for position in range(len(targets))]
        node = ast.Assign([ast.Tuple(targets, ast.Store())], ast.Tuple(values, ast.Load()))
        node.was_split = True  # type: ignore[attr-defined]
        self.found.split_index = max(self.found.split_index, index)
        return ast.fix_missing_locations(ast.copy_location(node, statement.node))

    def rewrite_reads(self, index: int, node: ast.stmt) -> ast.stmt:
        """Rewrite the paths and queries of a statement, and select all rows in place of those of a fold."""
        changed = self._replace_calls(index, node)
        names = {
            part.slice.id
            for part in ast.walk(node)
            if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Name)
        }
        folds = {name: call for name in names if (call := self.program.splitter_call(name, index)) is not None}
        for call in folds.values():
            self.found.test_fraction = read_splitter_fraction(self.program, call, index)
        return _select_all_rows(changed, frozenset(folds)) if folds else changed

    def _replace_calls(self, index: int, node: ast.stmt) -> ast.stmt:
        """Make relative paths start at the project, and queries use a connection of the deployment."""
        calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
        changes = {
            position: change for position, call in enumerate(calls) if (change := self._replacement_for(index, call))
        }
        if not changes:
            return node
        changed = copy.deepcopy(node)
        copied_calls = [part for part in ast.walk(changed) if isinstance(part, ast.Call)]
        for position, value in changes.items():
            if isinstance(value, ast.Call) and value.keywords is not None and not _is_path_call(value):
                copied_calls[position].func, copied_calls[position].args, copied_calls[position].keywords = (
                    value.func,
                    value.args,
                    value.keywords,
                )
            else:
                readers.replace_path(copied_calls[position], value)
        return ast.fix_missing_locations(changed)

    def _replacement_for(self, index: int, call: ast.Call) -> ast.expr | None:
        """Return the new path of a call that reads a file, or the new call of one that queries a database, or None."""
        if callee_name(call.func).startswith("read_sql"):
            return self._query_call(index, call)
        if readers.reads_placeholder(call):
            self.found.to_fill_in += describe_undated_file(PLACEHOLDER, "")
        return self._path_expression(call, readers.find_path(self.program, call, index))

    def _path_expression(self, call: ast.Call, path: str | None) -> ast.expr | None:
        if path is None or readers.is_url(path):
            return None
        self.found.to_fill_in += describe_undated_file(path, "{interval.start:%Y-%m-%d} in an f-string")
        if path.startswith("/"):
            return ast.Constant(path)
        position = ast.BinOp(
            ast.Name(PROJECT, ast.Load()), ast.Div(), ast.Constant(self.paths.relative_to_project(path))
        )
        is_text = callee_name(call.func) == "glob"  # glob accepts no Path
        return ast.Call(ast.Name("str", ast.Load()), [position], []) if is_text else position

    def _edit_literals(self, index: int, node: ast.stmt) -> None:
        """Make literal paths within a function start at the project."""
        for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
            literal = readers.find_path_literal(call)
            position = (
                None if literal is None else self._path_expression(call, readers.find_path(self.program, call, index))
            )
            if position is not None and literal is not None:
                self.found.edits[literal.lineno, literal.col_offset] = ast.unparse(position).replace("'", '"')

    def _query_call(self, index: int, call: ast.Call) -> ast.Call | None:
        """Return the call that runs a query on a connection of the deployment, in place of the notebook's engine."""
        detected = find_query(self.program, call, index)
        if detected is None:
            return None
        name = next((n for n, source in self.found.queries.items() if source == detected.source), None)
        name = name or f"query{len(self.found.queries) + 1 if self.found.queries else ''}"
        self.found.queries[name] = detected.source
        self.found.to_fill_in += detected.to_fill_in
        text = f"pa.Table.from_batches(self.{name}.read(interval, connections)).to_pandas()"
        assigned = ast.parse(text, mode="eval").body
        return assigned if isinstance(assigned, ast.Call) else None


def _is_path_call(call: ast.Call) -> bool:
    return callee_name(call.func) == "str"


def _find_split(statement: Statement) -> ast.Call | None:
    """Return the call of `train_test_split` that a statement unpacks, or None."""
    value, target = statement.value, statement.target
    if not isinstance(value, ast.Call) or callee_name(value.func) != "train_test_split":
        return None
    return value if isinstance(target, ast.Tuple) and len(target.elts) == 2 * len(value.args) else None
