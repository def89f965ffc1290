"""The models that a process serves: for each experiment the version in use, or a pinned one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Lock

from diurnal.serving.request_errors import RequestError, list_names
from diurnal.serving.served_model import ServedModel


@dataclass(frozen=True)
class ModelState:
    """The model of an experiment.

    Attributes
    ----------
    model : ServedModel or None
        The model that answers; None if there is none yet.
    problem : str or None
        The reason why the model is not the version in use: that version cannot be loaded, or the warehouse is away.
    """

    model: ServedModel | None = None
    problem: str | None = None


class ServedModels:
    """The models by the name of their experiment. A change replaces one reference, so that no request sees a part."""

    def __init__(self) -> None:
        self._states: dict[str, ModelState] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._states))

    def state(self, name: str) -> ModelState:
        """Return the state of an experiment."""
        return self._states.get(name, ModelState())

    def states(self) -> dict[str, ModelState]:
        """Return all states."""
        return dict(self._states)

    def swap(self, name: str, model: ServedModel) -> None:
        """Serve a model from the next request on."""
        with self._lock:
            self._states[name] = ModelState(model)

    def degrade(self, name: str, problem: str | None) -> None:
        """Keep the model and set the reason why it is not the version in use; None if it is."""
        with self._lock:
            self._states[name] = replace(self.state(name), problem=problem)

    def get(self, name: str) -> ServedModel:
        """Return the model of an experiment.

        Raises
        ------
        RequestError
            With status 404 if the experiment is not served, and 503 if it has no model yet.
        """
        state = self._states.get(name)
        if state is None:
            served = list_names(sorted(self._states)) or "none"
            raise RequestError(f"there is no such experiment here; there are: {served}", status=404)
        if state.model is None:
            raise RequestError(
                "the experiment has no model here yet",
                status=503,
                hint="promote a version, or read the log of the server",
                retry_after=10,
            )
        return state.model

    @property
    def is_ready(self) -> bool:
        """Whether there is a model; a new experiment that cannot be loaded does not keep the others from answering."""
        return any(state.model is not None for state in list(self._states.values()))
