"""Quarantine: rejected batches are kept with the reasons, for inspection."""

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
    lake: Lake, experiment: str, interval: DataInterval, folder: Path, error: BatchRejectedError
) -> str:
    """Store the rows of a rejected batch, and the reasons.

    Parameters
    ----------
    lake : Lake
        The lake. Each rejection has a folder below ``<experiment>/quarantine/<interval>/`` that is named by the digest
        of its content, so that a retry does not store the same rejection twice.
    experiment : str
        Name of the experiment.
    interval : DataInterval
        Its data interval.
    folder : pathlib.Path
        The workspace of the run, with the rows of the source, if there are any.
    error : BatchRejectedError
        The reasons, and files of the source.

    Returns
    -------
    str
        The URL of the folder.
    """
    from diurnal.storage.lake import TempArrowFile

    content = {"data_interval": str(interval), "problems": [asdict(problem) for problem in error.problems]}
    reasons = json.dumps(content, indent=2).encode()
    evidence = _name_files([path for path in map(Path, error.evidence) if _has_content(path)])
    rows = folder / TempArrowFile.NAME
    if _has_content(rows):
        evidence["rows.arrow"] = rows
    path = f"{experiment}/quarantine/{interval.key}/{_content_digest(reasons, evidence)}"
    for name, file in evidence.items():
        copy = folder / "copy"
        shutil.copyfile(file, copy)
        lake.publish_file(copy, f"{path}/{name}")
    lake.overwrite(f"{path}/reasons.json", reasons)  # written last: where it exists, the folder is complete
    return lake.url(path)


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _name_files(paths: list[Path]) -> dict[str, Path]:
    """Return a name for each file; files of equal names, from several folders, get a number."""
    named: dict[str, Path] = {}
    for i, path in enumerate(paths):
        taken = path.name in {*named, "rows.arrow", "reasons.json"}
        named[f"{i}-{path.name}" if taken else path.name] = path
    return named


def _content_digest(reasons: bytes, evidence: dict[str, Path]) -> str:
    """Return the digest of the reasons, and of the names and contents of the files."""
    digest = hashlib.sha256(reasons)
    for name, path in evidence.items():
        with path.open("rb") as file:
            digest.update(f"{name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]
