"""Configuration of the local Airflow: ``airflow.cfg``, and the environment of its processes."""

from __future__ import annotations

import os
from configparser import RawConfigParser
from io import StringIO

from diurnal.airflow.local.home import USER, AirflowHome
from diurnal.airflow.local.server_address import ServerAddress

Options = dict[str, dict[str, str]]

_PARSE_SECONDS, _MIN_PARSE_SECONDS = 1.5, 30  # for each Dag file, between two times that all are parsed

_HEAD = """\
# Written by `diurnal airflow up` at each start: a change here is lost at the next one.
# Set AIRFLOW__SECTION__KEY in the environment instead. It holds secrets; it is readable by its owner only.

"""


def render_config(home: AirflowHome, address: ServerAddress) -> str:
    """Return the text of ``airflow.cfg``."""
    parser = RawConfigParser()
    for options in (required_options(home, address), tuned_options(home)):
        for section, pairs in options.items():
            if not parser.has_section(section):
                parser.add_section(section)
            for name, value in pairs.items():
                parser.set(section, name, value.replace("%", "%%"))
    text = StringIO()
    parser.write(text)
    return _HEAD + text.getvalue()


def required_options(home: AirflowHome, address: ServerAddress) -> Options:
    """Return the options of this project's private Airflow; the environment does not override them."""
    keys = home.keys()
    home.password()
    url = home.server.url("airflow")
    return {
        "core": {
            "executor": "LocalExecutor",
            "dags_folder": str(home.dags),
            "fernet_key": keys["fernet_key"],
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_all_admins": "False",
            "simple_auth_manager_passwords_file": str(home.passwords),
            "execution_api_server_url": f"{address.url}/execution/",
        },
        "database": {
            "sql_alchemy_conn": url.replace("postgresql://", "postgresql+psycopg2://", 1),
            "sql_alchemy_conn_async": url.replace("postgresql://", "postgresql+psycopg://", 1),
        },
        "api": {
            "host": address.host,
            "port": str(address.port),
            "base_url": address.url,
            "secret_key": keys["secret_key"],
        },
        "api_auth": {"jwt_secret": keys["jwt_secret"]},
        "logging": {"base_log_folder": str(home.logs)},
    }


def tuned_options(home: AirflowHome) -> Options:
    """Return options that were measured to be fast on one machine; Airflow's own variables override them."""
    n_files = sum(1 for _ in home.dags.rglob("*.py"))
    return {
        "core": {
            "load_examples": "False",
            "dags_are_paused_at_creation": "False",
            "parallelism": str((os.cpu_count() or 2) + 2),  # a slot waits half of its time, for Airflow and for disks
            "hostname_callable": "socket.gethostname",  # the default queries the DNS, which may take seconds
        },
        "scheduler": {
            "mp_start_method": "forkserver",
            "mp_forkserver_preload": "diurnal.airflow.preload",
            "scheduler_idle_sleep_time": "0.25",
            "task_instance_heartbeat_timeout": "60",
            "orphaned_tasks_check_interval": "60",
        },
        "workers": {
            "min_heartbeat_interval": "1",  # the default of 5 s often occupies the slot of a task that has ended
            "max_failed_heartbeats": "15",
            "execution_api_timeout": "30",
        },
        "dag_processor": {
            "refresh_interval": "30",
            # A changed file is parsed at once. One that has not changed takes 0.15 s of a core on a slow machine.
            "min_file_process_interval": str(max(_MIN_PARSE_SECONDS, round(_PARSE_SECONDS * n_files))),
        },
    }


def process_environment(home: AirflowHome, address: ServerAddress) -> dict[str, str]:
    """Return the environment of every process: the caller's, without variables that override required options."""
    caller = home.settings.environment
    required = {
        f"AIRFLOW__{section}__{name}{suffix}".upper()
        for section, pairs in required_options(home, address).items()
        for name in pairs
        for suffix in ("", "_cmd", "_secret")
    }
    inherited = {name: value for name, value in caller.items() if name not in required}
    no_proxy = ",".join(filter(None, [caller.get("no_proxy") or caller.get("NO_PROXY"), "127.0.0.1,localhost,::1"]))
    return {
        "OMP_NUM_THREADS": "1",  # about as many tasks run in parallel as there are cores
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        **inherited,
        "AIRFLOW_HOME": str(home.folder),
        "AIRFLOW_CONFIG": str(home.configuration),
        "DIURNAL_PROJECT": str(home.settings.project),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(home.settings.project), caller.get("PYTHONPATH")])),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }
