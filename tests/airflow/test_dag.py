"""Dags: how they look, what makes them fail to load, and what it costs to parse them."""

import compileall
import json
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

import diurnal
from airflow_home import tell
from diurnal.airflow.spark_submit_errors import check_master, java_version, missing_result_error
from diurnal.errors import ConfigurationError
from diurnal.pipeline import flow

ROOT = Path(__file__).parents[2]
LOOK = """
from pathlib import Path
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
def look(dag):
    task = dag.task_dict.get("tune")
    return {
        "edges": sorted([task.task_id, later] for task in dag.tasks for later in task.downstream_task_ids),
        "groups": {name: sorted(group.children) for name, group in dag.task_group_dict.items()},
        "start": str(dag.start_date), "catchup": dag.catchup, "active": dag.max_active_runs, "tags": sorted(dag.tags),
        "doc": dag.doc_md, "file": dag.relative_fileloc, "owner": dag.owner,
        "kind": type(dag.timetable).__name__,
        "params": sorted(dag.params),
        "lines": {name: [len(task.inlets), len(task.outlets), len(task.on_failure_callback)]
                  for name, task in dag.task_dict.items()},
        "serialized": len(str(DagSerialization.serialize_dag(dag))),
        "tune": task and {"retries": task.retries, "pool": task.pool, "queue": task.queue,
                          "config": task.executor_config, "delay": task.retry_delay.total_seconds(),
                          "most": task.max_retry_delay.total_seconds()},
    }
answer = {"errors": bag.import_errors, "dags": {name: look(dag) for name, dag in bag.dags.items()}}
"""
EXPERIMENT = '''
from datetime import timedelta
from diurnal import experiment

@experiment(source=lambda interval: None, target="y"{declared})
def {name}():
    """Tell one from the other."""
    from sklearn.dummy import DummyClassifier
    return DummyClassifier()
'''


def project(folder, experiments, dags):
    for kind, files in (("experiments", experiments), ("dags", dags)):
        (folder / kind).mkdir(parents=True)
        for name, text in files.items():
            (folder / kind / f"{name}.py").write_text(text)
    (folder / "diurnal.toml").write_text("[diurnal]\n")
    return folder


def look(folder):
    return tell(folder / "home", folder / "dags", LOOK)


def dag_file(name, words=""):
    return f"from diurnal.airflow import build_dag, champion\ndag = build_dag({name!r}{words})\n"


def test_examples_load_and_have_the_days_shape(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("data", "models"))
    seen = tell(tmp_path / "home", tmp_path / "examples", LOOK)
    assert seen["errors"] == {}
    days = {"breast_cancer", "late", "turbines"}
    assert set(seen["dags"]) == {"scoring", *days, *(f"{name}.champion" for name in days)}
    day = seen["dags"]["breast_cancer"]
    assert [tuple(edge) for edge in day["edges"]] == sorted([("storage", "fetch"), *flow.dependencies()])
    assert day["groups"] == {"prepare": ["save_batch", "split"], "after_tuning": ["record", "refit"]}
    assert (day["kind"], day["start"]) == ("CronDataIntervalTimetable", "2026-01-01 00:00:00+00:00")
    assert (day["active"], day["catchup"], day["tags"]) == (1, False, ["diurnal"])
    assert day["doc"].startswith("Classify tumours as malignant or benign by the shape of their cell nuclei.\n")
    for said in (
        "| source | `SklearnDataset(name='breast_cancer', label='label')` |",
        "| target | `label` |",
        "| window | `1` data interval |",
        "| promotion | `guarded`: a new version becomes the champion unless it is significantly worse |",
        "```python\ndef breast_cancer():",
        "return GridSearchCV(pipeline,",
        "| `diurnal run breast_cancer --date 2026-11-23` |",
    ):
        assert said in day["doc"]
    assert day["file"].endswith("dags/breast_cancer.py")


def test_build_dag_takes_what_is_declared_and_airflows_own_words(tmp_path):
    declared = {
        "churn": 'schedule="30 6 * * 1-5", retries=2, tags=("risk",), owner="ada", start_date="2026-01-05"',
        "sixth": "schedule=timedelta(hours=6)",
        "hand": "schedule=None",
        "asked": 'promotion="approve"',
    }
    words = (
        ", dag_id='renamed', default_args={'queue': 'big'}, max_active_runs=4, catchup=True,"
        " tags=['team', 'risk'], params={'note': 'x'},"
        " step_kwargs={'tune': {'pool': 'heavy', 'executor_config': {'pod_template_file': 'large.yaml'}},"
        " 'evaluate': {'inlets': [champion('other')], 'on_failure_callback': print, 'doc_md': 'ours'}}"
    )
    experiments = {name: EXPERIMENT.format(name=name, declared=f", {text}") for name, text in declared.items()}
    dags = {name: dag_file(name, words if name == "churn" else "") for name in declared}
    seen = look(project(tmp_path, experiments, dags))
    assert seen["errors"] == {}
    by_hand = {name for name in seen["dags"] if name.endswith(".champion")}
    assert by_hand == {f"{name}.champion" for name in ("renamed", "sixth", "hand", "asked")}
    assert {name: dag["kind"] for name, dag in seen["dags"].items() if name not in by_hand} == {
        "renamed": "CronDataIntervalTimetable",
        "sixth": "DeltaDataIntervalTimetable",
        "hand": "NullTimetable",
        "asked": "CronDataIntervalTimetable",
        "asked.approval": "PartitionedAssetTimetable",
    }
    dag = seen["dags"]["renamed"]
    assert (dag["catchup"], dag["active"], dag["owner"]) == (True, 4, "ada")
    assert (dag["tags"], dag["params"]) == (["diurnal", "risk", "team"], ["batch", "force", "note"])
    assert dag["lines"]["evaluate"] == [2, 0, 2], "assets and callbacks of step_kwargs are added to ours"
    assert dag["tune"] == {
        "retries": 2,
        "pool": "heavy",
        "queue": "big",
        "config": {"pod_template_file": "large.yaml"},
        "delay": 60,
        "most": 900,
    }
    assert seen["dags"]["renamed.champion"]["tags"] == ["diurnal", "risk", "team"]
    assert seen["dags"]["asked.approval"]["edges"] == [["approve", "crown"], ["candidate", "approve"]]


def test_what_is_wrong_is_an_import_error_that_says_where(tmp_path):
    broken = EXPERIMENT.format(name="broken", declared=", tset_size=0.2")
    by_import = f"import sys; sys.path.insert(0, '{tmp_path}/experiments')\nfrom broken import broken\n"
    seen = look(
        project(
            tmp_path,
            {"churn": EXPERIMENT.format(name="churn", declared=""), "broken": broken},
            {
                "by_name": dag_file("broken"),
                "by_import": by_import + dag_file("broken"),
                "missing": dag_file("chrun"),
                "step": dag_file("churn", ", step_kwargs={'tuen': {}}"),
                "schedule": dag_file("churn", ", schedule='@hourly'"),
                "word": dag_file("churn", ", max_actve_runs=3"),
                "param": dag_file("churn", ", params={'force': True}"),
                "tag": dag_file("churn", ", tags='risk'"),
                "taken": dag_file("churn", ", step_kwargs={'tune': {'task_id': 'fit'}}"),
                "submitted": dag_file("churn", ", spark_submit={'conn_id': 'spark_default'}"),
                "submitted_word": dag_file("churn", ", spark_submit={'driver_memry': '4g'}"),
            },
        )
    )
    errors = {Path(file).stem: error for file, error in seen["errors"].items()}
    assert seen["dags"] == {}
    for form in ("by_name", "by_import"):
        assert f"{tmp_path}/experiments/broken.py:5" in errors[form]
        assert "has no argument 'tset_size'; did you mean 'test_size'" in errors[form]
    assert "did you mean 'churn'" in errors["missing"]
    assert "there is no step 'tuen'; did you mean 'tune'" in errors["step"]
    assert "belongs to the experiment" in errors["schedule"]
    assert "max_actve_runs" in errors["word"]
    assert "params: 'force' is a parameter of diurnal's; it runs again even if a result exists" in errors["param"]
    assert "write tags=['risk']" in errors["tag"]
    assert "step_kwargs['tune']: 'task_id' is set by the step itself" in errors["taken"]
    assert "spark_submit has conn_id='spark_default', which the steps set themselves" in errors["submitted"]
    assert "driver_memry" in errors["submitted_word"]


def test_steps_of_spark_are_submitted_where_the_dag_says_so(tmp_path):
    words = ", spark_submit={'driver_memory': '4g', 'pool': 'spark', 'conf': {'a': '1', 'b': '2'}}"
    words += ", step_kwargs={'tune': {'driver_memory': '8g', 'conf': {'b': '3'}}}"
    text = EXPERIMENT.format(name="churn", declared=", n_tuning_shards=4")
    seen = tell(
        tmp_path / "home",
        project(tmp_path, {"churn": text}, {"churn": dag_file("churn", words)}) / "dags",
        """
from pathlib import Path
import sys
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
tasks = bag.dags["churn"].task_dict if bag.dags else {}
def look(task):
    submit = getattr(task, "submit", {})
    return [type(task).__name__, task.pool, submit.get("driver_memory"), submit.get("conf")]
answer = {"errors": bag.import_errors, "pyspark": "pyspark" in sys.modules,
          "tasks": {name: look(task) for name, task in tasks.items()}}
""",
    )
    assert seen["errors"] == {}
    assert not seen["pyspark"]
    submitted = {name: look[1:] for name, look in seen["tasks"].items() if look[0] == "SparkSubmitStepOperator"}
    memory = {"fetch": "4g", "tune": "8g", "evaluate": "4g", "refit": "4g"}
    conf = {step: {"a": "1", "b": "3" if step == "tune" else "2"} for step in memory}
    assert submitted == {step: ["spark", memory[step], conf[step]] for step in memory}
    assert set(seen["tasks"]) == {"storage", *flow.step_names()}, "the fits are spread over the cluster, not over tasks"
    assert {look[1] for name, look in seen["tasks"].items() if name not in memory} == {"default_pool"}


def test_words_of_the_providers_operator_are_known(tmp_path):
    program = """
import inspect
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from diurnal.airflow.spark_submit import RESERVED_OPTIONS, SUBMIT_OPTIONS
taken = set(inspect.signature(SparkSubmitOperator.__init__).parameters) - {"self", "kwargs"}
answer = [sorted(taken), sorted({*RESERVED_OPTIONS, *SUBMIT_OPTIONS})]
"""
    taken, known = tell(tmp_path / "home", tmp_path, program)
    assert taken == known


def test_airflow_knows_the_provider_its_plugin_and_the_connections_that_the_pages_name(tmp_path):
    program = """
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow.providers_manager import ProvidersManager
from airflow import plugins_manager
from diurnal.airflow.plugin import DiurnalPlugin, run_note
manager = ProvidersManager()
first, second, third = (datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3))
def note(conf=None, logical_date=first, start=first, end=second):
    return run_note(SimpleNamespace(conf=conf, logical_date=logical_date, data_interval_start=start,
                                   data_interval_end=end), first)
answer = {
    "version": manager.providers["diurnal"].version,
    "links": [link for link in manager.extra_links_class_names if link.startswith("diurnal")],
    "types": sorted({"http", "postgres", "sqlite"} & set(manager.hooks)),
    "plugins": [plugin.name for plugin in plugins_manager._get_plugins()[0]],
    "notes": [note(), note({"batch": "2026-11-02"}), note(start=first, end=first, logical_date=None),
              note(logical_date=datetime(2026, 10, 31, tzinfo=UTC))],
}
"""
    seen = tell(tmp_path / "home", tmp_path, program)
    assert seen["version"] == version("diurnal")
    links = {"ChampionLink", "DataLink", "ExperimentLink", "QuarantineLink", "RunLink", "VersionLink"}
    assert set(seen["links"]) == {f"diurnal.airflow.extra_links.{name}" for name in links}
    assert seen["types"] == ["http", "postgres", "sqlite"]
    assert "diurnal" in seen["plugins"]
    assert seen["notes"] == [
        "data interval 2026-11-01",
        "batch 2026-11-02",
        None,
        "2026-10-31T00:00Z is before the start date: no task runs",
    ]


def test_names_of_before_are_deprecated_aliases(tmp_path):
    program = """
import warnings
from datetime import timedelta
from pathlib import Path
from diurnal.airflow import build_dag, pod, pod_override
from diurnal.airflow.approval_dag import build_approval_dag
from diurnal.experiment import find
import sys
asked = find("asked", Path(sys.argv[1]) / "experiments")
def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(w.message) for w in caught if w.category is DeprecationWarning and "diurnal" in w.filename
                    or w.filename == "<string>" or "use " in str(w.message)]
dag, first = warned(lambda: build_dag(asked, per_step={"tune": {"pool": "large"}}))
approval, second = warned(lambda: build_approval_dag(asked, answer_within=timedelta(hours=1)))
endless, _ = warned(lambda: build_approval_dag(asked, response_timeout=None))
size, third = warned(lambda: pod(cpu=1, memory="1Gi"))
answer = {"pool": dag.task_dict["tune"].pool, "timeout": approval.task_dict["approve"].response_timeout.total_seconds(),
          "endless": endless.task_dict["approve"].response_timeout,
          "same": size == pod_override(cpu=1, memory="1Gi"), "warnings": [*first, *second, *third]}
"""
    text = EXPERIMENT.format(name="asked", declared=', promotion="approve"')
    folder = project(tmp_path / "p", {"asked": text}, {})
    seen = tell(tmp_path / "home", tmp_path, program, str(folder))
    assert (seen["pool"], seen["timeout"], seen["endless"], seen["same"]) == ("large", 3600, None, True)
    assert [warning.partition(" is deprecated; use ")[2] for warning in seen["warnings"]] == [
        "step_kwargs=",
        "response_timeout=",
        "diurnal.airflow.pod_override",
    ]


def test_a_reference_is_looked_up_in_the_project_of_the_file(tmp_path):
    text = EXPERIMENT.format(name="churn", declared="")
    first, second = (project(tmp_path / name, {"churn": text}, {"churn": dag_file("churn")}) for name in "ab")
    helper = "from diurnal.airflow import build_dag\ndef make():\n    return build_dag('churn')\n"
    (second / "helper.py").write_text(helper)
    (first / "dags" / "helped.py").write_text(
        f"import sys; sys.path.insert(0, {str(second)!r})\nfrom helper import make\ndag = make()\n"
    )
    (first / "dags" / "other.py").write_text(
        f"from diurnal.airflow import build_dag\ndag = build_dag('churn', dag_id='o', dag_file='{second}/dags/x.py')\n"
    )
    program = """
import runpy, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
def source(dag):
    return dag.task_dict["fetch"].experiment.file
bag = DagBag(sys.argv[1], bundle_path=Path(sys.argv[1]))
script = runpy.run_path(f"{sys.argv[2]}/dags/churn.py", run_name="__main__")["dag"]
answer = {"errors": bag.import_errors, "bag": {name: source(dag) for name, dag in bag.dags.items() if "." not in name},
          "script": source(script)}
"""
    seen = tell(tmp_path / "home", first / "dags", program, str(first / "dags"), str(second))
    assert seen["errors"] == {}
    assert seen["bag"] == {"churn": f"{first}/experiments/churn.py", "o": f"{second}/experiments/churn.py"}
    assert seen["script"] == f"{second}/experiments/churn.py"


def test_each_step_has_a_documentation_and_each_module_of_ours_can_be_preloaded(tmp_path):
    program = """
import importlib.util
from diurnal.airflow.preload import NAMES
from diurnal.airflow.step_docs import STEP_DOCS
answer = {"docs": sorted(STEP_DOCS),
          "missing": [name for name in NAMES if name.startswith("diurnal.") and not importlib.util.find_spec(name)]}
"""
    seen = tell(tmp_path / "home", tmp_path, program)
    assert seen["docs"] == sorted(["storage", "cut_shards", "score_shard", *flow.step_names()])
    assert seen["missing"] == []


@pytest.mark.parametrize(
    ("master", "deploy_mode", "message"),
    [
        ("local[2]", None, None),
        ("yarn", "cluster", None),
        ("k8s://https://host:6443", "cluster", None),
        ("spark://head:7077", "client", None),
        ("spark://head:7077", "cluster", "not possible with the master spark://head:7077"),
        ("local", "cluster", "not possible with the master local"),
        ("mesos://head:5050", None, "'mesos://head:5050' is not a Spark master"),
    ],
)
def test_a_master_that_spark_submit_would_reject_is_known_before(master, deploy_mode, message):
    if message is None:
        check_master(master, deploy_mode)
    else:
        with pytest.raises(ConfigurationError, match=re.escape(message)):
            check_master(master, deploy_mode)


@pytest.mark.parametrize(("text", "version"), [("17", 17), ("1.8", 8), ("no property", 0)])
def test_the_version_of_java_is_asked_of_the_program_that_would_start(tmp_path, text, version):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '    java.specification.version = {text}' >&2\n")
    java.chmod(0o755)
    assert java_version({"JAVA_HOME": str(tmp_path)}) == version
    error = missing_result_error(RuntimeError("it ended"), {"env_vars": {"JAVA_HOME": str(tmp_path)}})
    assert isinstance(error, ConfigurationError) is (version < 17)
    assert java_version({"JAVA_HOME": str(tmp_path / "nowhere")}) == 0


PARSE = """
import json, os, sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
HEAVY = {"sklearn", "pandas", "numpy", "scipy", "pyarrow", "skops", "psycopg", "pyspark", "diurnal.storage.warehouse"}
def parse(folder):
    reader, writer = os.pipe()
    if not os.fork():  # each time from the same warm beginning, as Airflow's Dag processor does
        begun = time.process_time()
        bag = DagBag(folder, bundle_path=Path(folder))
        spent = time.process_time() - begun
        answer = {"seconds": spent, "dags": len(bag.dags), "errors": bag.import_errors,
                "heavy": sorted(HEAVY & set(sys.modules))}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answer = json.loads(said.read())
    os.wait()
    return answer
def squares():
    begun = time.process_time()
    sum(i * i for i in range(1_000_000))
    return time.process_time() - begun
empty, one, many, spark = (f"{folder}/dags" for folder in sys.argv[1:])
parse(empty)
cheap = 1.5 * min(squares() for _ in range(20))
def compare(folder):
    # again and again, over some seconds at most: beside other work a second of a processor holds less
    least, without = parse(folder), parse(empty)
    for n in range(40):
        if n >= 4 and least["seconds"] - without["seconds"] < cheap:
            break
        time.sleep(0.1)
        least, without = (min(old, parse(where), key=lambda t: t["seconds"])
                          for old, where in ((least, folder), (without, empty)))
    return {**least, "more": least["seconds"] - without["seconds"]}
answer = {"cheap": cheap, "empty": parse(empty), "one": compare(one), "many": parse(many), "spark": compare(spark)}
"""


def test_parsing_is_cheap(tmp_path):
    compileall.compile_dir(Path(diurnal.__file__).parent, quiet=1)  # as it is where it is installed
    names = [f"churn_{number}" for number in range(50)]
    text = {name: EXPERIMENT.format(name=name, declared="") for name in names}
    empty = "from airflow.sdk import DAG\ndag = DAG('empty', schedule=None)\n"
    project(tmp_path / "empty", {}, {"empty": empty})
    project(tmp_path / "one", {"churn_0": text["churn_0"]}, {"churn_0": dag_file("churn_0")})
    project(tmp_path / "many", text, {name: dag_file(name) for name in names})
    project(tmp_path / "spark", {"churn_0": text["churn_0"]}, {"churn_0": dag_file("churn_0", ", spark_submit={}")})
    folders = [str(tmp_path / name) for name in ("empty", "one", "many", "spark")]
    seen = tell(tmp_path / "home", tmp_path / "empty" / "dags", PARSE, *folders)
    assert [seen[name]["dags"] for name in ("empty", "one", "many")] == [1, 2, 100], json.dumps(seen)
    assert seen["one"]["heavy"] == seen["many"]["heavy"] == seen["spark"]["heavy"] == []
    cheap = seen["cheap"]  # 1.5 times a million squares: some 0.05 s on a fast machine, and 0.1 s on a slow one
    assert seen["one"]["more"] < cheap
    assert seen["many"]["seconds"] < 25 * cheap
    assert seen["spark"]["more"] < cheap


def test_docstrings_examples_are_true(tmp_path):
    program = """
import doctest
from diurnal.airflow import assets, champion_events, spark_submit_errors, task_defaults
options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
modules = (assets, champion_events, spark_submit_errors, task_defaults)
answer = [list(doctest.testmod(module, optionflags=options)) for module in modules]
"""
    assert all(n > 0 and failed == 0 for failed, n in tell(tmp_path / "home", tmp_path, program))


DELAYED = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
import pendulum
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
answer = {"errors": bag.import_errors}
from diurnal.airflow import delayed_timetables
now = pendulum.datetime(2026, 11, 24, 0, 30)
delayed_timetables.utcnow = lambda: now
for name, dag in bag.dags.items():
    if name.endswith(".champion"):
        continue
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    def after(last, catchup):
        start = pendulum.instance(dag.start_date) if dag.start_date else None
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last, restriction=TimeRestriction(start, None, catchup)
        )
        return info.data_interval, [str(info.data_interval.start), str(info.data_interval.end), str(info.run_after)]
    newest, shown = after(None, False)
    by_hand = timetable.infer_manual_data_interval(run_after=now)
    answer[name] = {
        "newest": shown, "next": after(newest, False)[1], "first": after(None, True)[1],
        "by hand": [str(by_hand.start), str(by_hand.end)],
    }
"""


def test_runs_start_when_labels_are_complete(tmp_path):
    declared = ", start_date='2026-01-01', label_delay="
    experiments = {
        "daily": EXPERIMENT.format(name="daily", declared=f"{declared}'7d'"),
        "counted": EXPERIMENT.format(name="counted", declared=f"{declared}'2h', schedule=timedelta(hours=6)"),
    }
    folder = project(tmp_path, experiments, {name: dag_file(name) for name in experiments})
    seen = tell(folder / "home", folder / "dags", DELAYED)
    assert seen["errors"] == {}

    def instants(*texts):
        return [f"{text}+00:00" for text in texts]

    assert seen["daily"] == {
        "newest": instants("2026-11-16 00:00:00", "2026-11-17 00:00:00", "2026-11-24 00:00:00"),
        "next": instants("2026-11-17 00:00:00", "2026-11-18 00:00:00", "2026-11-25 00:00:00"),
        "first": instants("2026-01-01 00:00:00", "2026-01-02 00:00:00", "2026-01-09 00:00:00"),
        "by hand": instants("2026-11-16 00:00:00", "2026-11-17 00:00:00"),
    }
    assert seen["counted"]["newest"] == instants("2026-11-23 12:00:00", "2026-11-23 18:00:00", "2026-11-23 20:00:00")
    assert seen["counted"]["next"] == instants("2026-11-23 18:00:00", "2026-11-24 00:00:00", "2026-11-24 02:00:00")


def test_the_connection_to_spark_is_looked_up_when_a_session_starts(tmp_path, warehouse_url):
    program = f"""
import os
from diurnal.airflow import connections
from diurnal.errors import TransientError
from diurnal.runtime import spark
os.environ |= {{"DIURNAL_WAREHOUSE": {warehouse_url!r}, "AIRFLOW_CONN_DIURNAL_SPARK": "spark://127.0.0.1:9"}}
lookups, lookup = [], connections._lookup_connection
connections._lookup_connection = lambda name: lookups.append(name) or lookup(name)
with connections.open_stores_for_file({str(tmp_path / "dag.py")!r}):
    before = list(lookups)
    try:
        spark.get_session()
    except TransientError as error:
        answer = [before, lookups, error.message]
"""
    before, after, message = tell(tmp_path / "home", tmp_path, program)
    assert (before, after) == ([], ["diurnal_spark"])
    assert "spark://127.0.0.1:9" in message
