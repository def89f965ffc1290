"""Promotion and rollback by a viewer: a form that asks for a reason, and the change as the commands make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from diurnal.errors import UsageError
from diurnal.page.html_templates import link_to, render
from diurnal.page.security import VerifiedForm
from diurnal.page.viewer import ChangeableExperiment

if TYPE_CHECKING:
    from diurnal.storage.warehouse import Warehouse

router = APIRouter(prefix="/experiments/{name}")

_MAX_REASON = 500
_NONE = "none"  # the value of a form's field where there is no champion

Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("/versions/{version}/promote")
def ask_for_promotion(request: Request, name: ChangeableExperiment, version: Version) -> Response:
    """Show the form of a promotion."""
    return _form_page(request, name, version, "promote")


@router.post("/versions/{version}/promote")
def promote_version(request: Request, name: ChangeableExperiment, version: Version, form: VerifiedForm) -> Response:
    """Make a version the champion."""
    return _change_champion(request, name, version, "promote", form)


@router.get("/rollback")
def ask_for_rollback(request: Request, name: ChangeableExperiment) -> Response:
    """Show the form of a rollback to the previous champion."""
    from diurnal.promotion.manual_promotion import previous_champion

    version = previous_champion(request.app.state.stores.reader().warehouse, name)
    return _form_page(request, name, version, "rollback")


@router.post("/versions/{version}/rollback")
def roll_back(request: Request, name: ChangeableExperiment, version: Version, form: VerifiedForm) -> Response:
    """Make the previous champion the champion again."""
    return _change_champion(request, name, version, "rollback", form)


def _form_page(
    request: Request,
    name: str,
    version: int,
    action: str,
    *,
    status: int = 200,
    problem: str | None = None,
    reason: str = "",
) -> Response:
    warehouse: Warehouse = request.app.state.stores.reader().warehouse
    row = warehouse.version(name, version)
    champion = warehouse.champion(name)
    return render(
        request,
        "version_change.html",
        status=status,
        title=f"{'Promote' if action == 'promote' else 'Roll back to'} version {version} of {name}",
        name=name,
        action=action,
        version=row,
        run=warehouse.run(row["run_id"]) or {},
        champion_run={} if champion is None else warehouse.run(champion.run_id) or {},
        champion=champion,
        champion_field=_NONE if champion is None else champion.version,
        problem=problem,
        reason=reason,
        max_reason=_MAX_REASON,
    )


def _change_champion(request: Request, name: str, version: int, action: str, form: Mapping[str, str]) -> Response:
    """Change the champion, unless the form is incomplete or the champion is not the one that it shows."""
    reason = form.get("reason", "").strip()
    champion = request.app.state.stores.writer().warehouse.champion(name)
    present = _NONE if champion is None else str(champion.version)
    problem = None
    if not reason or len(reason) > _MAX_REASON:
        problem = f"Write a reason of at most {_MAX_REASON} characters: the history stores it."
    elif form.get("champion") != present:
        problem = "The champion has changed since this page was loaded. Look at the present one, then decide again."
    if problem:
        return _form_page(request, name, version, action, status=409, problem=problem, reason=reason)
    try:
        following = request.app.state.orchestrator.change_champion(request, name, version, action, reason)
    except UsageError as error:
        return _form_page(request, name, version, action, status=409, problem=error.message, reason=reason)
    target = link_to(request, *following.path, **following.query)
    return RedirectResponse(f"{target}{following.fragment}", status_code=303)
