"""The statements that read and prepare a frame, as those of a source function."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from diurnal.notebook import readers
from diurnal.notebook.arguments import HOLE
from diurnal.notebook.effects import free_names, last_name
from diurnal.notebook.program import Program, Statement
from diurnal.notebook.readers import Places
from diurnal.notebook.slices import backward

PROJECT = "PROJECT"


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
    by_query : bool
        Whether it asks a database.
    to_fill_in : list of str
        What is to be decided.
    """

    nodes: dict[int, ast.stmt] = field(default_factory=dict)
    unresolved: frozenset[str] = frozenset()
    split: ast.Call | None = None
    by_query: bool = False
    to_fill_in: list[str] = field(default_factory=list)

    @property
    def place(self) -> int:
        """The index of its first statement."""
        return next((i for i, node in self.nodes.items() if not isinstance(node, ast.Import | ast.ImportFrom)), -1)

    def __or__(self, other: Preparation) -> Preparation:
        """Give both, in the order of their statements."""
        return Preparation(
            dict(sorted({**self.nodes, **other.nodes}.items())),
            self.unresolved | other.unresolved,
            self.split or other.split,
            self.by_query or other.by_query,
            list(dict.fromkeys([*self.to_fill_in, *other.to_fill_in])),
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
    found = Preparation()
    rewriter = _Rewriter(program, found, places, spark=spark)
    sliced = backward(program, names, at, fits=True, rewrite=rewriter.node)
    found.nodes = dict(sorted({**_seeds(program, sliced.nodes, at), **sliced.nodes}.items()))
    found.unresolved = sliced.unresolved - {PROJECT, HOLE} - ({"spark"} if spark else set())
    found.to_fill_in.reverse()
    return found


def same_file(path: str | None, date: str) -> list[str]:
    """Say that a file without a date in its name is the same one in every data interval."""
    if path is None:
        return []
    if path.startswith(HOLE):
        return ["the path of the file comes from the command line: write it"]
    return [
        f"{path} is one file, read again for every data interval; where each interval has a file of its own, "
        f"write its date into the path, as {date}"
    ]


def _seeds(program: Program, nodes: dict[int, ast.stmt], at: int) -> dict[int, ast.stmt]:
    """Give the statements that seed the random numbers which some others take."""
    if not any("random." in ast.unparse(node) for node in nodes.values()):
        return {}
    found: dict[int, ast.stmt] = {}
    for index, statement in enumerate(program.statements[:at]):
        call = statement.node.value if isinstance(statement.node, ast.Expr) else None
        if isinstance(call, ast.Call) and last_name(call.func) == "seed":
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
        """Give what stands for a statement."""
        if statement.definition is not None or statement.is_import:
            return statement.node
        if self.spark and "spark" in statement.binds:
            return None
        call = _split_in(statement)
        if call is not None:
            return self._without_split(statement, call)
        return self._with_paths(index, statement.node)

    def _without_split(self, statement: Statement, call: ast.Call) -> ast.stmt:
        """Let both parts of a split be all rows: which of them train is decided by a hash."""
        self.found.split = call
        targets = statement.target.elts if isinstance(statement.target, ast.Tuple) else []
        values = [copy.deepcopy(call.args[place // 2]) for place in range(len(targets))]
        both = ast.Tuple(targets, ast.Store()), ast.Tuple(values, ast.Load())
        return ast.fix_missing_locations(ast.copy_location(ast.Assign([both[0]], both[1]), statement.node))

    def _with_paths(self, index: int, node: ast.stmt) -> ast.stmt:
        """Let relative paths begin at the project, wherever the process runs, and queries ask a connection."""
        calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
        changes = {place: change for place, call in enumerate(calls) if (change := self._changed(index, call))}
        if not changes:
            return node
        changed = copy.deepcopy(node)
        again = [part for part in ast.walk(changed) if isinstance(part, ast.Call)]
        for place, value in changes.items():
            if isinstance(value, ast.Call):
                again[place].func, again[place].args, again[place].keywords = value.func, value.args, value.keywords
            else:
                readers.with_path(again[place], value)
        return ast.fix_missing_locations(changed)

    def _changed(self, index: int, call: ast.Call) -> ast.expr | None:
        """Give another path for a call that reads a file, or another call for one that asks a database."""
        if last_name(call.func).startswith("read_sql"):
            return self._query(index, call)
        path = readers.path_of(self.program, call, index)
        if path is None or readers.is_url(path):
            return None
        self.found.to_fill_in += same_file(path, "{interval.start:%Y-%m-%d} in an f-string")
        if path.startswith("/"):
            return ast.Constant(path)
        return ast.BinOp(ast.Name(PROJECT, ast.Load()), ast.Div(), ast.Constant(self.places.seen(path)))

    def _query(self, index: int, call: ast.Call) -> ast.Call | None:
        """Ask the query of a connection that the deployment knows, and not of one that the notebook makes."""
        reading = readers.query_of(self.program, call, index)
        if reading is None:
            return None
        self.found.by_query = True
        self.found.to_fill_in += reading.to_fill_in
        text = f"pa.Table.from_batches({reading.source}.read(interval, connections)).to_pandas()"
        made = ast.parse(text, mode="eval").body
        return made if isinstance(made, ast.Call) else None


def _split_in(statement: Statement) -> ast.Call | None:
    """Give the call of `train_test_split` that a statement unpacks."""
    value, target = statement.value, statement.target
    if not isinstance(value, ast.Call) or last_name(value.func) != "train_test_split":
        return None
    return value if isinstance(target, ast.Tuple) and len(target.elts) == 2 * len(value.args) else None


