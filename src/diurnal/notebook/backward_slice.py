"""Backward slices: the statements that a value is made of."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diurnal.notebook.effects import find_free_names
from diurnal.notebook.program import BUILTINS, Program, Statement

Rewrite = Callable[[int, Statement], ast.stmt | None]
"""From the index of a statement and the statement to what stands for it, or None for nothing."""


@dataclass(frozen=True)
class BackwardSlice:
    """The statements that some names need.

    Attributes
    ----------
    nodes : dict of int to ast.stmt
        By the index of the statement, in order; a statement may stand for one that was rewritten.
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
    """Collect the statements before one that its names are made of.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    names : iterable of str
        What is wanted.
    before : int
        The index of the statement that wants them.
    fits : bool
        Whether fitting an object counts as a change of it.
    rewrite : callable, optional
        Gives what stands for a statement.
    keep : callable
        Whether a name that a function needs is followed.
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
        if statement.definition is None:  # what a function needs is wanted where it is called
            needed_names |= with_dependencies(
                statement.uses if node is statement.node else find_free_names(node), index
            )
    return BackwardSlice(dict(sorted(nodes.items())), frozenset(needed_names - bound - BUILTINS))
