"""The statements that read and prepare a frame, as those of a source function."""

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
    """What a source function does.

    Attributes
    ----------
    nodes : dict of int to ast.stmt
        Its statements, by their indexes.
    unresolved : frozenset of str
        Names that nothing defines.
    split : ast.Call or None
        The split that was taken out.
    split_at : int
        The index of that split.
    share : float or None
        The share of rows for testing, where rows are taken by the folds of a splitter.
    queries : dict of str to str
        The queries that it asks a database: by their names, the expressions of their sources.
    to_fill_in : list of str
        What is to be decided.
    edits : dict of (int, int) to str
        What stands for literals within functions, by their lines and columns.
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
        """The index of its first statement."""
        return next((i for i, node in self.nodes.items() if not isinstance(node, ast.Import | ast.ImportFrom)), -1)

    def __or__(self, other: Preparation) -> Preparation:
        """Return both, in the order of their statements."""
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
    """Collect the statements that some names are made of, with paths that begin at the project.

    Parameters
    ----------
    program : Program
        All statements.
    names : iterable of str
        The names of frames and columns.
    at : int
        The index of the statement that uses them.
    places : Places
        Where the notebook and the project lie.
    spark : bool
        Whether the session is given to the function.
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
    """Name the paths that depend on the folder which the process runs in."""
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
    return [f"the path {text!r} begins at the folder that the process runs in; begin it at PROJECT" for text in texts]


def rewrite_paths(program: Program, node: ast.expr, at: int, paths: ProjectPaths) -> tuple[ast.expr, Preparation]:
    """Return an expression with paths that begin at the project, and what is to be said about them."""
    found = Preparation()
    changed = _SourceRewriter(program, found, paths, spark=False).rewrite_reads(at, ast.Expr(node))
    return (changed.value if isinstance(changed, ast.Expr) else node), found


def _drop_unused_parts(program: Program, nodes: dict[int, ast.stmt], names: frozenset[str]) -> dict[int, ast.stmt]:
    """Leave out the parts of a split that nothing uses, such as those for testing."""
    retained: dict[int, ast.stmt] = {}
    needed, changed = set(names), set[str]()
    for index, node in sorted(nodes.items(), reverse=True):
        retained[index] = _keep_targets(node, needed, changed) if hasattr(node, "was_split") else node
        needed |= find_free_names(retained[index])
        changed |= program[index].changes
    return retained


def _keep_targets(node: ast.stmt, needed: set[str], changed: set[str]) -> ast.stmt:
    """Keep the parts of a split that are wanted; those that are changed later are copies, as those of a split are."""
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
    """Take all rows instead of those of a fold: ``housing.copy()`` for ``housing.loc[train_index]``."""

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
    """Warn that a file without a date in its name is the same one in every data interval."""
    if path is None:
        return []
    if path.startswith(PLACEHOLDER):
        return ["the path of the file comes from the command line: write it"]
    return [
        f"{path} is read again, whole, for every data interval; where each interval has a file of its own, write its "
        f"date into the path, as {date}"
    ]


def _seed_statements(program: Program, nodes: dict[int, ast.stmt], at: int) -> dict[int, ast.stmt]:
    """Return the statements that seed the random numbers which some others take."""
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
        """Return what stands for a statement."""
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
        """Let both parts of a split be all rows: which of them train is decided by a hash."""
        self.found.split = call
        targets = statement.target.elts if isinstance(statement.target, ast.Tuple) else []
        values = [copy.deepcopy(call.args[position // 2]) for position in range(len(targets))]
        node = ast.Assign([ast.Tuple(targets, ast.Store())], ast.Tuple(values, ast.Load()))
        node.was_split = True  # type: ignore[attr-defined]
        self.found.split_index = max(self.found.split_index, index)
        return ast.fix_missing_locations(ast.copy_location(node, statement.node))

    def rewrite_reads(self, index: int, node: ast.stmt) -> ast.stmt:
        """Rewrite what a statement reads, and let the rows of a fold be all rows."""
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
        """Let relative paths begin at the project, wherever the process runs, and queries ask a connection."""
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
        """Return another path for a call that reads a file, or another call for one that asks a database."""
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
        is_text = callee_name(call.func) == "glob"  # which takes no other paths
        return ast.Call(ast.Name("str", ast.Load()), [position], []) if is_text else position

    def _edit_literals(self, index: int, node: ast.stmt) -> None:
        """Let the paths within a function begin at the project, where they are literals."""
        for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
            literal = readers.find_path_literal(call)
            position = (
                None if literal is None else self._path_expression(call, readers.find_path(self.program, call, index))
            )
            if position is not None and literal is not None:
                self.found.edits[literal.lineno, literal.col_offset] = ast.unparse(position).replace("'", '"')

    def _query_call(self, index: int, call: ast.Call) -> ast.Call | None:
        """Ask the query of a connection that the deployment knows, and not of one that the notebook makes."""
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
    """Return the call of `train_test_split` that a statement unpacks."""
    value, target = statement.value, statement.target
    if not isinstance(value, ast.Call) or callee_name(value.func) != "train_test_split":
        return None
    return value if isinstance(target, ast.Tuple) and len(target.elts) == 2 * len(value.args) else None
