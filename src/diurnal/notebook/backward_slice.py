"""Backward slices: the statements that a value depends on."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diurnal.notebook.effects import find_free_names
from diurnal.notebook.program import BUILTINS, Program, Statement

Rewrite = Callable[[int, Statement], ast.stmt | None]
"""Takes the index of a statement and the statement; returns its replacement, or None to leave it out."""


@dataclass(frozen=True)
class BackwardSlice:
    """The statements that names depend on.

    Attributes
    ----------
    nodes : dict of int to ast.stmt
        The statements, or their replacements, by index and in order.
    unresolved : frozenset of str
        Names without a definition.
    """

    nodes: dict[int, ast.stmt]
    unresolved: frozenset[str]


def slice_backward(
    program: Program,
    names: Iterable[str],
    before: int,
    *,
    fits: bool = False,
    rewrite: Rewrite | None = None,
    keep: Callable[[str, int], bool] = lambda _name, _at: True,
) -> BackwardSlice:
    """Collect the statements that names depend on, before a statement.

    The loop goes back through the statements with a set of needed names. A statement that binds or changes one of them
    belongs to the slice. Its bindings are then resolved, and the names that it uses are needed in turn:

    - ``grid = {}`` binds `grid`: the name is resolved.
    - ``grid["C"] = values`` changes `grid`: it is part of the slice, `grid` stays needed, and so is `values`.
    - a binding in a branch may not run: `grid` stays needed as well.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    names : iterable of str
        The names whose values are needed.
    before : int
        The index of the statement that uses them.
    fits : bool
        Whether a fit counts as a change of an object.
    rewrite : callable, optional
        Replaces or leaves out statements; see `Rewrite`.
    keep : callable
        Returns whether to include the definition of a name that a function uses.
    """

    def with_dependencies(needed: Iterable[str], at: int) -> set[str]:
        needed = set(needed)
        return {name for name in program.expand_names(needed, at) if name in needed or keep(name, at)}

    needed_names, nodes, bound = with_dependencies(names, before), dict[int, ast.stmt](), set[str]()
    for index in reversed(range(before)):
        statement = program[index]
        defined = statement.binds | statement.may_bind | statement.changes | (statement.fits if fits else frozenset())
        if not defined & needed_names:
            continue
        node = rewrite(index, statement) if rewrite else statement.node
        if node is None:
            continue
        nodes[index] = node
        needed_names -= statement.binds
        bound |= statement.may_bind
        if statement.definition is None:  # the names that a function uses are needed where it is called
            needed_names |= with_dependencies(
                statement.uses if node is statement.node else find_free_names(node), index
            )
    return BackwardSlice(dict(sorted(nodes.items())), frozenset(needed_names - bound - BUILTINS))
