"""The statements that read and prepare a frame, as those of a source function."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from diurnal.notebook import readers
from diurnal.notebook.effects import callee_name, find_free_names, root_name
from diurnal.notebook.program import Program, Statement
from diurnal.notebook.queries import query_of
from diurnal.notebook.readers import Places
from diurnal.notebook.row_slices import share_of_folds
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.slices import backward

PROJECT = "PROJECT"
_PATH = re.compile(r"(?!/)[\w .*/-]+\.(csv|tsv|txt|parquet|feather|json|jsonl|xlsx?|pkl|pickle|npy|npz|h5|db)(\.\w+)?")
_OWN_NAMES = {PROJECT, PLACEHOLDER, "pa", "self", "interval", "connections"}


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
    split_at: int = -1
    share: float | None = None
    queries: dict[str, str] = field(default_factory=dict)
    to_fill_in: list[str] = field(default_factory=list)
    edits: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def place(self) -> int:
        """The index of its first statement."""
        return next((i for i, node in self.nodes.items() if not isinstance(node, ast.Import | ast.ImportFrom)), -1)

    def __or__(self, other: Preparation) -> Preparation:
        """Return both, in the order of their statements."""
        return Preparation(
            dict(sorted({**self.nodes, **other.nodes}.items())),
            self.unresolved | other.unresolved,
            self.split or other.split,
            max(self.split_at, other.split_at),
            self.share or other.share,
            {**self.queries, **other.queries},
            list(dict.fromkeys([*self.to_fill_in, *other.to_fill_in])),
            {**self.edits, **other.edits},
        )


def prepared(program: Program, names: Iterable[str], at: int, places: Places, *, spark: bool = False) -> Preparation:
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
    rewriter = _Rewriter(program, found, places, spark=spark)
    sliced = backward(program, names, at, fits=True, rewrite=rewriter.node)
    nodes = _without_unused_parts(program, sliced.nodes, names)
    found.nodes = dict(sorted({**_seeds(program, nodes, at), **nodes}.items()))
    found.unresolved = sliced.unresolved - _OWN_NAMES - ({"spark"} if spark else set())
    found.to_fill_in.reverse()
    found.to_fill_in += _relative_paths(found)
    return found


def _relative_paths(found: Preparation) -> list[str]:
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


def rewritten(program: Program, node: ast.expr, at: int, places: Places) -> tuple[ast.expr, Preparation]:
    """Return an expression with paths that begin at the project, and what is to be said about them."""
    found = Preparation()
    changed = _Rewriter(program, found, places, spark=False).with_paths(at, ast.Expr(node))
    return (changed.value if isinstance(changed, ast.Expr) else node), found


def _without_unused_parts(program: Program, nodes: dict[int, ast.stmt], names: frozenset[str]) -> dict[int, ast.stmt]:
    """Leave out the parts of a split that nothing uses, such as those for testing."""
    kept: dict[int, ast.stmt] = {}
    wanted, changed = set(names), set[str]()
    for index, node in sorted(nodes.items(), reverse=True):
        kept[index] = _with_targets(node, wanted, changed) if hasattr(node, "was_split") else node
        wanted |= find_free_names(kept[index])
        changed |= program[index].changes
    return kept


def _with_targets(node: ast.stmt, wanted: set[str], changed: set[str]) -> ast.stmt:
    """Keep the parts of a split that are wanted; those that are changed later are copies, as those of a split are."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Tuple):
        return node
    pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))  # type: ignore[attr-defined]
    pairs = [
        (target, _copy(value) if target.id in changed and isinstance(value, ast.Name) else value)
        for target, value in pairs
        if isinstance(target, ast.Name) and target.id in wanted
    ]
    if len(pairs) == 1:
        made = ast.Assign([pairs[0][0]], pairs[0][1])
    else:
        both = [target for target, _ in pairs], [value for _, value in pairs]
        made = ast.Assign([ast.Tuple(both[0], ast.Store())], ast.Tuple(both[1], ast.Load()))
    return ast.fix_missing_locations(ast.copy_location(made, node))


def _copy(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(node, "copy", ast.Load()), [], [])


def _all_rows(node: ast.stmt, folds: frozenset[str]) -> ast.stmt:
    """Take all rows instead of those of a fold: ``housing.copy()`` for ``housing.loc[train_index]``."""

    class Folds(ast.NodeTransformer):
        def visit_Subscript(self, part: ast.Subscript) -> ast.AST:
            self.generic_visit(part)
            if not isinstance(part.slice, ast.Name) or part.slice.id not in folds or isinstance(part.ctx, ast.Store):
                return part
            is_indexer = isinstance(part.value, ast.Attribute) and part.value.attr in ("loc", "iloc")
            return _copy(part.value.value if is_indexer else part.value)  # type: ignore[attr-defined]

    changed: ast.stmt = Folds().visit(copy.deepcopy(node))
    return ast.fix_missing_locations(changed)


def same_file(path: str | None, date: str) -> list[str]:
    """Warn that a file without a date in its name is the same one in every data interval."""
    if path is None:
        return []
    if path.startswith(PLACEHOLDER):
        return ["the path of the file comes from the command line: write it"]
    return [
        f"{path} is read again, whole, for every data interval; where each interval has a file of its own, write its "
        f"date into the path, as {date}"
    ]


def _seeds(program: Program, nodes: dict[int, ast.stmt], at: int) -> dict[int, ast.stmt]:
    """Return the statements that seed the random numbers which some others take."""
    if not any("random." in ast.unparse(node) for node in nodes.values()):
        return {}
    found: dict[int, ast.stmt] = {}
    for index, statement in enumerate(program.statements[:at]):
        call = statement.node.value if isinstance(statement.node, ast.Expr) else None
        if isinstance(call, ast.Call) and callee_name(call.func) == "seed":
            found |= {**backward(program, statement.uses, index).nodes, index: statement.node}
    return found


class _Rewriter:
    """Rewrites the statements of a source function."""

    def __init__(self, program: Program, found: Preparation, places: Places, *, spark: bool) -> None:
        self.program = program
        self.found = found
        self.places = places
        self.spark = spark

    def node(self, index: int, statement: Statement) -> ast.stmt | None:
        """Return what stands for a statement."""
        if statement.is_import:
            return statement.node
        if statement.definition is not None:
            self._edit(index, statement.node)
            return statement.node
        if statement.folds is not None or (self.spark and "spark" in statement.binds):
            return None
        call = _split_in(statement)
        if call is not None:
            return self._without_split(index, statement, call)
        return self.with_paths(index, statement.node)

    def _without_split(self, index: int, statement: Statement, call: ast.Call) -> ast.stmt:
        """Let both parts of a split be all rows: which of them train is decided by a hash."""
        self.found.split = call
        targets = statement.target.elts if isinstance(statement.target, ast.Tuple) else []
        values = [copy.deepcopy(call.args[place // 2]) for place in range(len(targets))]
        node = ast.Assign([ast.Tuple(targets, ast.Store())], ast.Tuple(values, ast.Load()))
        node.was_split = True  # type: ignore[attr-defined]
        self.found.split_at = max(self.found.split_at, index)
        return ast.fix_missing_locations(ast.copy_location(node, statement.node))

    def with_paths(self, index: int, node: ast.stmt) -> ast.stmt:
        """Rewrite what a statement reads, and let the rows of a fold be all rows."""
        changed = self._with_paths(index, node)
        names = {
            part.slice.id
            for part in ast.walk(node)
            if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Name)
        }
        folds = {name: call for name in names if (call := self.program.folds(name, index)) is not None}
        for call in folds.values():
            self.found.share = share_of_folds(self.program, call, index)
        return _all_rows(changed, frozenset(folds)) if folds else changed

    def _with_paths(self, index: int, node: ast.stmt) -> ast.stmt:
        """Let relative paths begin at the project, wherever the process runs, and queries ask a connection."""
        calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
        changes = {place: change for place, call in enumerate(calls) if (change := self._changed(index, call))}
        if not changes:
            return node
        changed = copy.deepcopy(node)
        again = [part for part in ast.walk(changed) if isinstance(part, ast.Call)]
        for place, value in changes.items():
            if isinstance(value, ast.Call) and value.keywords is not None and not _is_path(value):
                again[place].func, again[place].args, again[place].keywords = value.func, value.args, value.keywords
            else:
                readers.with_path(again[place], value)
        return ast.fix_missing_locations(changed)

    def _changed(self, index: int, call: ast.Call) -> ast.expr | None:
        """Return another path for a call that reads a file, or another call for one that asks a database."""
        if callee_name(call.func).startswith("read_sql"):
            return self._query(index, call)
        if readers.reads_hole(call):
            self.found.to_fill_in += same_file(PLACEHOLDER, "")
        return self._place(call, readers.path_of(self.program, call, index))

    def _place(self, call: ast.Call, path: str | None) -> ast.expr | None:
        if path is None or readers.is_url(path):
            return None
        self.found.to_fill_in += same_file(path, "{interval.start:%Y-%m-%d} in an f-string")
        if path.startswith("/"):
            return ast.Constant(path)
        place = ast.BinOp(ast.Name(PROJECT, ast.Load()), ast.Div(), ast.Constant(self.places.seen(path)))
        is_text = callee_name(call.func) == "glob"  # which takes no other paths
        return ast.Call(ast.Name("str", ast.Load()), [place], []) if is_text else place

    def _edit(self, index: int, node: ast.stmt) -> None:
        """Let the paths within a function begin at the project, where they are literals."""
        for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
            literal = readers.literal_path(call)
            place = None if literal is None else self._place(call, readers.path_of(self.program, call, index))
            if place is not None and literal is not None:
                self.found.edits[literal.lineno, literal.col_offset] = ast.unparse(place).replace("'", '"')

    def _query(self, index: int, call: ast.Call) -> ast.Call | None:
        """Ask the query of a connection that the deployment knows, and not of one that the notebook makes."""
        reading = query_of(self.program, call, index)
        if reading is None:
            return None
        name = next((n for n, source in self.found.queries.items() if source == reading.source), None)
        name = name or f"query{len(self.found.queries) + 1 if self.found.queries else ''}"
        self.found.queries[name] = reading.source
        self.found.to_fill_in += reading.to_fill_in
        text = f"pa.Table.from_batches(self.{name}.read(interval, connections)).to_pandas()"
        made = ast.parse(text, mode="eval").body
        return made if isinstance(made, ast.Call) else None


def _is_path(call: ast.Call) -> bool:
    return callee_name(call.func) == "str"


def _split_in(statement: Statement) -> ast.Call | None:
    """Return the call of `train_test_split` that a statement unpacks."""
    value, target = statement.value, statement.target
    if not isinstance(value, ast.Call) or callee_name(value.func) != "train_test_split":
        return None
    return value if isinstance(target, ast.Tuple) and len(target.elts) == 2 * len(value.args) else None
