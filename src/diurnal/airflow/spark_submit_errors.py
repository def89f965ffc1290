"""Errors of a submitted driver: those that can be found before it is submitted, and those of one without a result.

``spark-submit`` exits with status 1 for nearly any failure. The cause is therefore determined by checks of this
machine (the master, Java) and by the type of the exception, not by the text of its output.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diurnal.errors import ConfigurationError, TransientError

_MASTER = re.compile(r"local(-cluster)?(\[[^\]]+\])?|yarn|(spark|k8s)://\S+")
_JAVA_VERSION = re.compile(r"java\.specification\.version = (?:1\.)?(\d+)")
_MIN_JAVA = 17
_HINT = "correct the connection diurnal_spark, DIURNAL_SPARK, or spark_submit in the Dag file"


def check_master(master: str, deploy_mode: str | None) -> None:
    """Raise an error if spark-submit would reject a master, or its deploy mode for a Python application.

    Examples
    --------
    >>> check_master("yarn", "cluster")
    >>> check_master("spark://head:7077", "cluster")
    Traceback (most recent call last):
    ...
    diurnal.errors.ConfigurationError: deploy_mode='cluster' is not possible with the master spark://head:7077...
    """
    if not _MASTER.fullmatch(master):
        raise ConfigurationError(
            f"{master!r} is not a Spark master\nallowed are local[*], spark://host:port, yarn and k8s://host:port",
            hint=_HINT,
        )
    if deploy_mode == "cluster" and not master.startswith(("yarn", "k8s://")):
        raise ConfigurationError(
            f"deploy_mode='cluster' is not possible with the master {master}\n"
            "for Python it is allowed with yarn and k8s://host:port",
            hint=_HINT,
        )


def missing_result_error(failure: Exception | None, submit: Mapping[str, Any]) -> Exception:
    """Return the error of a driver that ended without a result.

    Parameters
    ----------
    failure : Exception, optional
        The error of SparkSubmitOperator.
    submit : Mapping
        Its arguments.
    """
    if isinstance(failure, FileNotFoundError):
        return ConfigurationError(
            f"{failure.filename or 'spark-submit'} is not on the PATH of this worker",
            hint="pip install 'diurnal[airflow-spark]', or set spark_submit={'spark_binary': ...}",
        )
    if isinstance(failure, NameError):  # the provider imports the Kubernetes client only if it is installed
        return ConfigurationError(
            f"Airflow's provider for Spark lacks a library for this master: {failure}",
            hint="for Kubernetes: pip install apache-airflow-providers-cncf-kubernetes",
        )
    if isinstance(failure, ValueError):
        return ConfigurationError(f"SparkSubmitOperator rejects its arguments: {str(failure)[:300]}", hint=_HINT)
    if "spark_binary" not in submit and (version := java_version(submit.get("env_vars") or {})) < _MIN_JAVA:
        found = "this worker has none" if version == 0 else f"this worker has Java {version}"
        return ConfigurationError(
            f"spark-submit needs Java {_MIN_JAVA} or newer; {found}",
            hint="install a JDK, such as openjdk-17-jre-headless, and set JAVA_HOME to it if java is not on the PATH",
        )
    first_line = str(failure or "").partition("\n")[0][:300]
    reason = "" if not first_line or first_line.startswith("Cannot execute") else f": {first_line}"
    return TransientError(
        f"the driver ended without a result (its output is above){reason}",
        hint="check whether it was killed, most often for memory (driver_memory), and whether it can reach the lake",
    )


def java_version(env_vars: Mapping[str, str]) -> int:
    """Return the major version of the Java that spark-submit would start here; 0 if there is none.

    As spark-submit does, it uses ``JAVA_HOME`` if set, else ``java`` on the PATH.
    """
    environment = {**os.environ, **env_vars}
    home = environment.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else shutil.which("java", path=environment.get("PATH"))
    if java is None:
        return 0
    try:
        done = subprocess.run(  # noqa: S603 - the program that spark-submit starts, too
            [java, "-XshowSettings:properties", "-version"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _JAVA_VERSION.search(done.stderr + done.stdout)
    return int(match[1]) if match else 0
