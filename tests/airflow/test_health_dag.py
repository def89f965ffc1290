"""The health Dag: how it looks, and that parsing it imports nothing heavy."""

from airflow_home import tell

LOOK = """
import sys
from pathlib import Path
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
HEAVY = {"sklearn", "pandas", "numpy", "scipy", "pyarrow", "skops", "psycopg", "apprise", "diurnal.storage.warehouse"}
folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
def look(dag):
    (task,) = dag.tasks
    DagSerialization.serialize_dag(dag)
    return {
        "schedule": dag.timetable.expression, "tags": sorted(dag.tags),
        "active": dag.max_active_runs, "catchup": dag.catchup, "doc": dag.doc_md, "file": task.file,
        "experiments": task.experiments, "retries": task.retries, "pool": task.pool, "id": task.task_id,
        "callbacks": [getattr(one, "__name__", type(one).__name__) for one in task.on_failure_callback],
        "dag_callback": getattr(dag.on_failure_callback, "__name__", None),
    }
answer = {"errors": bag.import_errors, "dags": {name: look(dag) for name, dag in bag.dags.items()},
          "heavy": sorted(HEAVY & set(sys.modules))}
"""
DAGS = """
from datetime import timedelta
from diurnal.airflow import build_health_dag

def page_someone(context): ...

plain = build_health_dag()
own = build_health_dag(
    "watch", experiments=["b", "a"], schedule="@hourly", tags=["ops"], remind_after=timedelta(hours=1),
    default_args={"on_failure_callback": page_someone, "pool": "small"}, on_failure_callback=page_someone,
)
"""


def test_dag_has_one_task_and_the_arguments_of_its_user(tmp_path):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "health.py").write_text(DAGS)
    seen = tell(tmp_path / "home", tmp_path / "dags", LOOK)
    assert (seen["errors"], seen["heavy"]) == ({}, [])
    plain, own = seen["dags"]["diurnal_health"], seen["dags"]["watch"]
    assert plain["file"] == str(tmp_path / "dags" / "health.py")
    assert (plain["schedule"], plain["active"], plain["catchup"], plain["tags"]) == (
        "*/15 * * * *",
        1,
        False,
        ["diurnal"],
    )
    assert (plain["id"], plain["experiments"], plain["retries"]) == ("doctor", [], 0)
    assert plain["callbacks"] == ["log_error_last"]
    assert "again after 24 hours" in plain["doc"]
    assert (own["experiments"], own["tags"], own["pool"]) == (["a", "b"], ["diurnal", "ops"], "small")
    assert own["callbacks"] == ["page_someone", "log_error_last"]
    assert own["dag_callback"] == "page_someone"
    assert "again after 1 hour;" in own["doc"]
