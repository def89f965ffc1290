"""Everything that diurnal raises on purpose.

.. code-block:: text

    DiurnalError
    ├── DeclarationError      exit  2   an experiment is written wrong
    ├── UsageError            exit  2   the call is wrong
    │   └── NotFound          exit  2   the call names something that is not there
    ├── BatchRefused          exit 65   a batch breaks its contract; it is in quarantine
    ├── ContractRefused       exit 65   a change of a contract is not acceptable; the contract stays as it is
    ├── PackageRefused        exit 65   a package of the lake is not what its name says it is
    ├── ModelRefused          exit 65   a model file is not what the warehouse says it is
    ├── CodeChanged           exit 75   the code is another than when the run began; begin again from `fetch`
    ├── TryAgainLater         exit 75   the world is at fault, for now: the same call may succeed later
    ├── NotAllowed            exit 77   the world says no to this user
    ├── ConfigurationError    exit 78   a setting is wrong
    ├── NotEnoughData         exit  0   the batch is kept; its window holds too little to learn from yet
    └── Superseded            exit  0   a newer attempt has taken this run over; nothing is to be done

Each message holds what was given, what is allowed and what to do next. `place` says where it happened
(experiment, data interval, step); whoever knows it adds it once on the way up. The statuses are those of
``sysexits.h``; 70 (a bug of ours) is what the command line gives for anything else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "BatchRefused",
    "CodeChanged",
    "ConfigurationError",
    "ContractRefused",
    "DeclarationError",
    "DiurnalError",
    "ModelRefused",
    "NotAllowed",
    "NotEnoughData",
    "NotFound",
    "PackageRefused",
    "Problem",
    "Superseded",
    "TryAgainLater",
    "UsageError",
]


class DiurnalError(Exception):
    """The root of all errors that diurnal raises on purpose.

    Parameters
    ----------
    message : str
        What was given and what is allowed.
    advice : str, optional
        What to do next.
    """

    exit_status = 70

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.place: str | None = None

    def at(self, place: str) -> DiurnalError:
        """Say where it happened, unless something nearer to it already did."""
        self.place = self.place or place
        return self

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}" if self.place else self.message]
        return "\n".join(lines + ([f"What to do: {self.advice}"] if self.advice else []))


class DeclarationError(DiurnalError, ValueError):
    """An experiment is written wrong; found when it is declared or built, not at three in the night."""

    exit_status = 2


class UsageError(DiurnalError, ValueError):
    """The call is wrong."""

    exit_status = 2


class NotFound(UsageError, LookupError):
    """The call names an experiment, version or date that is not there."""


@dataclass(frozen=True)
class Problem:
    """One reason why a batch is refused.

    Attributes
    ----------
    code : str
        A short stable word for the kind of problem, such as ``"missing-column"``.
    what : str
        What was found and what is allowed, in a sentence.
    column : str, optional
        The column it is about.
    rows : tuple of int
        The first rows it was seen in (at most 20), counted from 1.
    count : int
        In how many rows it was seen.
    """

    code: str
    what: str
    column: str | None = None
    rows: tuple[int, ...] = ()
    count: int = 0

    def __str__(self) -> str:
        where = ""
        if self.rows:
            more = f" and {self.count - len(self.rows)} more" if self.count > len(self.rows) else ""
            where = f" (row{'s' if self.count > 1 else ''} {', '.join(map(str, self.rows))}{more})"
        return f"[{self.code}] {self.what}{where}"


class BatchRefused(DiurnalError, ValueError):
    """A batch breaks its contract. Nothing of it is stored as good; the champion goes on serving.

    Parameters
    ----------
    problems : sequence of Problem
        Every reason that was found.
    evidence : sequence of str
        Local files that show what came, to be kept in quarantine.
    """

    exit_status = 65

    def __init__(self, problems: Sequence[Problem], *, evidence: Sequence[str] = (), advice: str | None = None) -> None:
        self.problems = tuple(problems)
        self.evidence = tuple(evidence)
        listed = "; ".join(map(str, self.problems[:10]))
        more = f"; and {len(self.problems) - 10} more problems" if len(self.problems) > 10 else ""
        super().__init__(f"the batch is refused: {listed}{more}", advice=advice)


class ContractRefused(DiurnalError, ValueError):
    """A batch holds what no version of its contract would take in. The contract stays as it is.

    Parameters
    ----------
    problems : sequence of Problem
        Every reason that was found.
    """

    exit_status = 65

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"the change cannot be accepted: {'; '.join(map(str, self.problems[:10]))}",
            advice="correct the source; what cannot be corrected is an experiment of its own, under another name",
        )


class PackageRefused(DiurnalError, ValueError):
    """A package of the lake is not what its name says it is."""

    exit_status = 65


class ModelRefused(DiurnalError, ValueError):
    """A model file is not what the warehouse says it is, or holds what the reader does not trust."""

    exit_status = 65


class TryAgainLater(DiurnalError, OSError):
    """The world is at fault, for now: a server is down, a disk is full. The same call may succeed later."""

    exit_status = 75


class CodeChanged(DiurnalError):
    """The code of the experiment is another than when its run began, and the run would keep numbers of both.

    The same command succeeds later, as it begins with `fetch`; a single step of the run does not.
    """

    exit_status = 75


class NotAllowed(DiurnalError, PermissionError):
    """The world says no to this user."""

    exit_status = 77


class ConfigurationError(DiurnalError, ValueError):
    """A setting is wrong, or what it names cannot serve."""

    exit_status = 78


class NotEnoughData(DiurnalError):
    """A sound batch is kept, and its window holds too little to learn from yet. It counts in later windows."""

    exit_status = 0

    def __init__(self, lacking: str, *, advice: str | None = None) -> None:
        super().__init__(f"not enough data yet: {lacking}", advice=advice)


class Superseded(DiurnalError):
    """A newer attempt has taken this run over. Its work goes on there; nothing is to be done here."""

    exit_status = 0


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Give the words ``; did you mean 'x'?`` if one of the allowed names is near, else nothing.

    Examples
    --------
    >>> nearest("tset_size", ["test_size", "target"])
    "; did you mean 'test_size'?"
    >>> nearest("zzz", ["test_size"])
    ''
    """
    allowed = list(allowed)
    folded = {a.lower().replace(" ", "_"): a for a in allowed}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""
