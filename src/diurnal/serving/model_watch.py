"""The thread that follows the champions: it loads, verifies and warms a new version, and then swaps it in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, DiurnalError, TransientError, UsageError
from diurnal.serving.served_model import ServedModel
from diurnal.serving.served_models import ServedModels
from diurnal.serving.training_ranges import TrainingRange, training_ranges
from diurnal.storage.load_model import load_version, resolve_reference

if TYPE_CHECKING:
    from diurnal.runtime.project_files import Codebase
    from diurnal.serving.model_cache import ModelCache
    from diurnal.storage.models import Models
    from diurnal.storage.warehouse import Warehouse

_MAX_PAUSE = 300.0  # seconds
_log = logging.getLogger("diurnal.serving")


@dataclass(frozen=True)
class _Failure:
    """A version that cannot be loaded, and when it is tried again."""

    digest: str
    problem: str
    pause: float
    retry_at: float


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
        return self.warehouse.promoted_experiments()

    def row(self, reference: str) -> dict[str, Any]:
        """Return the row of `model_versions` of a reference."""
        return resolve_reference(self.warehouse, reference)

    def load(self, reference: str, row: dict[str, Any]) -> ServedModel:
        """Load a version with all checks, predict its golden rows, and copy it."""
        row = {**row, "training_ranges": self._training_ranges(row)}
        model = ServedModel(row, load_version(self._models, row, self._code), compiled=self._compiled)
        self._copy(reference, row)
        return model

    def _training_ranges(self, row: dict[str, Any]) -> dict[str, TrainingRange]:
        """Return the ranges of the training; without them only missing values are counted in the metrics."""
        try:
            return training_ranges(self.warehouse.training_summaries(row["run_id"]))
        except DiurnalError as error:
            _log.warning("%s: the ranges of its training are not known: %s", row["experiment"], error.message)
            return {}

    def _copy(self, reference: str, row: dict[str, Any]) -> None:
        if self._cache is None:
            return
        try:
            self._cache.add(reference, row, self._models)
        except OSError as error:  # a full disk: the model serves all the same
            _log.warning("%s: no copy of the model is kept: %s", reference, error.strerror)

    def load_copy(self, reference: str, *, other_than: str | None = None) -> ServedModel | None:
        """Load the copy of the version that was served last, with the same checks.

        Parameters
        ----------
        reference : str
            The reference.
        other_than : str, optional
            A digest that is loaded already.

        Returns
        -------
        ServedModel or None
            None if there is no copy of another digest.
        """
        row = self._cache.row(reference) if self._cache else None
        if row is None or self._cache is None or row["digest"] == other_than:
            return None
        return ServedModel(row, load_version(self._cache.models, row, self._code), compiled=self._compiled)

    def copied_champions(self) -> list[str]:
        """Return the experiments whose champion has a copy."""
        return [name for name in self._cache.references() if "@" not in name] if self._cache else []


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

    Attributes
    ----------
    checked : Event
        Set when the versions have been compared for the first time, or the warehouse could not be asked.
    """

    def __init__(
        self, source: ModelSource, served: ServedModels, references: Sequence[str] = (), *, interval: float = 10.0
    ) -> None:
        super().__init__(name="diurnal-model-watch", daemon=True)
        self._source, self._served, self._interval = source, served, interval
        self._references = list(references)
        self._stopped, self.checked = Event(), Event()
        self._failures: dict[str, _Failure] = {}
        self._outage: str | None = None

    def load_all(self) -> None:
        """Load all models; where the warehouse is away, their copies.

        Raises
        ------
        DiurnalError
            If a model can be loaded neither from the warehouse nor from a copy.
        """
        try:
            for reference in self._references:
                self._update(reference, self._source.row(reference))
            if not self._references:
                self.check()
        except (TransientError, ConfigurationError) as error:
            self._report_outage(error)
            if not any(state.model for state in self._served.states().values()):
                raise
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
                        self.checked.set()
                        listener.wait(self._interval)
            except DiurnalError as error:
                self._report_outage(error)
            except Exception as error:  # noqa: BLE001 - the thread goes on
                _log.exception("the versions in use cannot be followed")
                self._degrade_all(f"the versions in use cannot be followed: {type(error).__name__}")
            self.checked.set()
            self._stopped.wait(min(self._interval, 2.0))

    def check(self) -> None:
        """Compare the versions in use with those that are served, and swap those that differ."""
        references = self._references or self._source.champions()
        for reference in references:
            try:
                row = self._source.row(reference)
            except UsageError as error:  # it was removed; the other ones are followed
                self._served.degrade(_name_of(reference), error.message)
                continue
            self._update(reference, row)
        for name in set(self._served) - {_name_of(reference) for reference in references}:
            self._served.degrade(name, f"{name} has no champion any more")
        if self._outage:
            _log.info("the warehouse is back")
            self._outage = None

    def _update(self, reference: str, row: dict[str, Any]) -> None:
        name = _name_of(reference)
        state, failure = self._served.state(name), self._failures.get(reference)
        if state.model is not None and (state.model.version, state.model.digest) == (row["version"], row["digest"]):
            self._failures.pop(reference, None)
            if state.problem:
                self._served.degrade(name, None)
            return
        if failure is not None and failure.digest == row["digest"] and time.monotonic() < failure.retry_at:
            self._served.degrade(name, failure.problem)
            return
        started = time.perf_counter()
        try:
            model = self._source.load(reference, row)
        except Exception as error:  # noqa: BLE001 - the former model goes on
            problem = f"version {row['version']} cannot be loaded: {getattr(error, 'message', type(error).__name__)}"
            self._report_failure(reference, row["digest"], problem)
            return
        self._failures.pop(reference, None)
        self._served.swap(name, model)
        milliseconds = 1000 * (time.perf_counter() - started)
        _log.info("%s: version %d (%s) serves, loaded in %.0f ms", name, model.version, model.path, milliseconds)

    def _report_failure(self, reference: str, digest: str, problem: str) -> None:
        """Keep what serves, or serve the copy, and try it again later and later: a load takes time and memory."""
        former = self._failures.get(reference)
        pause = self._interval if former is None or former.digest != digest else 2 * former.pause
        pause = min(pause, _MAX_PAUSE)
        self._failures[reference] = _Failure(digest, problem, pause, time.monotonic() + pause)
        if former is None or former.problem != problem:
            _log.error("%s: %s", _name_of(reference), problem)
        if self._served.state(_name_of(reference)).model is None:
            self._swap_to_copy(reference)
        self._served.degrade(_name_of(reference), problem)

    def _swap_to_copy(self, reference: str) -> None:
        """Serve the version that was served last, if it is another one."""
        name = _name_of(reference)
        present = self._served.state(name).model
        try:
            model = self._source.load_copy(reference, other_than=present.digest if present else None)
        except Exception as error:  # noqa: BLE001 - what serves goes on
            _log.error("%s: its copy cannot be loaded: %s", name, getattr(error, "message", type(error).__name__))
            return
        if model is not None:
            self._served.swap(name, model)
            _log.warning("%s: version %d is served from its copy", name, model.version)

    def _report_outage(self, error: DiurnalError) -> None:
        problem = f"the warehouse is away: {error.message}"
        if not self.checked.is_set():  # nothing is known of what this process has loaded, or inherited
            for reference in self._references or self._source.copied_champions():
                self._swap_to_copy(reference)
        if self._outage != problem:
            _log.warning("%s", problem)
        self._outage = problem
        self._degrade_all(problem)

    def _degrade_all(self, problem: str) -> None:
        for name, state in self._served.states().items():
            if state.problem != problem:
                self._served.degrade(name, problem)


def _name_of(reference: str) -> str:
    return reference.partition("@")[0]
