"""What a backend returns about an evaluation, and how its parts are computed without failing a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from diurnal.errors import PermissionDeniedError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa

Result = TypeVar("Result")


@dataclass
class EvaluationData:
    """Descriptions of models on the same samples.

    Attributes
    ----------
    models : dict of str to dict
        By the name of the model, in types of JSON.
    sample : pyarrow.Table or None
        Results for a bounded sample of rows: ``true``, and for each model its prediction and its probability.
    notes : list of str
        What is absent, and why.
    problems : list of str
        Parts whose computation failed, each with its error.
    """

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    sample: pa.Table | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def attempt(self, part: str, compute: Callable[..., Result], *args: Any) -> Result | None:
        """Return the result of a function; if it raises, record the error as a problem of a part and return None.

        Errors that a repetition may solve are raised.
        """
        try:
            return compute(*args)
        except (TransientError, PermissionDeniedError):
            raise
        except Exception as error:  # noqa: BLE001 - a description may fail with anything, and no run fails by it
            self.problems.append(f"{part}: {type(error).__name__}: {first_line(error)}")
            return None

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


def first_line(error: Exception) -> str:
    """Return the first line of a message, at most 200 characters of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
