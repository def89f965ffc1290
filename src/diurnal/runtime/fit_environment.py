"""The environment of a fit, which its last digits depend on, as they do on data, code and versions of libraries."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

IMAGE = "DIURNAL_IMAGE"  # a tag or a digest, set where images are built and deployed
FIT_THREADS = 1  # of BLAS and OpenMP in each fit: sums do not depend on the number of cores


def describe_environment() -> dict[str, Any]:
    """Return the Python, its packages, the machine, its CPU, and the loaded numerical libraries, in JSON's types.

    A numerical library chooses its kernels by the CPU; the order of its sums depends on the kernel and the threads.

    Examples
    --------
    >>> sorted(describe_environment())
    ['cpu', 'image', 'installed', 'kernels', 'machine', 'python', 'system', 'threads']
    """
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "image": os.environ.get(IMAGE),
        "installed": digest_of_packages(),
        "kernels": sorted({_describe_kernel(pool) for pool in _threadpool_controller(len(sys.modules)).info()}),
        "threads": FIT_THREADS,
    }


def limit_fit_threads() -> AbstractContextManager[Any]:
    """Return a context with :data:`FIT_THREADS` threads of BLAS and OpenMP in the whole process.

    Examples
    --------
    >>> with limit_fit_threads():
    ...     pass
    """
    limited: AbstractContextManager[Any] = _threadpool_controller(len(sys.modules)).limit(limits=FIT_THREADS)
    return limited


@functools.lru_cache(maxsize=1)
def _threadpool_controller(n_modules: int) -> ThreadpoolController:  # noqa: ARG001 - an import can load a library
    """Return the controller of the numerical libraries that are loaded; it takes 5 to 10 ms to find them."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@functools.cache
def digest_of_packages() -> str:
    """Return a digest of the names and versions of all installed packages: the code of a project may import any."""
    folders = [Path(place) for place in dict.fromkeys(sys.path) if place]
    names = sorted({info.name for folder in folders for info in folder.glob("*.dist-info")})
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def _describe_kernel(pool: dict[str, Any]) -> str:
    return " ".join(filter(None, [pool["internal_api"], pool["version"], pool.get("architecture")]))


@functools.cache
def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
