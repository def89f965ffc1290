"""The user who looks at the page, and the experiments that this user may see and change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from diurnal.errors import NotFoundError, PermissionDeniedError


def _is_allowed(_experiment: str) -> bool:
    return True


def _is_forbidden(_experiment: str) -> bool:
    return False


@dataclass(frozen=True)
class Viewer:
    """An authenticated user.

    Attributes
    ----------
    name : str
        The user's name, for the history of changes.
    session : str
        A secret of the user's session, to which tokens of forms are bound; not part of the repr.
    can_read, can_change : callable
        Take the name of an experiment. By default all can be read, and none can be changed.
    """

    name: str
    session: str = field(repr=False)
    can_read: Callable[[str], bool] = field(default=_is_allowed, repr=False)
    can_change: Callable[[str], bool] = field(default=_is_forbidden, repr=False)


def current_viewer(request: Request) -> Viewer:
    """Return the viewer of a request, which the authentication of the app has set."""
    viewer: Viewer = request.state.viewer
    return viewer


def readable_experiment(request: Request, name: Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,49}$")]) -> str:
    """Return the experiment of the path.

    Raises
    ------
    NotFoundError
        If the viewer may not see it: the response is the same as for an experiment that does not exist.
    """
    if not current_viewer(request).can_read(name):
        raise NotFoundError(f"there is no experiment {name!r}")
    return name


def changeable_experiment(request: Request, name: Annotated[str, Depends(readable_experiment)]) -> str:
    """Return the experiment of the path.

    Raises
    ------
    NotFoundError
        If the viewer may not see it.
    PermissionDeniedError
        If the viewer may see it, and not change it.
    """
    if not current_viewer(request).can_change(name):
        raise PermissionDeniedError(f"{name} is read-only for you")
    return name


CurrentViewer = Annotated[Viewer, Depends(current_viewer)]
ReadableExperiment = Annotated[str, Depends(readable_experiment)]
ChangeableExperiment = Annotated[str, Depends(changeable_experiment)]
