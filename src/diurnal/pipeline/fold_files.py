"""Finished folds of a search in the lake: a search that was killed does not fit them again.

They are kept while the search is under way, and deleted with its end; garbage collection deletes those of a search that
was never finished. A search of less than half a minute keeps nothing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from diurnal.errors import DiurnalError
from diurnal.types import Package, Run

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.search.fold_arrays import FoldArrays

MIN_SECONDS = 30.0
"""How long a search must have run before a fold is worth a file."""

_OWN_COLUMNS = ("search", "fold")
_log = logging.getLogger(__name__)


class FoldFiles:
    """The folds of one search, each in a file: see :class:`diurnal.search.kept_folds.FoldStore`.

    Parameters
    ----------
    context : RunContext
        The run.
    run : Run
        Its identity.
    library_versions : Mapping of str to str
        Those of the search: folds that other versions have fitted are not used.

    Attributes
    ----------
    n_loaded : int
        The number of folds that an earlier attempt has fitted.
    """

    def __init__(self, context: RunContext, run: Run, library_versions: Mapping[str, str]) -> None:
        self._lake, self._key = context.stores.lake, context.package_key("folds")
        self._identity = f"{run.run_id}\n{sorted(library_versions.items())}"
        self._started, self._paths = time.monotonic(), list[str]()
        self.n_loaded = 0

    def load(self, round_id: str) -> dict[int, FoldArrays]:
        """Return the results of the folds of a round that are kept, by the number of the fold."""
        folds: dict[int, FoldArrays] = {}
        for path in self._lake.find(self._key.path("")):
            try:
                table = self._lake.read(Package(path, PurePosixPath(path).stem, 0))
            except DiurnalError:  # another attempt has deleted it, or it is damaged: the fold is fitted again
                continue
            if table.num_rows and table["search"][0].as_py() == self._search_id(round_id):
                self._paths.append(path)
                columns = [name for name in table.column_names if name not in _OWN_COLUMNS]
                folds[table["fold"][0].as_py()] = {name: np.array(table[name].to_pylist()) for name in columns}
        self.n_loaded += len(folds)
        if folds:
            _log.info("%d folds are those of an earlier attempt", len(folds))
        return folds

    def save(self, round_id: str, fold: int, results: FoldArrays) -> None:
        """Keep the results of a fold, once the search has taken some time."""
        if time.monotonic() - self._started < MIN_SECONDS:
            return
        n = len(results["call"])
        own: dict[str, Any] = {"search": [self._search_id(round_id)] * n, "fold": [fold] * n}
        self._paths.append(self._lake.write_table(self._key, pa.table({**results, **own})).path)

    def delete(self) -> None:
        """Delete the files of this search, which has its result."""
        for path in dict.fromkeys(self._paths):
            self._lake.delete(path)
        self._paths.clear()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warning of a search that has folds of an earlier attempt."""
        if not self.n_loaded:
            return ()
        fitted = f"an earlier attempt, which did not end, has fitted {self.n_loaded} of the folds"
        return (f"{fitted}; its warnings are not recorded",)

    def _search_id(self, round_id: str) -> str:
        return hashlib.sha256(f"{self._identity}\n{round_id}".encode()).hexdigest()
