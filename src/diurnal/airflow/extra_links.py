"""Links from a task to related pages, as buttons in Airflow's UI.

Airflow asks for a link when the task ends, in the process of the task, and stores it as an XCom. A link has no host: it
leads to the Airflow that shows the button, by whatever name a browser knows it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from diurnal.errors import BatchRejectedError
from diurnal.page import missing_libraries

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGE = "diurnal"
"""The folder of the page below Airflow's URL, and its name in the navigation."""

CHAMPION_DAG = ".champion"
"""The end of the id of the Dag for promotion and rollback by hand."""


def airflow_path(*segments: object) -> str:
    """Return the path of a page of Airflow; `[api] base_url` may have a path as well."""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return "/".join([base, *(quote(str(segment), safe="") for segment in segments)])


def page_path(*segments: object) -> str:
    """Return the path of a view within Airflow's UI: that of its navigation page, then that of the view itself."""
    return airflow_path("plugin", PAGE) + airflow_path(PAGE, *segments)


class ChampionLink(BaseOperatorLink):
    """Link from `promote` to the Dag for promotion and rollback by hand."""

    name = "Change the champion"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as Airflow calls it
        """Return the path of that Dag."""
        return airflow_path("dags", f"{ti_key.dag_id.removesuffix('.approval')}{CHAMPION_DAG}")


class PageLink(BaseOperatorLink):
    """Link from a task to a view of an experiment."""

    fragment = ""  # the place in the view

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as Airflow calls it
        """Return the path of the view; empty, for no button, if there is nothing to see."""
        view = None if missing_libraries() else self.find_view(operator)
        name = operator.experiment.name  # type: ignore[attr-defined]
        return "" if view is None else page_path("experiments", name, *view) + self.fragment

    @abstractmethod
    def find_view(self, operator: Any) -> tuple[object, ...] | None:
        """Return the end of the path of the view, after the name of the experiment; None if there is no view.

        Parameters
        ----------
        operator : ExperimentOperator
            The task, which has run.
        """


class ExperimentLink(PageLink):
    """Link from `storage` to the experiment."""

    name = "Experiment"

    def find_view(self, operator: Any) -> tuple[object, ...]:  # noqa: ARG002 - it is the same for all
        """Return the end of the path of the experiment."""
        return ()


class DataLink(PageLink):
    """Link from `fetch` to the data of the experiment."""

    name = "Data"

    def find_view(self, operator: Any) -> tuple[object, ...] | None:
        """Return the end of the path of the data, if the batch was stored."""
        return None if _has_failed(operator) else ("data",)


class QuarantineLink(PageLink):
    """Link from `fetch` to the rejected batches of the experiment."""

    name = "Rejected batch"
    fragment = "#failures"

    def find_view(self, operator: Any) -> tuple[object, ...] | None:
        """Return the end of the path of the experiment, if the batch was rejected."""
        return () if isinstance(operator.outcome, BatchRejectedError) else None


class RunLink(PageLink):
    """Link from `evaluate` and `record` to the run."""

    name = "Run"

    def find_view(self, operator: Any) -> tuple[object, ...] | None:
        """Return the end of the path of the run, which the results of earlier steps name."""
        return None if _has_failed(operator) else ("runs", operator.inputs[0]["run"]["run_id"])


class VersionLink(PageLink):
    """Link from `publish` and `promote` to the model version."""

    name = "Model version"

    def find_view(self, operator: Any) -> tuple[object, ...] | None:
        """Return the end of the path of the version: the result of `publish`, which `promote` has as an input."""
        version = operator.outcome if operator.step == "publish" else operator.inputs[0]
        return ("versions", version["version"]) if isinstance(version, dict) else None


def _has_failed(operator: Any) -> bool:
    """Return whether a task has ended with an error; a task that has skipped itself has not."""
    from airflow.sdk.exceptions import AirflowSkipException

    return isinstance(operator.outcome, Exception) and not isinstance(operator.outcome, AirflowSkipException)


STEP_LINKS: dict[str, tuple[BaseOperatorLink, ...]] = {
    "storage": (ExperimentLink(),),
    "fetch": (DataLink(), QuarantineLink()),
    "evaluate": (RunLink(),),
    "record": (RunLink(),),
    "publish": (VersionLink(),),
    "promote": (VersionLink(), ChampionLink()),
}
"""The links of each task of an experiment's Dag."""
