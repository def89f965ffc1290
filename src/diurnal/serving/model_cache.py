"""Copies of served models on the local disk, with which a server starts while the warehouse is away."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from diurnal.storage.file_store import FileStore
from diurnal.storage.models import Models

_KEPT_SECONDS = 3600
_COLUMNS = ("experiment", "version", "run_id", "path", "digest", "signature", "library_versions", "trusted")
_OPTIONAL = ("training_ranges",)  # which a copy of an older release does not have


class ModelCache:
    """A folder with the files of models, and for each reference the row of the version that was served last.

    A row contains the digest of its model's file, which is checked when the model is loaded again. Who may write to the
    folder can make a server load another model: it belongs to the user of the server only.

    Parameters
    ----------
    folder : str
        The folder, which is created.
    """

    def __init__(self, folder: str) -> None:
        self._files = FileStore(folder)
        self.models = Models(folder)

    def add(self, reference: str, row: dict[str, Any], models: Models) -> None:
        """Copy the file of a model, and let the row be that of the reference."""
        if self.models.digest_of(row["path"]) != row["digest"]:
            file, suffix, _ = models.open_file(row["path"], row["digest"])
            with file:
                self._files.write_folder(row["path"], {f"model.{suffix}": file.read()}, "models.cache")
        names = (*_COLUMNS, *(name for name in _OPTIONAL if name in row))
        content = json.dumps({name: row[name] for name in names}).encode()
        self._files.overwrite(f"references/{reference}.json", content)
        self._remove_old_models()

    def row(self, reference: str) -> dict[str, Any] | None:
        """Return the row of the version that was served last for a reference; None if there is none."""
        path = f"references/{reference}.json"
        if not self._files.exists(path):
            return None
        try:
            row = json.loads(self._files.get(path))
        except ValueError:  # the disk was full
            return None
        return row if isinstance(row, dict) and set(_COLUMNS) <= set(row) else None

    def references(self) -> list[str]:
        """Return the references that have a row."""
        folder = self._files.url("references")
        if not self._files.fs.exists(folder):
            return []
        return sorted(str(path).rpartition("/")[2].removesuffix(".json") for path in self._files.fs.find(folder))

    def _remove_old_models(self) -> None:
        """Remove the files of versions that are not the last ones of a reference."""
        used = {row["path"] for row in map(self.row, self.references()) if row}
        limit = time.time() - _KEPT_SECONDS  # another process may have copied a file, and not yet written its row
        root = Path(self._files.url(""))
        for file in list(root.glob("**/model.*")):
            folder = file.parent
            if folder.relative_to(root).as_posix() not in used and folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
