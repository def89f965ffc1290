"""Start and stop of the Spark session, and errors that name the reason why it does not start."""

from __future__ import annotations

import atexit
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, TransientError
from diurnal.runtime.spark import spark_conf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SECONDS_TO_CONNECT = 10.0
SECONDS_FOR_WORKERS = 60.0
INSTALL_HINT = "pip install 'diurnal[spark]'"
SUBMITTED = "submitted"  # the master of a process that spark-submit has started: spark-submit has configured it


class _SessionState:
    """The master of the session of this process; there is one, as Spark allows one context for a process."""

    def __init__(self) -> None:
        self.master: str | Callable[[], str] = "local[*]"
        self.conf_dir: str | None = None
        self.started: str | None = None  # the master of the running session, if diurnal has started it
        self.lock = threading.RLock()


_state = _SessionState()


def configure_session(master: str | Callable[[], str], conf_dir: str | None = None) -> None:
    """Set the master of the next session. A session on another master ends at the next :func:`get_session`.

    Parameters
    ----------
    master : str or callable
        Any master of Spark: ``"local[*]"``, ``"spark://host:7077"``, ``"yarn"``, ``"k8s://..."``; or
        :data:`SUBMITTED`, in a driver that ``spark-submit`` has started. A callable returns it when a session starts.
    conf_dir : str, optional
        The folder of ``spark-defaults.conf``; its options override the defaults of diurnal.
    """
    with _state.lock:
        _state.master, _state.conf_dir = master, conf_dir


def get_session() -> SparkSession:
    """Return the session of this process; start it if there is none.

    A session that the user's own code has started is used as it is.

    Raises
    ------
    ConfigurationError
        If pyspark or Java is not installed, or the master is not valid.
    TransientError
        If the master cannot be reached, or provides no executor.
    """
    with _state.lock:
        running = _running_session()
        if running is not None and _state.started is None:
            return running
        if callable(_state.master):
            _state.master = _state.master()
        if running is not None and _state.started == _state.master:
            return running
        stop_session()
        return _start_session(_state.master)


def get_session_for_columns(names: Sequence[str]) -> SparkSession:
    """Return the session, case-sensitive if two of these names of columns differ in their case only."""
    running = get_session()
    if len({name.casefold() for name in names}) < len(names):
        running.conf.set("spark.sql.caseSensitive", "true")
    return running


def stop_session() -> None:
    """Stop the session if diurnal has started it."""
    with _state.lock:
        if _state.started is None:
            return
        _state.started = None
        from pyspark import SparkContext

        context = SparkContext._active_spark_context  # the attribute that getOrCreate itself reads
        if context is not None:
            from pyspark.sql import SparkSession

            active = SparkSession._instantiatedSession
            (active or context).stop()


def retry_with_session(build: Callable[[], Any]) -> Any:
    """Call a function that may create objects of Spark; if they need a session, start one and call it again."""
    try:
        return build()
    except ModuleNotFoundError as error:
        if error.name not in ("pyspark", "py4j"):
            raise
        raise missing_pyspark_error(error) from None
    except Exception as error:
        if not _needs_session(error):
            raise
        get_session()
        return build()


def _needs_session(error: BaseException) -> bool:
    """Return whether code failed because objects of pyspark need a session and none was running.

    These objects live in Java, so that even ``LogisticRegression()`` of pyspark.ml needs a session.
    """
    if "pyspark" not in sys.modules or _running_session() is not None:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    is_in_pyspark = bool(frames) and "pyspark" in Path(frames[-1].filename).parts
    return is_in_pyspark and (isinstance(error, AssertionError) or "SESSION" in str(getattr(error, "_errorClass", "")))


def is_session_local() -> bool:
    """Return whether the executors of the session are in this process."""
    return spark_conf.is_local_master(str(get_session().sparkContext.master))


def to_spark_url(url: str) -> str:
    """Return a URL of fsspec in the form that Spark reads."""
    return f"s3a{url[2:]}" if url.startswith("s3://") else url


@contextmanager
def ignore_pandas_warning() -> Iterator[None]:
    """Ignore pyspark's warning about the version of pandas: diurnal passes no pandas frames through Spark."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        yield


def session_versions() -> dict[str, str]:
    """Return the versions that a model of Spark depends on."""
    running = get_session()
    return {"pyspark": running.version, "java": str(_jvm_of(running).java.lang.System.getProperty("java.version"))}


def _running_session() -> SparkSession | None:
    if "pyspark" not in sys.modules:
        return None
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context = SparkContext._active_spark_context
    if context is None or context._jsc is None or context._jsc.sc().isStopped():
        return None
    return SparkSession.builder.getOrCreate()


def _start_session(master: str) -> SparkSession:
    address = spark_conf.host_and_port(master)
    if address:
        _check_port(master, *address)
    builder = _import_builder()
    if master != SUBMITTED:
        for name, value in spark_conf.session_conf(master, _state.conf_dir).items():
            builder = builder.config(name, value)
    session = _create_session("that this was submitted to" if master == SUBMITTED else master, builder)
    _state.started = master
    atexit.register(stop_session)
    context = session.sparkContext
    if spark_conf.is_local_master(str(context.master)):
        context.pythonExec = sys.executable  # the workers of this machine run in the environment of this process
    elif session.conf.get("spark.dynamicAllocation.enabled", "false") != "true":
        _wait_for_executor(session, str(context.master))
    return session


def _import_builder() -> Any:
    try:
        with ignore_pandas_warning():
            from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise missing_pyspark_error(error) from None
    return SparkSession.builder


def missing_pyspark_error(error: ModuleNotFoundError) -> ConfigurationError:
    """Return the error of an environment without pyspark."""
    return ConfigurationError(f"this needs Spark, and {error.name} is not installed", hint=INSTALL_HINT)


def _create_session(master: str, builder: Any) -> SparkSession:
    """Create the session; translate the errors of Java and py4j."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with ignore_pandas_warning():
            session: SparkSession = builder.getOrCreate()
    except PySparkException as error:
        if "JAVA_GATEWAY" not in str(error) and "JAVA" not in str(error.getCondition()):
            raise _unreachable_error(master, error) from error
        raise ConfigurationError(
            "Spark needs Java 17 or newer, and it could not be started (its output is above)",
            hint="install a JDK, such as openjdk-17-jre-headless, and set JAVA_HOME to it if java is not on the PATH",
        ) from None
    except (Py4JError, OSError) as error:
        if "IllegalArgumentException" in str(error) or "Could not parse Master" in str(error):
            raise ConfigurationError(
                f"Spark cannot be started on {master} with its configuration: {_java_message(error)}",
                hint="correct the setting `spark` (DIURNAL_SPARK), or spark-defaults.conf in SPARK_CONF_DIR",
            ) from error
        raise _unreachable_error(master, error) from error
    return session


def _check_port(master: str, host: str, port: int) -> None:
    """Check that the port is open: Spark itself would try for a minute, and then end without an error."""
    try:
        socket.create_connection((host, port), timeout=SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise _unreachable_error(master, error) from error


def _wait_for_executor(session: SparkSession, master: str) -> None:
    """Wait for an executor: a job without one would wait without end."""
    context: Any = session.sparkContext._jsc
    end = time.monotonic() + SECONDS_FOR_WORKERS
    while context.sc().isStopped() or context.sc().getExecutorMemoryStatus().size() < 2:  # the driver is one of them
        if time.monotonic() > end or context.sc().isStopped():
            stop_session()
            raise TransientError(
                f"the Spark master {master} answers, but provides no executor within {SECONDS_FOR_WORKERS:.0f} s",
                hint="check on its page whether it has workers with free cores and memory, then run it again",
            )
        time.sleep(0.2)


def _java_message(error: BaseException) -> str:
    """Return the line that gives the reason; the first lines of py4j only name the method of Java that was called."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line.lstrip(": ") for line in lines if "calling" not in line]
    return (reasons or lines or [type(error).__name__])[0][:300]


def _unreachable_error(master: str, error: BaseException) -> TransientError:
    return TransientError(
        f"the Spark master {master} cannot be used for now: {_java_message(error)}",
        hint="check whether it runs, and whether the setting `spark` (DIURNAL_SPARK) names it; then run it again",
    )


def _jvm_of(running: SparkSession) -> Any:
    return running.sparkContext._jvm
