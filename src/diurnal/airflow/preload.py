"""Modules that the server which forks the tasks imports once, so that each task has them in memory.

``[scheduler] mp_forkserver_preload`` names this module. It imports and does nothing else: a running thread, or a
numeric kernel that has run, would not survive the fork. It saves a scikit-learn task 2 s of CPU. Python silently
ignores a preload that fails to import, so each name is imported on its own. Airflow's modules are the last: when skops
is imported, it asks every loaded module for a hundred names, and Airflow's import something for each.
"""

from __future__ import annotations

import gc
import importlib
import sys
import warnings
from contextlib import suppress

NAMES = """
adbc_driver_postgresql.dbapi
encodings.idna
fsspec.implementations.chained
jinja2.ext
narwhals._pandas_like.namespace
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
diurnal.pipeline.batch_drift
diurnal.pipeline.batch_profiles
diurnal.pipeline.evaluation_files
diurnal.pipeline.ingest
diurnal.pipeline.live_scores
diurnal.pipeline.quarantine
diurnal.pipeline.serialization
diurnal.pipeline.window_split
diurnal.data.casts
diurnal.data.inference
diurnal.data.profile_builder
diurnal.data.validation
diurnal.data.whole_batch_checks
diurnal.experiment.contract_agreement
diurnal.mlflow.mirror
diurnal.promotion.decision
diurnal.promotion.champion_comparison
diurnal.sources.byte_streams
diurnal.storage.models.skops_format
diurnal.storage.models.states.pandas_tables
diurnal.storage.models.states.sklearn_requests
diurnal.storage.models.states.state_node
diurnal.storage.models.model_store
diurnal.backends.sklearn
diurnal.storage.warehouse
diurnal.storage.lake
diurnal.runtime.postgres
airflow.executors.local_executor
airflow.sdk.execution_time.cache
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
psycopg2.extras
diurnal.airflow.dag
diurnal.airflow.plugin
diurnal.airflow.result_log
diurnal.airflow.connections
diurnal.airflow.run_interval
""".split()  # noqa: SIM905 - one name a line is easy to read and to change

sys.modules["polars"] = None  # type: ignore[assignment]  # ADBC would import it, and its threads do not survive a fork
with warnings.catch_warnings():  # see operators.ignore_airflow_deprecations: a Celery worker has Airflow already
    warnings.filterwarnings("ignore", message="The `airflow[.]")
    for _name in NAMES:
        with suppress(ImportError):  # without an optional package, its task imports more itself
            importlib.import_module(_name)
del sys.modules["polars"]  # a task whose source returns polars frames imports it itself
gc.collect()
gc.freeze()  # a search for cycles in a task would visit, and so copy, every object that it shares with this process
