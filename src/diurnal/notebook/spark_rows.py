"""The rows that Spark fits on, as a function of its session."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from diurnal.notebook.effects import find_free_names
from diurnal.notebook.fits import Fit
from diurnal.notebook.frame_trail import follow
from diurnal.notebook.preparation import prepared
from diurnal.notebook.program import Program
from diurnal.notebook.readers import Places
from diurnal.notebook.row_declaration import Data


def of_spark(program: Program, fit: Fit, features: ast.expr, search: Iterable[ast.AST], places: Places) -> Data:
    """Return a function of the session, and the column that the labels of the search come from."""
    trail = follow(program, features, fit.index, steps=False)
    data = Data.of_function(
        prepared(program, find_free_names(trail.node), trail.at, places, spark=True), ast.unparse(trail.node)
    )
    data.session, data.split = True, trail.split
    data.target = _label(list(_texts_given(search)))
    return data


def _label(given: list[dict[str, str]]) -> str:
    """Return the column of the labels, or the one that a stage makes it of."""
    label = next((names["labelCol"] for names in reversed(given) if "labelCol" in names), "label")
    made = {names["outputCol"]: names["inputCol"] for names in given if {"inputCol", "outputCol"} <= set(names)}
    return made.get(label, label)


def _texts_given(nodes: Iterable[ast.AST]) -> Iterator[dict[str, str]]:
    """Return the arguments of each call that are texts."""
    for node in nodes:
        for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
            texts = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
            yield {name: text for name, text in texts.items() if name and isinstance(text, str)}
