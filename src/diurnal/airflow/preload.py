"""Imported once by the server that tasks are forked from, so that each task finds it in memory.

``[scheduler] mp_forkserver_preload`` names it. It imports and does nothing else: a thread that is running, or a
numeric kernel that has run, would not survive the fork. A scikit-learn task costs 2 s of CPU less for it. Python passes
over a preload that cannot be imported without a word, hence one name at a time. Airflow's modules come last: when skops
is imported, it asks every module that is there for a hundred names, and Airflow's import something for each.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from contextlib import suppress

NAMES = """
adbc_driver_postgresql.dbapi
fsspec.implementations.chained
numpy
pandas
pyarrow.parquet
scipy.stats
sklearn.datasets
sklearn.decomposition
sklearn.ensemble
sklearn.linear_model
sklearn.model_selection
sklearn.pipeline
sklearn.preprocessing
skops.io
diurnal.pipeline.steps
diurnal.pipeline.ingest
diurnal.data.casts
diurnal.data.inference
diurnal.data.batch_checks
diurnal.pipeline.quarantine
diurnal.pipeline.promotion
diurnal.pipeline.champion_comparison
diurnal.sources.byte_streams
diurnal.storage.models.skops_format
diurnal.storage.models.states.state_node
diurnal.storage.models.model_store
diurnal.backends.sklearn
diurnal.storage.warehouse
diurnal.storage.lake
diurnal.runtime.postgres
airflow.executors.local_executor
airflow.sdk.execution_time.supervisor
airflow.sdk.execution_time.task_runner
airflow.sdk.definitions.asset.metadata
airflow.sdk.definitions.connection
airflow.sdk.definitions.decorators
airflow.sdk.definitions.timetables.assets
airflow.sdk.definitions.timetables.interval
airflow.sdk.definitions.timetables.trigger
airflow.dag_processing.dagbag
airflow.dag_processing.importers
airflow.dag_processing.bundles.local
airflow.serialization.serialized_objects
airflow.providers.standard.decorators.python
airflow.providers.standard.operators.hitl
airflow.cli.cli_parser
diurnal.airflow.dag
diurnal.airflow.result_log
diurnal.airflow.connections
""".split()  # noqa: SIM905 - one name a line is what is read and changed here

sys.modules["polars"] = None  # type: ignore[assignment]  # ADBC would import it, and its threads do not survive a fork
with warnings.catch_warnings():  # in a worker of Celery Airflow is there first; see diurnal.airflow.operators.quiet
    warnings.filterwarnings("ignore", message="The `airflow[.]")
    for _name in NAMES:
        with suppress(ImportError):  # an optional part that is not installed costs its task the time, and nothing else
            importlib.import_module(_name)
del sys.modules["polars"]  # a task whose source gives polars frames imports it for itself
