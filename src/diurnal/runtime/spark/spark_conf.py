"""What a session is told: sane defaults, each of which ``spark-defaults.conf`` in ``SPARK_CONF_DIR`` may change."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# Java's own linear algebra: the digits of a fit do not depend on which BLAS a machine has.
JAVAS_OWN = " ".join(f"-Ddev.ludovic.netlib.{part}.allowNative=false" for part in ("blas", "lapack", "arpack"))
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_local(master: str) -> bool:
    """Tell whether a master is this very process.

    Examples
    --------
    >>> is_local("local[*]"), is_local("spark://head:7077")
    (True, False)
    """
    return master == "local" or master.startswith("local[")


def host_and_port(master: str) -> tuple[str, int] | None:
    """Give the address of a standalone cluster's (first) master; None for any other.

    Examples
    --------
    >>> host_and_port("spark://head:7077,spare:7077"), host_and_port("yarn")
    (('head', 7077), None)
    """
    match = re.match(r"spark://(?:\[([^\]]+)\]|([^:,/]+)):(\d+)", master)
    return (match[1] or match[2], int(match[3])) if match else None


def words(master: str, conf_dir: str | None) -> dict[str, str]:
    """Give the configuration of a session on a master, without what the deployment sets itself."""
    given = defaults(conf_dir)
    return {name: value for name, value in _ours(master).items() if name not in given}


def defaults(conf_dir: str | None) -> dict[str, str]:
    """Read ``spark-defaults.conf``, by Spark's own rules: a name, white space or ``=``, a value."""
    path = Path(conf_dir or "") / "spark-defaults.conf"
    if not conf_dir or not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\s*([^\s=#]+)\s*[\s=]\s*(.*?)\s*$", line)
        if match:
            found[match[1]] = match[2]
    return found


def _ours(master: str) -> dict[str, str]:
    quiet = Path(__file__).with_name("log4j2.properties").as_uri()
    made = {
        "spark.app.name": "diurnal",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={quiet} {JAVAS_OWN}",
        "spark.executor.extraJavaOptions": JAVAS_OWN,
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
    if is_local(master):
        cores = os.cpu_count() or 1
        made |= {"spark.sql.shuffle.partitions": str(max(4, 2 * cores)), "spark.driver.memory": f"{_half_in_mib()}m"}
    if is_local(master) or (address and address[0] in LOOPBACK):
        made |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return made


def _half_in_mib(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Give half of this machine's memory, or of this container's; the other half is Python's, on the same machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if limit.is_file() and (told := limit.read_text().strip()).isdecimal():
        memory = min(memory, int(told))
    return max(1024, memory // 2 // 2**20)


def spark_conf(master: str, conf_dir: str | None) -> Mapping[str, str]:
    """Give all that a session's builder is told."""
    return {"spark.master": master, **words(master, conf_dir)}
