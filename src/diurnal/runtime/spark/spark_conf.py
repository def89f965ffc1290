"""The configuration of a session: defaults, each of which ``spark-defaults.conf`` in ``SPARK_CONF_DIR`` overrides."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# Linear algebra in Java: the digits of a fit do not depend on which BLAS a machine has.
PURE_JAVA_BLAS = " ".join(f"-Ddev.ludovic.netlib.{part}.allowNative=false" for part in ("blas", "lapack", "arpack"))
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_local_master(master: str) -> bool:
    """Return whether a master is this process.

    Examples
    --------
    >>> is_local_master("local[*]"), is_local_master("spark://head:7077")
    (True, False)
    """
    return master == "local" or master.startswith("local[")


def host_and_port(master: str) -> tuple[str, int] | None:
    """Return the address of a standalone cluster's (first) master; None for any other.

    Examples
    --------
    >>> host_and_port("spark://head:7077,spare:7077"), host_and_port("yarn")
    (('head', 7077), None)
    """
    match = re.match(r"spark://(?:\[([^\]]+)\]|([^:,/]+)):(\d+)", master)
    return (match[1] or match[2], int(match[3])) if match else None


def default_options(master: str, conf_dir: str | None) -> dict[str, str]:
    """Return the options of diurnal for a session on a master, without those that ``spark-defaults.conf`` sets."""
    deployed = read_spark_defaults(conf_dir)
    return {name: value for name, value in _all_options(master).items() if name not in deployed}


def read_spark_defaults(conf_dir: str | None) -> dict[str, str]:
    """Read ``spark-defaults.conf``, by Spark's own rules: a name, white space or ``=``, a value."""
    path = Path(conf_dir or "") / "spark-defaults.conf"
    if not conf_dir or not path.is_file():
        return {}
    options = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\s*([^\s=#]+)\s*[\s=]\s*(.*?)\s*$", line)
        if match:
            options[match[1]] = match[2]
    return options


def _all_options(master: str) -> dict[str, str]:
    quiet = Path(__file__).with_name("log4j2.properties").as_uri()
    options = {
        "spark.app.name": "diurnal",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={quiet} {PURE_JAVA_BLAS}",
        "spark.executor.extraJavaOptions": PURE_JAVA_BLAS,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.files.ignoreCorruptFiles": "false",
        "spark.sql.files.ignoreMissingFiles": "false",
        "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.debug.maxToStringFields": "200",
    }
    address = host_and_port(master)
    if is_local_master(master):
        cores = os.cpu_count() or 1
        options |= {"spark.sql.shuffle.partitions": str(max(4, 2 * cores))}
        options |= {"spark.driver.memory": f"{_half_of_memory()}m"}
    if is_local_master(master) or (address and address[0] in LOOPBACK):
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return options


def _half_of_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return half of the memory of this machine or container in MiB; the other half is for Python."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        memory = min(memory, int(text))
    return max(1024, memory // 2 // 2**20)


def session_conf(master: str, conf_dir: str | None) -> Mapping[str, str]:
    """Return all options for the builder of a session."""
    return {"spark.master": master, **default_options(master, conf_dir)}
