"""Errors of requests: each has a status of HTTP and a message that contains no value of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_MESSAGE = 3_000  # characters; with hint and JSON below 4 kB


class RequestError(Exception):
    """A request that cannot be answered.

    Parameters
    ----------
    message : str
        What is wrong, and what is allowed. It names columns of the model and types, and no value of the request.
    status : int
        The status of HTTP.
    hint : str, optional
        What to do.
    row : int, optional
        The first row with the problem, from 1.
    column : str, optional
        The column of the model.
    retry_after : int, optional
        The seconds after which the same request may succeed.
    headers : Mapping of str to str, optional
        Headers of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        hint: str | None = None,
        row: int | None = None,
        column: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message[:MAX_MESSAGE]
        self.status, self.hint, self.row, self.column = status, hint, row, column
        self.headers = dict(headers or {}) | ({} if retry_after is None else {"retry-after": str(retry_after)})

    def to_dict(self) -> dict[str, Any]:
        """Return the error in JSON's types, without what is not known."""
        fields = {"message": self.message, "hint": self.hint, "row": self.row, "column": self.column}
        return {name: value for name, value in fields.items() if value is not None}


def list_names(names: list[str], *, most: int = 20) -> str:
    """Return names for a message, at most `most` of them and each at most 60 characters long.

    Examples
    --------
    >>> list_names(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(name if len(name) <= 60 else f"{name[:57]}..." for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
