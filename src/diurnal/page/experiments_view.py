"""View 1, all experiments: a row for each, with its last data intervals."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from diurnal.page.html_templates import render
from diurnal.page.page_stores import NoWarehouseError
from diurnal.page.viewer import CurrentViewer

router = APIRouter()


@router.get("/")
def show_experiments(request: Request, viewer: CurrentViewer) -> Response:
    """Show all experiments."""
    warehouse = request.app.state.stores.reader().warehouse
    names = sorted({row["experiment"] for row in warehouse.packages()})
    if not names:
        raise NoWarehouseError
    rows = [name for name in names if viewer.can_read(name)]
    return render(request, "experiments.html", title="Experiments", rows=rows)
