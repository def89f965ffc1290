"""``diurnal contract`` in a process of its own: the page never imports the code of a project.

The experiment is imported there as its file is now, and reads the batch from its source, as the command does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from diurnal.errors import ContractRejectedError, Problem, TransientError, UsageError

_TIMEOUT = 300  # seconds
_WAIT = 60  # seconds, for another process
_REJECTED = 65  # the exit status of a batch that cannot be accepted


class ContractProcess:
    """The contracts of a project; one process runs at a time.

    Parameters
    ----------
    project : Path
        The folder of the project.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._lock = Lock()

    def difference(self, experiment: str, start: datetime, renames: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the differences between a batch and the contract.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        start : datetime
            The start of the data interval.
        renames : Mapping of str to str
            From the name of a column in the contract to its name in the batch.

        Returns
        -------
        list of dict
            Each has `message`, and `acceptable`: whether a new version of the contract can accept it.

        Raises
        ------
        TransientError, UsageError
            If the batch cannot be compared.
        """
        rows: list[dict[str, Any]] = self._run(experiment, "diff", _arguments(start, renames))
        return rows

    def accept(self, experiment: str, start: datetime, renames: Mapping[str, str], why: str) -> dict[str, Any]:
        """Accept the differences as a new version of the contract.

        Returns
        -------
        dict
            The `version`, its `changes`, and `next`, the command to run after it.

        Raises
        ------
        ContractRejectedError
            If no version of the contract can accept the batch.
        TransientError, UsageError
            If the batch cannot be compared.
        """
        fields: dict[str, Any] = self._run(experiment, "accept", [*_arguments(start, renames), f"--why={why}"])
        return fields

    def _run(self, experiment: str, action: str, arguments: Sequence[str]) -> Any:
        """Run the command, and return what it prints."""
        command = [sys.executable, "-m", "diurnal", "contract", experiment, action, "--json", *arguments]
        if not self._lock.acquire(timeout=_WAIT):
            raise TransientError("another batch is being compared", hint="try again in a minute")
        try:
            done = subprocess.run(  # noqa: S603 - without a shell; the name is valid, options have their values joined
                command,
                cwd=self._project,
                env={**os.environ, "DIURNAL_PROJECT": str(self._project)},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TransientError(
                f"the source has not given the batch in {_TIMEOUT} s", hint="use the command line for a slow source"
            ) from None
        finally:
            self._lock.release()
        if done.stdout.strip() and (done.returncode == 0 or (action == "diff" and done.returncode == _REJECTED)):
            return json.loads(done.stdout)
        message = done.stderr.strip().removeprefix("diurnal: error: ") or f"the command ended with {done.returncode}"
        if done.returncode == _REJECTED:
            raise ContractRejectedError([Problem("rejected", message)])
        raise UsageError(message, hint="correct it, then try again")


def parse_renames(text: str) -> dict[str, str]:
    r"""Return new names by old names, from lines ``OLD=NEW``.

    Raises
    ------
    UsageError
        If a line is not one.

    Examples
    --------
    >>> parse_renames("age=years\n\nsex=gender")
    {'age': 'years', 'sex': 'gender'}
    """
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        old, equals, new = line.partition("=")
        if not (old and equals and new) or old in found:
            raise UsageError(f"{line!r} does not rename one column", hint="write OLD=NEW, one a line")
        found[old] = new
    return found


def _arguments(start: datetime, renames: Mapping[str, str]) -> list[str]:
    return [f"--date={start.isoformat()}", *(f"--rename={old}={new}" for old, new in renames.items())]
