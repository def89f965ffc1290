"""What runs the experiments, as far as the page knows it: links to its pages, and changes of champions.

In Airflow, it is that Airflow: a change is a run of a Dag, as the API server runs no code of experiments. Alone, the
page has no links, and changes the champion itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import Request

from diurnal.errors import DiurnalError
from diurnal.page.viewer import current_viewer


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


@dataclass(frozen=True)
class NextPage:
    """The page to show after a change.

    Attributes
    ----------
    path : tuple of str
        The segments of its path.
    query : Mapping of str to str
        Its parameters.
    fragment : str
        The place in it, such as ``"#versions"``.
    """

    path: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    fragment: str = ""


class Orchestrator(Protocol):
    """What runs the experiments."""

    def experiment_links(self, experiment: str) -> Sequence[OutsideLink]:
        """Return links to what runs an experiment."""

    def run_links(self, experiment: str, run_id: str) -> Sequence[OutsideLink]:
        """Return links to what has made a run of an experiment."""

    def change_champion(self, request: Request, experiment: str, version: int, action: str, reason: str) -> NextPage:
        """Make a version the champion in the name of the viewer, or request it.

        Parameters
        ----------
        request : Request
            The request of the viewer, who may change the experiment.
        experiment : str
            Name of the experiment.
        version : int
            The version.
        action : {"promote", "rollback"}
            The kind of the change.
        reason : str
            Stored in the history.

        Returns
        -------
        NextPage
            The page that shows what becomes of it.

        Raises
        ------
        UsageError, PermissionDeniedError, TransientError
            If it is not possible.
        """


class NoOrchestrator:
    """The page alone: no links, and changes at once.

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

    def change_champion(self, request: Request, experiment: str, version: int, action: str, reason: str) -> NextPage:
        """Make a version the champion, after a check that it loads; the page of the experiment shows it."""
        from diurnal.promotion.manual_promotion import check_version_loads, set_champion

        stores = request.app.state.stores.writer()
        check_version_loads(stores, experiment, version)
        user = current_viewer(request).name
        set_champion(stores, experiment, version, requested_by=user, reason=reason, action=action)
        warning = self._announce(experiment) if self._announce else None
        query = {"done": action, "warning": (warning or "")[:300]}
        return NextPage(("experiments", experiment), query, "#versions")


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
