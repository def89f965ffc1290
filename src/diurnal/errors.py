"""Every error that diurnal raises on purpose.

.. code-block:: text

    DiurnalError
    ├── ExperimentError         exit  2   an experiment is not valid
    ├── UsageError              exit  2   a command or a call is not valid
    │   └── NotFoundError       exit  2   an experiment, version or date does not exist
    ├── BatchRejectedError      exit 65   a batch violates its contract; it is in quarantine
    ├── ContractRejectedError   exit 65   a change of a contract is not acceptable; the contract is unchanged
    ├── CorruptPackageError     exit 65   a package of the lake does not have the digest of its name
    ├── InvalidModelError       exit 65   a model file does not match the warehouse, or has types that are not allowed
    ├── CodeChangedError        exit 75   the code was changed after the run began; run again from `fetch`
    ├── TransientError          exit 75   temporary failure (network, disk or database); retry
    ├── PermissionDeniedError   exit 77   this user has no permission
    ├── ConfigurationError      exit 78   a setting is not valid
    ├── NotEnoughDataError      exit  0   the batch is kept; its window has too few rows to learn from yet
    └── SupersededError         exit  0   a newer attempt has taken over this run; no action is needed

A message states what is wrong and what is allowed; `hint` states what to do. `location` is the experiment, data
interval and step; the innermost caller that knows it adds it. The exit statuses are those of ``sysexits.h``; the
command line exits with 70 (internal error) for any other exception.

The names of before version 0.1 (``BatchRefused``, ``TryAgainLater``, ...) are deprecated aliases.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "BatchRejectedError",
    "CodeChangedError",
    "ConfigurationError",
    "ContractRejectedError",
    "CorruptPackageError",
    "DiurnalError",
    "ExperimentError",
    "InvalidModelError",
    "NotEnoughDataError",
    "NotFoundError",
    "PermissionDeniedError",
    "Problem",
    "SupersededError",
    "TransientError",
    "UsageError",
]

_RENAMED = {
    "BatchRefused": "BatchRejectedError",
    "CodeChanged": "CodeChangedError",
    "ContractRefused": "ContractRejectedError",
    "DeclarationError": "ExperimentError",
    "ModelRefused": "InvalidModelError",
    "NotAllowed": "PermissionDeniedError",
    "NotEnoughData": "NotEnoughDataError",
    "NotFound": "NotFoundError",
    "PackageRefused": "CorruptPackageError",
    "Superseded": "SupersededError",
    "TryAgainLater": "TransientError",
}
_MAX_LISTED = 10  # problems in a message; the exception holds them all


def __getattr__(name: str) -> Any:
    """Return the exception that a deprecated name stands for."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = f"diurnal.errors.{name} is deprecated; use diurnal.errors.{_RENAMED[name]}"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]


class DiurnalError(Exception):
    """Base class of all errors that diurnal raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, and what is allowed.
    hint : str, optional
        What to do.

    Attributes
    ----------
    location : str or None
        The experiment, data interval and step.
    """

    exit_status = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.location: str | None = None

    def add_location(self, location: str) -> DiurnalError:
        """Set the location, unless an inner caller has set it."""
        self.location = self.location or location
        return self

    def __str__(self) -> str:
        first = f"{self.location}: {self.message}" if self.location else self.message
        return "\n".join([first, f"hint: {self.hint}"] if self.hint else [first])

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain JSON types, for :meth:`from_dict` in another process."""
        problems = [asdict(problem) for problem in getattr(self, "problems", ())]
        quarantine = {"quarantine": self.quarantine} if isinstance(self, BatchRejectedError) else {}
        return {
            "type": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "location": self.location,
            "problems": problems,
            **quarantine,
        }

    @staticmethod
    def from_dict(content: dict[str, Any]) -> DiurnalError:
        """Return the error that :meth:`to_dict` describes. Files that an error names as evidence do not travel.

        Examples
        --------
        >>> DiurnalError.from_dict(TransientError("the server is down", hint="retry").to_dict())
        TransientError('the server is down')
        """
        cls = globals()[content["type"]]
        error: DiurnalError = cls.__new__(cls)  # the message is complete, so that `__init__` must not compose it again
        DiurnalError.__init__(error, content["message"], hint=content["hint"])
        error.location = content["location"]
        if isinstance(error, BatchRejectedError | ContractRejectedError):
            error.problems = tuple(Problem(**{**one, "rows": tuple(one["rows"])}) for one in content["problems"])
        if isinstance(error, BatchRejectedError):
            error.evidence = ()
            error.quarantine = content.get("quarantine")
        return error


class ExperimentError(DiurnalError, ValueError):
    """An experiment is not valid. It is raised when the experiment is declared or built, not in a run."""

    exit_status = 2


class UsageError(DiurnalError, ValueError):
    """A command or a call is not valid."""

    exit_status = 2


class NotFoundError(UsageError, LookupError):
    """The experiment, version or date does not exist."""


@dataclass(frozen=True)
class Problem:
    """One reason why a batch is rejected.

    Attributes
    ----------
    code : str
        A short stable code of the kind of problem, such as ``"missing-column"``.
    message : str
        What was found and what is allowed, in a sentence.
    column : str, optional
        The column.
    rows : tuple of int
        The first rows with the problem (at most 20), counted from 1.
    count : int
        Number of rows with the problem.
    """

    code: str
    message: str
    column: str | None = None
    rows: tuple[int, ...] = ()
    count: int = 0

    def __str__(self) -> str:
        where = ""
        if self.rows:
            more = f" and {self.count - len(self.rows)} more" if self.count > len(self.rows) else ""
            where = f" (row{'s' if self.count > 1 else ''} {', '.join(map(str, self.rows))}{more})"
        return f"[{self.code}] {self.message}{where}"


class BatchRejectedError(DiurnalError, ValueError):
    """A batch violates its contract. Nothing of it is stored as valid, and the champion stays in use.

    Parameters
    ----------
    problems : sequence of Problem
        Every reason that was found.
    evidence : sequence of str
        Local files with the rows as they came, to be kept in quarantine.
    hint : str, optional
        What to do.

    Attributes
    ----------
    quarantine : str or None
        The URL of the folder in quarantine, once the batch is stored there.

    Examples
    --------
    >>> raise BatchRejectedError([Problem("no-rows", "the source gave no rows")], hint="run the interval again later")
    Traceback (most recent call last):
    ...
    diurnal.errors.BatchRejectedError: the batch is rejected: [no-rows] the source gave no rows
    hint: run the interval again later
    """

    exit_status = 65

    def __init__(self, problems: Sequence[Problem], *, evidence: Sequence[str] = (), hint: str | None = None) -> None:
        self.problems = tuple(problems)
        self.evidence = tuple(evidence)
        self.quarantine: str | None = None
        super().__init__(f"the batch is rejected:{_list_problems(self.problems)}", hint=hint)


class ContractRejectedError(DiurnalError, ValueError):
    """A batch has content that no version of its contract can accept. The contract is unchanged.

    Parameters
    ----------
    problems : sequence of Problem
        Every reason that was found.
    """

    exit_status = 65

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"the change cannot be accepted:{_list_problems(self.problems)}",
            hint="correct the source; if it cannot be corrected, declare an experiment under another name",
        )


class CorruptPackageError(DiurnalError, ValueError):
    """A package of the lake does not have the digest of its name."""

    exit_status = 65


class InvalidModelError(DiurnalError, ValueError):
    """A model file does not match the warehouse, or contains types that are not allowed."""

    exit_status = 65


class TransientError(DiurnalError, OSError):
    """Temporary failure: a server is down, a disk is full. The same call may succeed later."""

    exit_status = 75


class CodeChangedError(DiurnalError):
    """The code of the experiment was changed after its run began: the row would mix numbers of both versions.

    The same command succeeds later, as it begins with `fetch`; a single step of the run does not.
    """

    exit_status = 75


class PermissionDeniedError(DiurnalError, PermissionError):
    """The user has no permission."""

    exit_status = 77


class ConfigurationError(DiurnalError, ValueError):
    """A setting is not valid, or what it names cannot be used."""

    exit_status = 78


class NotEnoughDataError(DiurnalError):
    """A valid batch is kept, but its window has too few rows to learn from yet. It counts in later windows."""

    exit_status = 0

    def __init__(self, lacking: str, *, hint: str | None = None) -> None:
        super().__init__(f"not enough data yet: {lacking}", hint=hint)


class SupersededError(DiurnalError):
    """A newer attempt has taken over this run and continues it. No action is needed."""

    exit_status = 0


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` if one of the allowed names is similar, else an empty string.

    Examples
    --------
    >>> did_you_mean("tset_size", ["test_size", "target"])
    "; did you mean 'test_size'?"
    >>> did_you_mean("zzz", ["test_size"])
    ''
    """
    allowed = list(allowed)
    folded = {a.lower().replace(" ", "_"): a for a in allowed}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _list_problems(problems: Sequence[Problem]) -> str:
    """Return one problem on the same line, several on a line each, and the number of those that are left out."""
    if len(problems) == 1:
        return f" {problems[0]}"
    lines = [f"\n- {problem}" for problem in problems[:_MAX_LISTED]]
    more = f"\n- and {len(problems) - _MAX_LISTED} more problems" if len(problems) > _MAX_LISTED else ""
    return "".join(lines) + more
