"""The thread that follows the champions: it loads, verifies and warms a new version, and then swaps it in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, DiurnalError, TransientError
from diurnal.serving.served_model import ServedModel
from diurnal.serving.served_models import ServedModels
from diurnal.storage.load_model import load_version, resolve_reference

if TYPE_CHECKING:
    from diurnal.runtime.project_files import Codebase
    from diurnal.serving.model_cache import ModelCache
    from diurnal.storage.models import Models
    from diurnal.storage.warehouse import Warehouse

_log = logging.getLogger("diurnal.serving")


class ModelSource:
    """Where versions come from: the warehouse and the models, or the copies while the warehouse is away.

    Parameters
    ----------
    open_warehouse : callable
        Opens the warehouse.
    models : Models
        The store of models.
    code : Codebase
        The project's own code.
    cache : ModelCache, optional
        The copies.
    compiled : bool
        Whether known pipelines may be compiled.
    """

    def __init__(
        self,
        open_warehouse: Callable[[], Warehouse],
        models: Models,
        code: Codebase,
        cache: ModelCache | None = None,
        *,
        compiled: bool = True,
    ) -> None:
        self._open_warehouse, self._models, self._code, self._cache = open_warehouse, models, code, cache
        self._compiled = compiled
        self._warehouse: Warehouse | None = None

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, opened at the first use.

        Raises
        ------
        TransientError, ConfigurationError
            If it cannot be reached.
        """
        if self._warehouse is None:
            self._warehouse = self._open_warehouse()
        return self._warehouse

    def champions(self) -> list[str]:
        """Return the experiments that have a champion."""
        return sorted({str(row["experiment"]) for row in self.warehouse.promotions()})

    def row(self, reference: str) -> dict[str, Any]:
        """Return the row of `model_versions` of a reference."""
        return resolve_reference(self.warehouse, reference)

    def load(self, reference: str, row: dict[str, Any]) -> ServedModel:
        """Load a version with all checks, predict its golden rows, and copy it."""
        model = ServedModel(row, load_version(self._models, row, self._code), compiled=self._compiled)
        self._copy(reference, row)
        return model

    def _copy(self, reference: str, row: dict[str, Any]) -> None:
        if self._cache is None:
            return
        try:
            self._cache.add(reference, row, self._models)
        except OSError as error:  # a full disk: the model serves all the same
            _log.warning("%s: no copy of the model is kept: %s", reference, error.strerror)

    def load_copy(self, reference: str) -> ServedModel | None:
        """Load the copy of the version that was served last, with the same checks; None if there is none."""
        row = self._cache.row(reference) if self._cache else None
        if row is None or self._cache is None:
            return None
        return ServedModel(row, load_version(self._cache.models, row, self._code), compiled=self._compiled)

    def copied_references(self) -> list[str]:
        """Return the references that have a copy."""
        return self._cache.references() if self._cache else []


class ModelWatch(Thread):
    """Follows the versions in use.

    Parameters
    ----------
    source : ModelSource
        Where versions come from.
    served : ServedModels
        What is served; the watch changes it.
    references : sequence of str
        ``name`` for the champion of an experiment, ``name@3`` for a version. Empty: the champions of all experiments.
    interval : float
        The seconds after which the warehouse is asked if no notification has come.
    """

    def __init__(
        self, source: ModelSource, served: ServedModels, references: Sequence[str] = (), *, interval: float = 10.0
    ) -> None:
        super().__init__(name="diurnal-model-watch", daemon=True)
        self._source, self._served, self._interval = source, served, interval
        self._references = list(references)
        self._stopped = Event()

    def load_all(self) -> None:
        """Load all models; where the warehouse is away, their copies.

        Raises
        ------
        DiurnalError
            If a model can be loaded neither from the warehouse nor from a copy.
        """
        try:
            references = self._references or self._source.champions()
            for reference in references:
                self._update(reference, self._source.row(reference))
        except (TransientError, ConfigurationError) as error:
            self._load_copies(error)
        for name, state in self._served.states().items():
            if state.model is None and self._references:
                raise ConfigurationError(f"{name} cannot be served: {state.problem}", hint="see `diurnal models`")

    def stop(self) -> None:
        """End the thread after its present wait."""
        self._stopped.set()

    def run(self) -> None:
        """Wait for promotions, and check the versions after each, and from time to time."""
        while not self._stopped.is_set():
            try:
                with self._source.warehouse.listen() as listener:
                    while not self._stopped.is_set():
                        self.check()
                        listener.wait(self._interval)
            except DiurnalError as error:
                self._report_outage(error)
                self._stopped.wait(min(self._interval, 2.0))

    def check(self) -> None:
        """Compare the versions in use with those that are served, and swap those that differ."""
        for reference in self._references or self._source.champions():
            self._update(reference, self._source.row(reference))

    def _update(self, reference: str, row: dict[str, Any]) -> None:
        name, state = reference.partition("@")[0], self._served.state(reference.partition("@")[0])
        if state.model is not None and (state.model.version, state.model.digest) == (row["version"], row["digest"]):
            if state.problem:
                self._served.degrade(name, None)
            return
        started = time.perf_counter()
        try:
            model = self._source.load(reference, row)
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001 - the former model goes on
            problem = f"version {row['version']} cannot be loaded: {getattr(error, 'message', type(error).__name__)}"
            if state.problem != problem:
                _log.error("%s: %s", name, problem)
            self._served.degrade(name, problem)
            return
        self._served.swap(name, model)
        milliseconds = 1000 * (time.perf_counter() - started)
        _log.info("%s: version %d (%s) serves, loaded in %.0f ms", name, model.version, model.path, milliseconds)

    def _load_copies(self, error: DiurnalError) -> None:
        references = self._references or self._source.copied_references()
        for reference in references:
            name = reference.partition("@")[0]
            if self._served.state(name).model is None and (model := self._source.load_copy(reference)) is not None:
                self._served.swap(name, model)
                self._served.degrade(name, f"the warehouse is away: {error.message}")
                _log.warning("%s: the warehouse is away; version %d is served from its copy", name, model.version)
        if not any(state.model for state in self._served.states().values()):
            raise error

    def _report_outage(self, error: DiurnalError) -> None:
        problem = f"the warehouse is away: {error.message}"
        for name, state in self._served.states().items():
            if state.problem != problem:
                self._served.degrade(name, problem)
        _log.warning("%s", problem)
