"""The environment of a fit: what its last digits depend on beside data, code and the versions of libraries."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Any

IMAGE = "DIURNAL_IMAGE"  # set by those who build and deploy images: a tag or a digest
FIT_THREADS = 1  # of BLAS and OpenMP in each fit: sums do not depend on the number of cores


def environment() -> dict[str, Any]:
    """Return the Python, the machine, its CPU, and the numerical libraries that are loaded, in JSON's types.

    Each of those chooses its kernels by the CPU, and sums in an order that depends on the kernel and on the threads.

    Examples
    --------
    >>> sorted(environment())
    ['cpu', 'image', 'kernels', 'machine', 'python', 'system', 'threads']
    """
    from threadpoolctl import threadpool_info

    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "image": os.environ.get(IMAGE),
        "kernels": sorted({_kernel(pool) for pool in threadpool_info()}),
        "threads": FIT_THREADS,
    }


def _kernel(pool: dict[str, Any]) -> str:
    return " ".join(filter(None, [pool["internal_api"], pool["version"], pool.get("architecture")]))


@functools.cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
