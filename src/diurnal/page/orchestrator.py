"""What runs the experiments, as far as the page knows it: links to its pages, and events of champions.

In Airflow, it is that Airflow. Alone, the page has no links, and only a change is announced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastapi import Request

from diurnal.errors import DiurnalError


@dataclass(frozen=True)
class OutsideLink:
    """A link to a page of the orchestrator, outside of the frame that shows this page.

    Attributes
    ----------
    text : str
        The text of the link.
    url : str
        Its path, with that of the orchestrator.
    """

    text: str
    url: str


class Orchestrator(Protocol):
    """What runs the experiments."""

    def experiment_links(self, experiment: str) -> Sequence[OutsideLink]:
        """Return links to what runs an experiment."""

    def run_links(self, experiment: str, run_id: str) -> Sequence[OutsideLink]:
        """Return links to what has made a run of an experiment."""

    def announce_champion(self, experiment: str) -> str | None:
        """Announce that the page has changed the champion of an experiment; return a warning if that fails."""


class NoOrchestrator:
    """The page alone: no links.

    Parameters
    ----------
    announce : callable, optional
        Announces the champion of an experiment, and returns a warning or None.
    """

    def __init__(self, announce: Callable[[str], str | None] | None = None) -> None:
        self._announce = announce

    def experiment_links(self, experiment: str) -> Sequence[OutsideLink]:  # noqa: ARG002 - there are none
        """Return no links."""
        return ()

    def run_links(self, experiment: str, run_id: str) -> Sequence[OutsideLink]:  # noqa: ARG002 - there are none
        """Return no links."""
        return ()

    def announce_champion(self, experiment: str) -> str | None:
        """Announce the champion, if there is a way to do so."""
        return self._announce(experiment) if self._announce else None


def outside_links(request: Request) -> Sequence[OutsideLink]:
    """Return the links of a view: those of the experiment and of the run that its path names.

    The pages of errors have them too. They show none if the viewer may not see the experiment, or if the orchestrator
    does not respond.
    """
    viewer, name = getattr(request.state, "viewer", None), request.path_params.get("name")
    orchestrator: Orchestrator = request.app.state.orchestrator
    try:
        if viewer is None or name is None or not viewer.can_read(name):
            return ()
        run_id = request.path_params.get("run_id")
        links = orchestrator.experiment_links(name)
        return links if run_id is None else (*links, *orchestrator.run_links(name, run_id))
    except DiurnalError:
        return ()
