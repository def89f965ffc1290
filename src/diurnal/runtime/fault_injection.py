"""Named points in the code where a process may be killed or the world may fail: for tests of reliability.

Every effect (a file put in place, a transaction committed) is announced by :func:`reach`, before and after.
Unarmed, that is one comparison. The settings arm it from ``DIURNAL_FAULT``, which only tests set:
``kill@lake.put:before`` kills the process there, ``full@lake.put:before`` fails as a full disk does, and
``stop@...`` freezes it until it is continued, as a process does that wakes up after a newer attempt has run.
"""

from __future__ import annotations

import errno
import os
import signal

_armed: tuple[str, str] | None = None


def arm(spec: str | None) -> None:
    """Arm one fault, as ``deed@point``; None disarms."""
    global _armed  # noqa: PLW0603 - one process has one armed fault, and only in tests
    deed, _, point = (spec or "").partition("@")
    _armed = (deed, point) if point else None


def reach(point: str) -> None:
    """Say that this point is reached; what is armed for it happens, once."""
    if _armed is None or _armed[1] != point:
        return
    deed = _armed[0]
    arm(None)
    if deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif deed == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
