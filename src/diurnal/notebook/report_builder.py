"""Construction of the report about an experiment that was extracted from a notebook."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from diurnal.notebook.backward_slice import slice_backward
from diurnal.notebook.data_declaration import DataDeclaration
from diurnal.notebook.fits import Fit
from diurnal.notebook.program import Program
from diurnal.notebook.report import Report, list_left_out
from diurnal.notebook.search_statements import SearchStatements
from diurnal.notebook.source_text import find_placeholders

_SPLIT_ARGUMENTS = ("stratify", "random_state", "shuffle", "seed")


@dataclass(frozen=True)
class ReportBuilder:
    """Builds the report.

    Attributes
    ----------
    program : Program
        The statements of the notebook.
    fit : Fit
        The fit of the search that was extracted.
    others : list of Fit
        The fits that were not chosen.
    search : Search
        The statements that build the search.
    data : Data
        The source and the target.
    test_size : float or None
        The fraction of rows for testing, if the notebook has one.
    named_functions : list of str
        The functions that replace lambdas.
    """

    program: Program
    fit: Fit
    others: list[Fit]
    search: SearchStatements
    data: DataDeclaration
    test_size: float | None
    named_functions: list[str]

    def build(self, text: str) -> Report:
        """Return the report for the text of an experiment's file."""
        used = {*self.search.nodes, *self.data.preparation.nodes, *self._statements_to_fit(), self.data.read_index} - {
            -1
        }
        return Report(
            taken=[*self._describe_taken()],
            left_out=list_left_out(self.program, used, [*self._left_out_arguments()]),
            to_fill_in=find_placeholders(text),
            notes=[
                *self._search_notes(),
                *self._row_notes(),
                *self.data.notes,
                *self._split_notes(),
            ],
        )

    def _statements_to_fit(self) -> set[int]:
        """Return the statements between the data and the fit, which became arguments of `@experiment`."""
        fit, found = self.fit, {self.fit.index}
        for node in (fit.features, fit.target, *fit.keywords.values()):
            if node is not None:
                names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                found |= set(slice_backward(self.program, names, fit.index, fits=True).nodes)
        return {i for i in found if i < len(self.program) and not self.program[i].is_import}

    def _describe_taken(self) -> Iterator[dict[str, str]]:
        program, data, fit = self.program, self.data, self.fit
        index = (
            program.reaching_definition(fit.estimator.id, fit.index)
            if isinstance(fit.estimator, ast.Name)
            else fit.index
        )
        defined_at = fit.index - 1 if index is None else index
        first = program.document.lines[program[defined_at].node.lineno - 1].strip()
        yield {
            "what": "search" if fit.estimator_type == "search" else "estimator",
            "text": first,
            "place": program.location(defined_at),
        }
        place = program.location(data.read_index) if data.read_index >= 0 else ""
        declared = {
            "source": data.source or "a function with the statements of the notebook",
            "target": data.target or "",
        }
        declared |= {"drop": ", ".join(data.drop), **data.column_arguments}
        yield from ({"what": what, "text": text, "place": place} for what, text in declared.items() if text)
        if self.test_size is not None:
            split = "" if data.split is None else program.document.location(data.split.lineno)
            yield {"what": "test_size", "text": str(self.test_size), "place": split}

    def _left_out_arguments(self) -> Iterator[tuple[int, str, str]]:
        """Yield the arguments that were left out of calls that were extracted."""
        program, data = self.program, self.data
        for index, text in data.left_out:
            yield program[index].node.lineno, text, "no effect on values"
        for keyword in data.split.keywords if data.split is not None else []:
            if keyword.arg in _SPLIT_ARGUMENTS and data.split is not None:
                text = f"{keyword.arg}={ast.unparse(keyword.value)}"
                yield data.split.lineno, text, "diurnal splits by a hash of each row"
        for name, node in self.fit.keywords.items() if self.fit.fit_function == "fit" else []:
            if name not in data.column_arguments:
                line = program[self.fit.index].node.lineno
                yield line, f"{name}={ast.unparse(node)[:60]}", "an argument of the fit"

    def _search_notes(self) -> Iterator[str]:
        program, fit = self.program, self.fit
        if self.others:
            listed = ", ".join(
                f"`{other.name}` ({program.location(other.index - (not other.fit_function))})" for other in self.others
            )
            yield f"`{fit.name}` was extracted; select another one with --search: {listed}"
        if not fit.fit_function:
            yield f"the notebook never fits `{fit.name}`"
        if fit.estimator_type != "search":
            yield f"`{fit.name}` is an estimator without a search: a run tunes no parameters"
        if fit.fit_function not in ("", "fit"):
            yield f"`{fit.fit_function}` only scores: wrap the estimator in a search to cross-validate it in each run"
        if program.document.out_of_order:
            yield "the cells were run in another order; the experiment uses the order in which they are in the notebook"
        for name, value in program.options.items():
            yield f"the command-line option {name} has the value {value}"
        for index, old, new in self.search.selected:
            yield f"{program.location(index)}: `{old[:80]}` became `{new}`, which selects the columns when it is fitted"
        if self.named_functions:
            listed = ", ".join(self.named_functions)
            yield f"lambdas became functions, because a model with lambdas cannot be saved: {listed}"

    def _row_notes(self) -> Iterator[str]:
        data = self.data
        if data.steps:
            named = (
                f"`{ast.unparse(step.estimator)[:40]}` ({self.program.location(step.index)})" for step in data.steps
            )
            yield (
                "transformers that the notebook fits before the search became the first steps of a pipeline within it: "
                f"{', '.join(named)}; the names of the model's parameters start with model__"
            )
        if data.column is not None:
            yield f"the notebook fits on the column {data.column!r} alone: the first step of the pipeline selects it"

    def _split_notes(self) -> Iterator[str]:
        if self.test_size is not None or self.fit.features is None:
            return
        if self.data.split is None:
            yield "the notebook does not split its rows; the experiment uses 30 % of them for testing"
        else:
            split = ast.unparse(self.data.split)
            yield f"`{split}` has a number of rows; the experiment uses the default fraction of 0.3 for testing"
