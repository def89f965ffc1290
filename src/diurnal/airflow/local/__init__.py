"""A complete Airflow on this machine, without Docker: started, looked after and ended by one command.

Its metastore is a database of its own in the embedded PostgreSQL. ``airflow standalone`` is not used: on SIGTERM it
dies and leaves its children alone.
"""

from diurnal.airflow.local.daemon import start, stop
from diurnal.airflow.local.home import Home
from diurnal.airflow.local.launcher import Launcher
from diurnal.airflow.local.status import describe

__all__ = ["Home", "Launcher", "describe", "start", "stop"]
