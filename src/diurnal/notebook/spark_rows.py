"""The data that a notebook fits on with Spark, as a source function of the session."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from diurnal.notebook.data_declaration import DataDeclaration
from diurnal.notebook.effects import find_free_names
from diurnal.notebook.fits import Fit
from diurnal.notebook.preparation import collect_preparation
from diurnal.notebook.program import Program
from diurnal.notebook.provenance import trace_provenance
from diurnal.notebook.readers import ProjectPaths


def find_spark_data(
    program: Program, fit: Fit, features: ast.expr, search: Iterable[ast.AST], paths: ProjectPaths
) -> DataDeclaration:
    """Return a source function of the session, and the column that the labels come from."""
    provenance = trace_provenance(program, features, fit.index, steps=False)
    data = DataDeclaration.from_function(
        collect_preparation(program, find_free_names(provenance.node), provenance.at, paths, spark=True),
        ast.unparse(provenance.node),
    )
    data.needs_session, data.split = True, provenance.split
    data.target = _label_column(list(_string_arguments(search)))
    return data


def _label_column(string_arguments: list[dict[str, str]]) -> str:
    """Return the column of the labels, or the input of the stage that computes it."""
    label = next((names["labelCol"] for names in reversed(string_arguments) if "labelCol" in names), "label")
    input_columns = {
        names["outputCol"]: names["inputCol"] for names in string_arguments if {"inputCol", "outputCol"} <= set(names)
    }
    return input_columns.get(label, label)


def _string_arguments(nodes: Iterable[ast.AST]) -> Iterator[dict[str, str]]:
    """Yield the string arguments of each call."""
    for node in nodes:
        for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
            texts = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
            yield {name: text for name, text in texts.items() if name and isinstance(text, str)}
