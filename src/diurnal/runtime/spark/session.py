"""Starting and stopping the session, and saying in our words why it does not start."""

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
MISSING = "pip install 'diurnal[spark]'"
SUBMITTED = "submitted"  # the master of a process that spark-submit has started: it was told which, and all the rest


class _Place:
    """Where the process' session runs; there is one, as Spark allows one context for a process."""

    def __init__(self) -> None:
        self.master = "local[*]"
        self.conf_dir: str | None = None
        self.started: str | None = None  # on which master ours runs, once it does
        self.lock = threading.RLock()


_place = _Place()


def use(master: str, conf_dir: str | None = None) -> None:
    """Say where the next session runs; one that runs elsewhere ends when a session is asked for.

    Parameters
    ----------
    master : str
        ``"local[*]"``, ``"spark://host:7077"``, ``"yarn"``, ``"k8s://..."``: whatever Spark takes; or
        :data:`SUBMITTED`, in a driver that ``spark-submit`` has started.
    conf_dir : str, optional
        The folder of ``spark-defaults.conf``; what it sets wins over our defaults.
    """
    with _place.lock:
        _place.master, _place.conf_dir = master, conf_dir


def session() -> SparkSession:
    """Give the session of this process, started if there is none.

    One that the user's own code has started is taken as it is.

    Raises
    ------
    ConfigurationError
        If pyspark or Java is not there, or the master is none.
    TransientError
        If the master cannot be reached, or gives no worker.
    """
    with _place.lock:
        running = _running()
        if running is not None and (_place.started in (None, _place.master)):
            return running
        stop()
        return _start(_place.master)


def session_for(names: Sequence[str]) -> SparkSession:
    """Give the session for rows with columns of these names; two that differ in their case only are told apart."""
    running = session()
    if len({name.casefold() for name in names}) < len(names):
        running.conf.set("spark.sql.caseSensitive", "true")
    return running


def stop() -> None:
    """End the session, if one of ours is running."""
    with _place.lock:
        if _place.started is None:
            return
        _place.started = None
        from pyspark import SparkContext

        context = SparkContext._active_spark_context  # what getOrCreate itself looks at
        if context is not None:
            from pyspark.sql import SparkSession

            active = SparkSession._instantiatedSession
            (active or context).stop()


def _is_wanted_by(error: BaseException) -> bool:
    """Tell whether code failed because pyspark's objects need a session, and none was there.

    They live in Java, so that even ``LogisticRegression()`` of pyspark.ml needs one.
    """
    if "pyspark" not in sys.modules or _running() is not None:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    within = bool(frames) and "pyspark" in Path(frames[-1].filename).parts
    return within and (isinstance(error, AssertionError) or "SESSION" in str(getattr(error, "_errorClass", "")))


def is_local() -> bool:
    """Tell whether the session's executors are in this very process."""
    return spark_conf.is_local(str(session().sparkContext.master))


def url(address: str) -> str:
    """Give an address of fsspec as Spark writes it."""
    return f"s3a{address[2:]}" if address.startswith("s3://") else address


@contextmanager
def quiet() -> Iterator[None]:
    """Let pyspark not warn of the version of pandas: no frame of pandas goes through Spark here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        yield


def versions() -> dict[str, str]:
    """Give the versions that a model of Spark depends on."""
    running = session()
    return {"pyspark": running.version, "java": str(_jvm(running).java.lang.System.getProperty("java.version"))}


def _running() -> SparkSession | None:
    if "pyspark" not in sys.modules:
        return None
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context = SparkContext._active_spark_context
    if context is None or context._jsc is None or context._jsc.sc().isStopped():
        return None
    return SparkSession.builder.getOrCreate()


def _start(master: str) -> SparkSession:
    address = spark_conf.host_and_port(master)
    if address:
        _knock(master, *address)
    builder = _builder()
    if master != SUBMITTED:
        for name, value in spark_conf.spark_conf(master, _place.conf_dir).items():
            builder = builder.config(name, value)
    made = _in_time("that this was submitted to" if master == SUBMITTED else master, builder)
    _place.started = master
    atexit.register(stop)
    context = made.sparkContext
    if spark_conf.is_local(str(context.master)):
        context.pythonExec = sys.executable  # the workers of this machine run in this very environment
    elif made.conf.get("spark.dynamicAllocation.enabled", "false") != "true":
        _await_a_worker(made, str(context.master))
    return made


def _builder() -> Any:
    try:
        with quiet():
            from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise missing(error) from None
    return SparkSession.builder


def missing(error: ModuleNotFoundError) -> ConfigurationError:
    """Give the error of an environment without pyspark."""
    return ConfigurationError(f"this needs Spark, and {error.name} is not installed", hint=MISSING)


def _in_time(master: str, builder: Any) -> SparkSession:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with quiet():
            made: SparkSession = builder.getOrCreate()
    except PySparkException as error:
        if "JAVA_GATEWAY" not in str(error) and "JAVA" not in str(error.getCondition()):
            raise _unreachable(master, error) from error
        raise ConfigurationError(
            "Spark needs Java 17 or newer, and it could not be started (what it said is above)",
            hint="install a JDK, such as openjdk-17-jre-headless, and set JAVA_HOME to it if java is not on the PATH",
        ) from None
    except (Py4JError, OSError) as error:
        if "IllegalArgumentException" in str(error) or "Could not parse Master" in str(error):
            raise ConfigurationError(
                f"Spark cannot be started on {master} as it is set: {_said(error)}",
                hint="correct the setting `spark` (DIURNAL_SPARK), or spark-defaults.conf in SPARK_CONF_DIR",
            ) from error
        raise _unreachable(master, error) from error
    return made


def _knock(master: str, host: str, port: int) -> None:
    """See that somebody listens: Spark itself would try for a minute, and then end without an error."""
    try:
        socket.create_connection((host, port), timeout=SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise _unreachable(master, error) from error


def _await_a_worker(made: SparkSession, master: str) -> None:
    """Wait for an executor: a job without one would wait for ever."""
    context: Any = made.sparkContext._jsc
    end = time.monotonic() + SECONDS_FOR_WORKERS
    while context.sc().isStopped() or context.sc().getExecutorMemoryStatus().size() < 2:  # the driver is one of them
        if time.monotonic() > end or context.sc().isStopped():
            stop()
            raise TransientError(
                f"the Spark master {master} is there, and gave no executor within {SECONDS_FOR_WORKERS:.0f} s",
                hint="see on its page whether it has workers with free cores and memory, then run it again",
            )
        time.sleep(0.2)


def _said(error: BaseException) -> str:
    """Give the line that tells why; what py4j begins with only tells which of Java's methods was called."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line.lstrip(": ") for line in lines if "calling" not in line]
    return (telling or lines or [type(error).__name__])[0][:300]


def _unreachable(master: str, error: BaseException) -> TransientError:
    return TransientError(
        f"the Spark master {master} cannot be used for now: {_said(error)}",
        hint="see whether it runs, and whether the setting `spark` (DIURNAL_SPARK) names it; then run it again",
    )


def _jvm(running: SparkSession) -> Any:
    return running.sparkContext._jvm


def retrying(build: Callable[[], Any]) -> Any:
    """Call what may make objects of Spark; where it turns out that they need a session, start one and call again."""
    try:
        return build()
    except ModuleNotFoundError as error:
        if error.name not in ("pyspark", "py4j"):
            raise
        raise missing(error) from None
    except Exception as error:
        if not _is_wanted_by(error):
            raise
        session()
        return build()
