"""The web application: the same one alone and in Airflow, where only the authentication differs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Depends, FastAPI, Request
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute

from diurnal.page import (
    compare_view,
    contract_view,
    data_view,
    experiment_view,
    experiments_view,
    metrics_view,
    report_view,
    run_view,
    version_changes,
    version_view,
)
from diurnal.page.contract_process import ContractProcess
from diurnal.page.error_pages import add_error_pages
from diurnal.page.orchestrator import NoOrchestrator, Orchestrator
from diurnal.page.page_stores import PageStores
from diurnal.page.security import BrowserProtection
from diurnal.page.static_files import static_route
from diurnal.page.viewer import Viewer

VIEWS = (
    experiments_view,
    experiment_view,
    run_view,
    version_view,
    version_changes,
    contract_view,
    report_view,
    metrics_view,
    data_view,
    compare_view,
)
"""The modules of the views; each has an APIRouter named `router`."""


def create_app(
    stores: PageStores,
    authenticate: Callable[..., Any],
    *,
    allowed_hosts: Sequence[str] = (),
    public_routes: Sequence[BaseRoute] = (),
    secret: bytes | None = None,
    orchestrator: Orchestrator | None = None,
    contracts: ContractProcess | None = None,
) -> FastAPI:
    """Create the application.

    Parameters
    ----------
    stores : PageStores
        The stores of the project.
    authenticate : callable
        A FastAPI dependency that returns the :class:`Viewer` of a request, or raises an ``HTTPException``. It applies
        to every route but those of `public_routes` and static files.
    allowed_hosts : sequence of str
        The host names under which the page is served. Empty: the server in front of the application checks them.
    public_routes : sequence of BaseRoute
        Routes without authentication, such as that of a login.
    secret : bytes, optional
        The key of the tokens of forms; processes that serve the same page need the same one. By default it is random.
    orchestrator : Orchestrator, optional
        What runs the experiments: views have links to it, and changes of champions are announced to it.
    contracts : ContractProcess, optional
        Accepts changes of contracts. Without it, the page shows the command.

    Returns
    -------
    FastAPI
        An ASGI application, to be served or mounted. It closes the stores when its lifespan ends.
    """
    identity = Depends(authenticate)  # not in an annotation, in which FastAPI finds no local names

    async def identify_viewer(request: Request, viewer: Viewer = identity) -> None:
        request.state.viewer = viewer

    app = FastAPI(
        title="diurnal",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(identify_viewer)],
        middleware=[
            Middleware(BrowserProtection, allowed_hosts=allowed_hosts),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4),
        ],
    )
    app.state.stores = stores
    app.state.contracts = contracts
    app.state.orchestrator = orchestrator or NoOrchestrator()
    app.state.secret = secret or secrets.token_bytes(32)
    app.router.routes += [static_route(), *public_routes]
    for view in VIEWS:
        app.include_router(view.router)
    add_error_pages(app)
    return app
