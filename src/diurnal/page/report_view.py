"""The report of a run, as a page and as a file to download."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from diurnal.page.run_details import find_run
from diurnal.page.run_report import REPORT_POLICY, build_report, report_file_name
from diurnal.page.viewer import ReadableExperiment

router = APIRouter()


@router.get("/experiments/{name}/runs/{run_id}/report.html", response_class=HTMLResponse)
def show_report(request: Request, name: ReadableExperiment, run_id: str) -> HTMLResponse:
    """Return the report of a run; it has a content security policy of its own, as its styles are inline."""
    stores = request.app.state.stores.reader()
    run = find_run(stores, name, run_id)
    headers = {
        "Content-Security-Policy": f"{REPORT_POLICY}; frame-ancestors 'self'; sandbox allow-popups",
        "Content-Disposition": f'inline; filename="{report_file_name(run)}"',
    }
    return HTMLResponse(build_report(stores, run), headers=headers)
