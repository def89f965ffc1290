"""Links from a task to related pages, as buttons in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ChampionLink(BaseOperatorLink):
    """Link from `promote` to the Dag for promotion and rollback by hand."""

    name = "Change the champion"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as Airflow calls it
        """Return the URL of that Dag."""
        page = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
        return f"{page}/dags/{ti_key.dag_id.removesuffix('.approval')}.champion"
