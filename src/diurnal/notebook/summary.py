"""What is said about an experiment that was taken from a notebook."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from diurnal.notebook.fits import Fit
from diurnal.notebook.program import Program
from diurnal.notebook.report import Report, left_out
from diurnal.notebook.row_declaration import Data
from diurnal.notebook.search_statements import Search
from diurnal.notebook.slices import backward
from diurnal.notebook.text import holes_in

_OF_SPLITS = ("stratify", "random_state", "shuffle", "seed")


@dataclass(frozen=True)
class Summary:
    """Makes the report.

    Attributes
    ----------
    program : Program
        The notebook.
    fit : Fit
        What was taken.
    others : list of Fit
        What could have been taken.
    search : Search
        What it is made of.
    data : Data
        Its rows.
    test_size : float or None
        The share of rows for testing, where the notebook has one.
    named_functions : list of str
        Functions that were lambdas.
    """

    program: Program
    fit: Fit
    others: list[Fit]
    search: Search
    data: Data
    test_size: float | None
    named_functions: list[str]

    def report(self, text: str) -> Report:
        """Make the report on an experiment's file."""
        kept = {*self.search.nodes, *self.data.preparation.nodes, *self._chain(), self.data.place} - {-1}
        return Report(
            taken=[*self._taken()],
            left_out=left_out(self.program, kept, [*self._arguments()]),
            to_fill_in=holes_in(text),
            notes=[
                *self._notes_on_the_search(),
                *self._notes_on_the_rows(),
                *self.data.notes,
                *self._notes_on_the_split(),
            ],
        )

    def _chain(self) -> set[int]:
        """Return the statements between the data and the fit that became arguments of the experiment."""
        fit, found = self.fit, {self.fit.index}
        for node in (fit.features, fit.target, *fit.keywords.values()):
            if node is not None:
                names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                found |= set(backward(self.program, names, fit.index, fits=True).nodes)
        return {i for i in found if i < len(self.program) and not self.program[i].is_import}

    def _taken(self) -> Iterator[dict[str, str]]:
        program, data, fit = self.program, self.data, self.fit
        index = program.definition(fit.estimator.id, fit.index) if isinstance(fit.estimator, ast.Name) else fit.index
        made = fit.index - 1 if index is None else index
        first = program.document.lines[program[made].node.lineno - 1].strip()
        yield {
            "what": "search" if fit.kind == "search" else "estimator",
            "text": first,
            "place": program.location(made),
        }
        place = program.location(data.place) if data.place >= 0 else ""
        declared = {"source": data.source or "a function of its statements", "target": data.target or ""}
        declared |= {"drop": ", ".join(data.drop), **data.named}
        yield from ({"what": what, "text": text, "place": place} for what, text in declared.items() if text)
        if self.test_size is not None:
            split = "" if data.split is None else program.document.location(data.split.lineno)
            yield {"what": "test_size", "text": str(self.test_size), "place": split}

    def _arguments(self) -> Iterator[tuple[int, str, str]]:
        """Return the arguments that were left out of calls that were taken."""
        program, data = self.program, self.data
        for index, text in data.left_out:
            yield program[index].node.lineno, text, "moves no value"
        for keyword in data.split.keywords if data.split is not None else []:
            if keyword.arg in _OF_SPLITS and data.split is not None:
                text = f"{keyword.arg}={ast.unparse(keyword.value)}"
                yield data.split.lineno, text, "a hash of each row decides for life whether it trains or tests"
        for name, node in self.fit.keywords.items() if self.fit.by == "fit" else []:
            if name not in data.named:
                line = program[self.fit.index].node.lineno
                yield line, f"{name}={ast.unparse(node)[:60]}", "an argument of the fit"

    def _notes_on_the_search(self) -> Iterator[str]:
        program, fit = self.program, self.fit
        if self.others:
            listed = ", ".join(f"`{one.name}` ({program.location(one.index - (not one.by))})" for one in self.others)
            yield f"`{fit.name}` is taken; --search takes another one: {listed}"
        if not fit.by:
            yield f"the notebook never fits `{fit.name}`"
        if fit.kind != "search":
            yield f"`{fit.name}` is an estimator and no search: nothing is tuned"
        if fit.by not in ("", "fit"):
            yield f"`{fit.by}` only scores: an experiment cross-validates what it tunes, in a search"
        if program.document.out_of_order:
            yield "cells were run in another order than the one that they stand in, which is the one that counts"
        for name, value in program.options.items():
            yield f"the option {name} of the command line is {value}"
        for index, old, new in self.search.selected:
            yield f"{program.location(index)}: `{old[:80]}` is `{new}` now, which reads the data when it is fitted"
        if self.named_functions:
            yield f"lambdas became functions, so that a model can be saved: {', '.join(self.named_functions)}"

    def _notes_on_the_rows(self) -> Iterator[str]:
        data = self.data
        if data.steps:
            named = (
                f"`{ast.unparse(step.estimator)[:40]}` ({self.program.location(step.index)})" for step in data.steps
            )
            yield (
                f"fitted outside of the search, and now the first steps of a pipeline within it: {', '.join(named)}; "
                "the parameters of the model are named model__..."
            )
        if data.column is not None:
            yield f"the notebook fits on the column {data.column!r} alone: the first step of the pipeline selects it"

    def _notes_on_the_split(self) -> Iterator[str]:
        if self.test_size is not None or self.fit.features is None:
            return
        if self.data.split is None:
            yield "the notebook does not split its rows; the experiment tests on 30 % of them"
        else:
            split = ast.unparse(self.data.split)
            yield f"`{split}` gives a number of rows; the experiment takes a share, the default of 0.3"
