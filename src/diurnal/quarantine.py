"""Where refused batches are kept, with the reasons, for a person to look at."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.errors import BatchRefused

if TYPE_CHECKING:
    from diurnal.lake import Lake
    from diurnal.values import DataInterval


def keep(lake: Lake, experiment: str, interval: DataInterval, folder: Path, refusal: BatchRefused) -> str:
    """Keep what came of a refused batch, and why it was refused.

    Parameters
    ----------
    lake : Lake
        Where to keep it, under ``<experiment>/quarantine/<interval>/``.
    experiment : str
        Name of the experiment.
    interval : DataInterval
        Whose batch it was.
    folder : pathlib.Path
        The run's workspace, with the rows as the source gave them, if it gave any.
    refusal : BatchRefused
        The reasons, and the source's own files.

    Returns
    -------
    str
        The address of the folder.
    """
    place = f"{experiment}/quarantine/{interval.key}"
    reasons = {"data_interval": str(interval), "problems": [asdict(problem) for problem in refusal.problems]}
    lake.replace(f"{place}/reasons.json", json.dumps(reasons, indent=2).encode())
    for path in [*map(Path, refusal.evidence), folder / "spool.arrow"]:
        if path.is_file() and path.stat().st_size:
            copy = folder / f"copy-{path.name}"
            shutil.copyfile(path, copy)
            name = "rows.arrow" if path.name == "spool.arrow" else path.name
            lake.move_in(copy, f"{place}/{name}")
    return lake.url(place)
