"""A complete Airflow on this machine, without Docker: one command starts, monitors and stops it.

Its metastore is a database of its own in the embedded PostgreSQL. ``airflow standalone`` is not used: on SIGTERM it
exits without stopping its children.
"""

from diurnal.airflow.local.daemon import start_daemon, stop_daemon
from diurnal.airflow.local.home import AirflowHome
from diurnal.airflow.local.launcher import Launcher
from diurnal.airflow.local.status import describe_status

__all__ = ["AirflowHome", "Launcher", "describe_status", "start_daemon", "stop_daemon"]
