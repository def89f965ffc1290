"""Named points in the code where a test kills the process or makes it fail.

Every effect (a file moved to its place, a transaction committed) has such a point before and after it. Without an armed
fault, :func:`fault_point` is one comparison. The settings arm a fault from ``DIURNAL_FAULT``, which only tests set:
``kill@lake.put:before`` kills the process at that point, ``full@lake.put:before`` fails like a full disk, and
``stop@...`` suspends the process until it is continued, like one that wakes up after a newer attempt has run.
"""

from __future__ import annotations

import errno
import os
import signal

_armed: tuple[str, str] | None = None


def arm_fault(spec: str | None) -> None:
    """Arm one fault, written as ``action@point``; None disarms."""
    global _armed  # noqa: PLW0603 - one process has one armed fault, and only in tests
    action, _, point = (spec or "").partition("@")
    _armed = (action, point) if point else None


def fault_point(point: str) -> None:
    """Mark a point in the code; a fault that is armed for it happens here, once."""
    if _armed is None or _armed[1] != point:
        return
    action = _armed[0]
    arm_fault(None)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
