"""Exclusive locks on open files, which the kernel releases when the process that holds them ends."""

from __future__ import annotations

import fcntl
from typing import BinaryIO


def try_lock(file: BinaryIO) -> bool:
    """Take the exclusive lock of an open file unless another process holds it; closing the file releases it.

    Parameters
    ----------
    file : binary file
        An open file. The lock belongs to this opening, so that a second opening of the same file cannot take it too.

    Returns
    -------
    bool
        Whether the lock was taken.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as first, open(first.name, "rb") as second:
    ...     try_lock(first), try_lock(second)
    (True, False)
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file: BinaryIO) -> None:
    """Take the exclusive lock of an open file as soon as no other process holds it; closing the file releases it.

    Parameters
    ----------
    file : binary file
        An open file.
    """
    fcntl.flock(file, fcntl.LOCK_EX)
