"""The number of cores of this process that tuning may use: a setting of the deployment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Limit:
    max_cores: int | None = None


_limit = _Limit()


def configure_cores(n: int | None) -> None:
    """Set the greatest number of cores; None: all that the process may use."""
    _limit.max_cores = n


def max_cores() -> int | None:
    """Return the greatest number of cores that tuning uses; None: all that the process may use.

    Examples
    --------
    >>> configure_cores(2)
    >>> max_cores()
    2
    >>> configure_cores(None)
    """
    return _limit.max_cores
