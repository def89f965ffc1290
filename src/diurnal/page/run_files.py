"""The files of a run in the lake: its code, its candidates and its evaluation data.

A run of an earlier release has no evaluation data, and a file may be lost: what is absent is None, and the page shows
the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from diurnal.errors import CorruptPackageError, NotFoundError
from diurnal.types import Package

if TYPE_CHECKING:
    import pandas as pd

    from diurnal.experiment import Code
    from diurnal.storage.lake import Lake

_Content = TypeVar("_Content")


@dataclass
class RunFiles:
    """Reads the files that the row of a run refers to.

    Attributes
    ----------
    lake : Lake
        The lake.
    lost : list of str
        The files that could not be read, as sentences.
    """

    lake: Lake
    lost: list[str] = field(default_factory=list)

    def code(self, run: Mapping[str, Any]) -> Code | None:
        """Return the code as it ran."""
        from diurnal.experiment import Code

        return self._read("code", run["code"], lambda path: Code.loads(self.lake.read_bytes(path)))

    def evaluation(self, run: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the curves and histograms of the evaluation."""
        return self._read("evaluation", run["evaluation"], lambda path: _load_object(self.lake.read_bytes(path)))

    def candidates(self, run: Mapping[str, Any]) -> pd.DataFrame | None:
        """Return the candidates of the search, as :func:`diurnal.candidates` returns them."""
        from diurnal.pipeline.result_frames import expand_candidates

        return self._read(
            "table of candidates",
            run["candidates"],
            lambda path: expand_candidates(self.lake.read(Package(path, PurePosixPath(path).stem, 0))),
        )

    def _read(self, what: str, path: str | None, reader: Callable[[str], _Content]) -> _Content | None:
        if path is None:
            return None
        try:
            return reader(path)
        except (NotFoundError, CorruptPackageError, ValueError, TypeError, KeyError):
            self.lost.append(f"The {what} cannot be read: the file {path} of the lake is missing or damaged.")
            return None


def _load_object(data: bytes) -> dict[str, Any]:
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as for invalid JSON
    return content
