"""``/metrics``: the health of the experiments that the viewer may see, for Prometheus.

It reads the warehouse only, so that no code of experiments runs in the page's process. When a result is expected is
therefore estimated from earlier data intervals; ``diurnal doctor --prometheus`` reads the declared schedules.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from diurnal.page.metrics import CONTENT_TYPE, render_metrics
from diurnal.page.page_stores import NoWarehouseError
from diurnal.page.viewer import CurrentViewer
from diurnal.pipeline.health_report import HealthReport, check_experiments, read_histories
from diurnal.pipeline.history import History
from diurnal.types.recorded_declaration import RecordedDeclaration

router = APIRouter()


@router.get("/metrics")
def show_metrics(request: Request, viewer: CurrentViewer) -> Response:
    """Return metrics in Prometheus's text format."""
    now = datetime.now(UTC)
    histories: dict[str, History] = {}
    declared: dict[str, RecordedDeclaration] = {}
    with suppress(NoWarehouseError):  # nothing has run yet: there are no experiments
        warehouse = request.app.state.stores.reader().warehouse
        declared = warehouse.declarations()
        histories = read_histories(warehouse, declared)
    readable = {name: history for name, history in histories.items() if viewer.can_read(name)}
    known = {name: declared[name] for name in declared.keys() & readable.keys()}
    report = HealthReport(now, check_experiments(readable, known, now))
    return Response(render_metrics(report), media_type=CONTENT_TYPE)
