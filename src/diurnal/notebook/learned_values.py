"""What a source function learns from the rows of a batch."""

from __future__ import annotations

import ast

from diurnal.notebook.effects import FITTING, callee_name
from diurnal.notebook.preparation import Preparation
from diurnal.notebook.program import Program

_BY_BATCH = frozenset({"get_dummies", "factorize", "qcut", *FITTING})


def learnt(program: Program, preparation: Preparation) -> list[str]:
    """Describe the statements of a source function that depend on all rows of a batch, or make types that are lost."""
    found = []
    for index, node in preparation.nodes.items():
        calls = [] if hasattr(node, "decorator_list") else [p for p in ast.walk(node) if isinstance(p, ast.Call)]
        if any(callee_name(call.func) in _BY_BATCH for call in calls):
            text = ast.unparse(node).split("\n")[0][:80]
            found.append(
                f"{program.location(index)}: `{text}` depends on the rows of each batch; in a pipeline of the search it "
                "is learnt once, from training rows"
            )
        if any(isinstance(part, ast.Constant) and part.value == "category" for part in ast.walk(node)):
            found.append(
                f"{program.location(index)}: a batch keeps the type `category` as text; encode it within the search"
            )
    return found
