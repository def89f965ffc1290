"""Where refused batches are kept, with the reasons, for a person to look at."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.errors import BatchRejectedError

if TYPE_CHECKING:
    from diurnal.storage.lake import Lake
    from diurnal.types import DataInterval


def quarantine_batch(
    lake: Lake, experiment: str, interval: DataInterval, folder: Path, refusal: BatchRejectedError
) -> str:
    """Keep what came of a refused batch, and why it was refused.

    Parameters
    ----------
    lake : Lake
        Where to keep it, under ``<experiment>/quarantine/<interval>/``, in a folder of its own for each refusal: its
        name is that of what is in it, so that the same refusal of a retry is not kept twice.
    experiment : str
        Name of the experiment.
    interval : DataInterval
        Whose batch it was.
    folder : pathlib.Path
        The run's workspace, with the rows as the source gave them, if it gave any.
    refusal : BatchRejectedError
        The reasons, and the source's own files.

    Returns
    -------
    str
        The address of the folder.
    """
    from diurnal.storage.lake import TempArrowFile

    content = {"data_interval": str(interval), "problems": [asdict(problem) for problem in refusal.problems]}
    reasons = json.dumps(content, indent=2).encode()
    evidence = _named([path for path in map(Path, refusal.evidence) if _holds_something(path)])
    rows = folder / TempArrowFile.NAME
    if _holds_something(rows):
        evidence["rows.arrow"] = rows
    place = f"{experiment}/quarantine/{interval.key}/{_digest(reasons, evidence)}"
    for name, path in evidence.items():
        copy = folder / "copy"
        shutil.copyfile(path, copy)
        lake.publish_file(copy, f"{place}/{name}")
    lake.overwrite(f"{place}/reasons.json", reasons)  # last: who finds them finds all
    return lake.url(place)


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _named(paths: list[Path]) -> dict[str, Path]:
    """Give each file a name; those of one name, from several folders, are told apart by a number."""
    named: dict[str, Path] = {}
    for i, path in enumerate(paths):
        taken = path.name in {*named, "rows.arrow", "reasons.json"}
        named[f"{i}-{path.name}" if taken else path.name] = path
    return named


def _digest(reasons: bytes, evidence: dict[str, Path]) -> str:
    """Name a refusal by its reasons, and by the names and contents of its files."""
    digest = hashlib.sha256(reasons)
    for name, path in evidence.items():
        with path.open("rb") as file:
            digest.update(f"{name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]
