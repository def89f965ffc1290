"""Acceptance of a rejected batch: its differences from the contract, and a new version by a form with a reason."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime
from starlette.responses import RedirectResponse, Response

from diurnal.errors import DiurnalError, NotFoundError, PermissionDeniedError
from diurnal.page.contract_process import ContractProcess, parse_renames
from diurnal.page.html_templates import link_to, render
from diurnal.page.security import VerifiedForm
from diurnal.page.viewer import ChangeableExperiment

router = APIRouter(prefix="/experiments/{name}/contract")

_MAX_REASON = 500

Interval = Annotated[AwareDatetime, Query()]


@router.get("/accept")
def ask_for_acceptance(request: Request, name: ChangeableExperiment, interval: Interval) -> Response:
    """Show the reasons of a rejection, and the form of the acceptance."""
    _contracts_of(request)
    return _form_page(request, name, interval)


@router.get("/difference")
def show_difference(
    request: Request,
    name: ChangeableExperiment,
    interval: Interval,
    renames: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """Show the differences of a batch, which htmx loads into the form."""
    try:
        rows = _contracts_of(request).difference(name, interval, parse_renames(renames))
        problem = None
    except (PermissionDeniedError, NotFoundError):
        raise
    except DiurnalError as error:
        rows, problem = [], error.message
    return render(request, "contract_difference.html", rows=rows, problem=problem)


@router.post("/accept")
def accept_difference(request: Request, name: ChangeableExperiment, interval: Interval, form: VerifiedForm) -> Response:
    """Accept the differences of a batch as a new version of the contract."""
    contracts = _contracts_of(request)
    why, renames = form.get("why", "").strip(), form.get("renames", "")
    if not why or len(why) > _MAX_REASON:
        problem = f"Write a reason of at most {_MAX_REASON} characters: the history stores it."
        return _form_page(request, name, interval, problem=problem, why=why, renames=renames)
    try:
        contracts.accept(name, interval, parse_renames(renames), why)
    except DiurnalError as error:
        return _form_page(request, name, interval, problem=str(error.message), why=why, renames=renames)
    return RedirectResponse(f"{link_to(request, 'experiments', name, done='contract')}#contract", status_code=303)


def _contracts_of(request: Request) -> ContractProcess:
    contracts: ContractProcess | None = request.app.state.contracts
    if contracts is None:
        raise PermissionDeniedError(
            "the page cannot read batches from their sources here", hint="use the command: diurnal contract NAME accept"
        )
    return contracts


def _form_page(
    request: Request, name: str, interval: datetime, *, problem: str | None = None, why: str = "", renames: str = ""
) -> Response:
    warehouse = request.app.state.stores.reader().warehouse
    rows = [row for row in warehouse.failure_page(name, limit=200) if row["data_interval_start"] == interval]
    if not rows:
        raise NotFoundError(f"{name} has no failure in the data interval of {interval}")
    return render(
        request,
        "contract_acceptance.html",
        status=409 if problem else 200,
        title=f"Contract of {name}",
        name=name,
        failure=rows[0],
        interval=interval,
        problem=problem,
        why=why,
        renames=renames,
        max_reason=_MAX_REASON,
    )
