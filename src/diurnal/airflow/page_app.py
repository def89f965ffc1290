"""The page in Airflow's API server: signed-in users of Airflow, with the rights that they have to Dags.

Only the API server imports this module. The right to an experiment is the right to its Dag: to read it, or to change it
(PUT). Airflow's auth managers know Dags, and no resources of other packages.
"""

# FastAPI reads the annotations of routes, so that they are not strings: no `from __future__ import annotations`.
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import RedirectResponse, Response

from diurnal.airflow import dag_records
from diurnal.airflow.connections import connection_uri, with_warehouse
from diurnal.airflow.extra_links import CHAMPION_DAG, airflow_path
from diurnal.errors import PermissionDeniedError
from diurnal.page.app import create_app
from diurnal.page.html_templates import link_to, render
from diurnal.page.orchestrator import NextPage, OutsideLink
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import CurrentViewer, Viewer, current_viewer
from diurnal.runtime import Settings

router = APIRouter()


def create_page() -> FastAPI:
    """Return the page for Airflow's API server."""
    key = conf.get("api", "secret_key", fallback="")
    secret = hashlib.sha256(f"diurnal page {key}".encode()).digest() if key else secrets.token_bytes(32)
    app = create_app(PageStores(load_page_settings), authenticate, secret=secret, orchestrator=ThisAirflow())
    app.include_router(router)
    app.add_exception_handler(401, _ask_for_login)
    return app


def load_page_settings() -> Settings:
    """Return the settings that tasks have: those of the project of the Dags, with Airflow's connection."""
    settings = Settings.load(relative_to=Path(conf.get_mandatory_value("core", "dags_folder")))
    return with_warehouse(settings, _find_uri)


def _find_uri(connection: str) -> str | None:
    found = dag_records.find_connection(connection)
    return None if found is None else connection_uri(found, connection)


class DagRights:
    """The rights of a user to experiments; Airflow is asked once for all Dags in a request.

    Parameters
    ----------
    user : BaseUser
        The user of the request.
    """

    def __init__(self, user: BaseUser) -> None:
        self._user = user
        self._authorized: dict[ResourceMethod, set[str]] = {}

    def can_read(self, experiment: str) -> bool:
        """Return whether the user may see an experiment."""
        return self._is_authorized("GET", experiment)

    def can_change(self, experiment: str) -> bool:
        """Return whether the user may promote versions of an experiment, and accept contracts."""
        return self._is_authorized("PUT", experiment)

    def can_read_dag(self, dag_id: str) -> bool:
        """Return whether the user may see a Dag."""
        return bool(get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=dag_id), user=self._user))

    def can_trigger(self, dag_id: str) -> bool:
        """Return whether the user may trigger a Dag."""
        details, entity = DagDetails(id=dag_id), DagAccessEntity.RUN
        manager = get_auth_manager()
        return bool(manager.is_authorized_dag(method="POST", access_entity=entity, details=details, user=self._user))

    @cached_property
    def dags(self) -> Mapping[str, frozenset[str]]:
        """The Dags of each experiment."""
        return dag_records.dags_by_experiment()

    def _is_authorized(self, method: ResourceMethod, experiment: str) -> bool:
        manager = get_auth_manager()
        dag_ids = self.dags.get(experiment)
        if dag_ids is None:  # it was run outside of Airflow: the right to read a Dag of its name; a change needs a Dag
            return method == "GET" and self.can_read_dag(experiment)
        if method not in self._authorized:
            self._authorized[method] = manager.get_authorized_dag_ids(user=self._user, method=method)
        return not dag_ids.isdisjoint(self._authorized[method])


class ThisAirflow:
    """The Airflow whose API server this is. It runs no code of experiments: a change is a run of a Dag."""

    def experiment_links(self, experiment: str) -> Sequence[OutsideLink]:
        """Return a link to each Dag of an experiment."""
        dag_ids = dag_records.dags_by_experiment().get(experiment, frozenset())
        return [OutsideLink(f"Dag {dag_id}", airflow_path("dags", dag_id)) for dag_id in sorted(dag_ids)]

    def run_links(self, experiment: str, run_id: str) -> Sequence[OutsideLink]:
        """Return a link to the Dag run that has made a run."""
        found = dag_records.dag_run_of(experiment, run_id)
        return [] if found is None else [OutsideLink("Dag run", airflow_path("dags", found[0], "runs", found[1]))]

    def change_champion(self, request: Request, experiment: str, version: int, action: str, reason: str) -> NextPage:
        """Trigger the Dag that changes the champion; its run checks the version, in a task."""
        rights: DagRights = request.state.rights
        dag_id = next(iter(sorted(rights.dags.get(experiment, ()))), experiment) + CHAMPION_DAG
        if not rights.can_trigger(dag_id):
            raise PermissionDeniedError(f"you may not trigger the Dag {dag_id}, which changes the champion")
        conf = {"action": action, "version": version, "reason": reason}
        run_id = dag_records.trigger_champion_dag(dag_id, current_viewer(request).name, conf)
        return NextPage(("dags", dag_id, "runs", run_id))


async def authenticate(request: Request, user: GetUserDep) -> Viewer:
    """Return the viewer of a request: the user who is signed in to Airflow."""
    request.state.rights = rights = DagRights(user)
    return Viewer(user.get_name(), str(user.get_id()), can_read=rights.can_read, can_change=rights.can_change)


@router.get("/dags/{dag_id}")
def show_dag(request: Request, dag_id: str, viewer: CurrentViewer) -> Response:
    """Redirect from the tab of a Dag to its experiment."""
    experiment = _readable_experiment_of(request, dag_id, viewer)
    if experiment is None:
        return render(request, "other_dag.html", title="Experiment", dag_id=dag_id)
    if not request.app.state.stores.reader().warehouse.experiment_summaries([experiment]):
        return render(request, "new_dag.html", title="Experiment", experiment=experiment)
    return RedirectResponse(link_to(request, "experiments", experiment), 303)


@router.get("/dags/{dag_id}/runs/{run_id:path}")
def show_dag_run(request: Request, dag_id: str, run_id: str, viewer: CurrentViewer) -> Response:
    """Redirect from the tab of a Dag run to the run of its experiment; without a result, show its state."""
    experiment = _readable_experiment_of(request, dag_id, viewer)
    record = dag_records.find_dag_run(dag_id, run_id) if experiment else None
    if experiment is None or record is None:
        return render(request, "other_dag.html", title="Result", dag_id=dag_id)
    if record.version is not None:
        return RedirectResponse(link_to(request, "experiments", experiment, "versions", record.version), 303)
    warehouse = request.app.state.stores.reader().warehouse
    if record.experiment_run is not None and warehouse.run(record.experiment_run) is not None:
        return RedirectResponse(link_to(request, "experiments", experiment, "runs", record.experiment_run), 303)
    failure = _failure_of(warehouse, experiment, record)
    page = render(
        request,
        "dag_run.html",
        title="Result",
        experiment=experiment,
        record=record,
        failure=failure,
        dag_run_url=airflow_path("dags", dag_id, "runs", run_id),
    )
    if record.is_active:
        page.headers["Refresh"] = "5"
    return page


def _readable_experiment_of(request: Request, dag_id: str, viewer: Viewer) -> str | None:
    """Return the experiment of a Dag; None if it is the Dag of none, or if the viewer may not see it."""
    rights: DagRights = request.state.rights
    experiment = dag_records.experiment_of(dag_id, rights.dags)
    is_readable = experiment is not None and viewer.can_read(experiment) and rights.can_read_dag(dag_id)
    return experiment if is_readable else None


def _failure_of(warehouse: Any, experiment: str, record: dag_records.DagRunRecord) -> Any:
    """Return the newest failure of the attempt that a run of a Dag has made; None if there is none."""
    claim = warehouse.claim_of(experiment, f"airflow {record.run_id}")
    if claim is None or record.is_active:
        return None
    start = claim["data_interval_start"]
    failures = warehouse.failures(experiment, since=start, limit=100)
    own = (row for row in failures if row["data_interval_start"] == start and row["failed_at"] >= claim["claimed_at"])
    return next(own, None)


def _ask_for_login(request: Request, _error: Exception) -> Response:
    """Redirect a browser's tab to Airflow's login; a frame of Airflow's UI asks to sign in there."""
    if request.method == "GET" and request.headers.get("sec-fetch-dest") == "document":
        query = urlencode({"next": str(request.url)})
        return RedirectResponse(f"{airflow_path('api', 'v2', 'auth', 'login')}?{query}", 303)
    hint = "Sign in to Airflow, then load this page again."
    return render(
        request,
        "error.html",
        status=401,
        title="Login",
        heading="Login",
        message="This page needs a login.",
        hint=hint,
        retry=False,
    )
