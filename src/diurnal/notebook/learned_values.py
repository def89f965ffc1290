"""Values that a source function computes from the rows of a batch, such as the codes of a `LabelEncoder`."""

from __future__ import annotations

import ast

from diurnal.notebook.effects import FITTING
from diurnal.notebook.preparation import Preparation
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name

_LEARNS_FROM_ROWS = frozenset({"get_dummies", "factorize", "qcut", *FITTING})


def describe_learned_values(program: Program, preparation: Preparation) -> list[str]:
    """Describe the statements that depend on all rows of a batch, or create types that a batch cannot store."""
    found = []
    for index, node in preparation.nodes.items():
        location = program.location(index)
        calls = [] if hasattr(node, "decorator_list") else [p for p in ast.walk(node) if isinstance(p, ast.Call)]
        if any(callee_name(call.func) in _LEARNS_FROM_ROWS for call in calls):
            text = ast.unparse(node).split("\n")[0][:80]
            found.append(
                f"{location}: `{text}` depends on the rows of each batch; "
                "move it into a pipeline within the search, where it is fitted on training rows only"
            )
        if any(isinstance(part, ast.Constant) and part.value == "category" for part in ast.walk(node)):
            found.append(f"{location}: a batch stores the type `category` as text; encode the column within the search")
    return found
