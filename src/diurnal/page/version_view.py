"""View 4, a model version: a model card, from the warehouse and the model's ``model.json``. No model is loaded."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from diurnal.errors import NotFoundError
from diurnal.page.html_templates import experiment_timezone, render
from diurnal.page.value_formats import format_interval
from diurnal.page.version_details import VersionDetails, read_version_details
from diurnal.page.viewer import CurrentViewer, ReadableExperiment

router = APIRouter(prefix="/experiments/{name}/versions/{version}")
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
_CHUNK = 2**18
_MAX_EXAMPLE_COLUMNS = 40
_N_LIVE_SCORES = 30


@router.get("")
def show_version(request: Request, name: ReadableExperiment, version: VersionNumber, viewer: CurrentViewer) -> Response:
    """Show a version."""
    stores = request.app.state.stores.reader()
    details = read_version_details(stores, name, version)
    row = details.row
    return render(
        request,
        "version.html",
        title=f"{name} version {version}",
        name=name,
        version=row,
        details=details,
        interval=format_interval(row["data_interval_start"], row["data_interval_end"], experiment_timezone(request)),
        python_code=_python_code(f"{name}@{version}", details),
        commands=_commands(name, version),
        live_scores=stores.warehouse.live_scores(name, version=version, limit=_N_LIVE_SCORES)[::-1],
        of_version=True,
        may_change=viewer.can_change(name),
        now=datetime.now(UTC),
    )


@router.get("/model")
def send_model(request: Request, name: ReadableExperiment, version: VersionNumber) -> Response:
    """Send the file of the model, after its digest is verified."""
    stores = request.app.state.stores.reader()
    row = stores.warehouse.version(name, version)
    file, suffix, size = stores.models.open_file(row["path"], row["digest"])
    headers = {
        "Content-Disposition": f'attachment; filename="{name}-{version}.{suffix}"',
        "Content-Length": str(size),
        "Repr-Digest": f"sha-256=:{_base64_of_hex(row['digest'])}:",
    }
    return StreamingResponse(_read_chunks(file), media_type="application/octet-stream", headers=headers)


@router.get("/model.json")
def send_card(request: Request, name: ReadableExperiment, version: VersionNumber) -> Response:
    """Send the model's ``model.json``."""
    stores = request.app.state.stores.reader()
    row = stores.warehouse.version(name, version)
    card: dict[str, Any] | None = stores.models.card(row["path"])
    if card is None:
        raise NotFoundError(f"version {version} of {name} has no model.json")
    content = json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{version}.json"'}
    return Response(content, media_type="application/json", headers=headers)


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _base64_of_hex(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _python_code(reference: str, details: VersionDetails) -> str:
    """Return code that loads a version and predicts two of its golden rows."""
    rows = details.example_rows
    shown = list(rows.items())[:_MAX_EXAMPLE_COLUMNS]
    lines = [f"        {name!r}: {values!r}," for name, values in shown]
    if len(rows) > len(shown):
        lines.append(f"        # and {len(rows) - len(shown)} further columns")
    frame = ["X = pd.DataFrame(", "    {", *lines, "    }", ")"]
    predict = ["model.predict(X)"] + (["model.predict_proba(X)"] if details.has_probabilities else [])
    head = ["import diurnal", "import pandas as pd", "", f'model = diurnal.load_model("{reference}")']
    return "\n".join([*head, *frame, *predict])


def _commands(name: str, version: int) -> str:
    return f"diurnal predict {name}@{version} rows.csv -o predictions.csv\ndiurnal replay {name} {version}"
