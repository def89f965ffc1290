"""The runs of an experiment in MLflow, each found by the tag with the id of the run that it is a copy of.

The status of a run says how much of it is there: it is RUNNING until the last part has been copied.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from diurnal.errors import CorruptPackageError, NotFoundError
from diurnal.mlflow import run_fields
from diurnal.mlflow.artifact_store import ArtifactStore
from diurnal.mlflow.candidates_file import FILE, candidates_as_json
from diurnal.mlflow.model_folder import FOLDER, describe_model, logged_model_tag, model_file_name
from diurnal.mlflow.tracking_server import TrackingServer
from diurnal.runtime.fault_injection import fault_point
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

_COMPLETE = "FINISHED"


class MirroredRuns:
    """The runs of an experiment in MLflow.

    Parameters
    ----------
    stores : Stores
        The stores, which are only read.
    server : TrackingServer
        The server.
    folder : str
        MLflow's id of the experiment.
    """

    def __init__(self, stores: Stores, server: TrackingServer, folder: str) -> None:
        self._stores, self._server, self._folder = stores, server, folder
        self._runs: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def read(self, since: int | None) -> None:
        """Read the runs, or those that began after a time in milliseconds since 1970."""
        query: dict[str, Any] = {"experiment_ids": [self._folder], "max_results": 1000}
        if since is not None:
            query["filter"] = f"attributes.start_time >= {since}"
        for run in self._server.search("runs/search", "runs", **query):
            tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
            if run_fields.RUN_ID in tags:
                self._runs[tags[run_fields.RUN_ID]].append(run["info"])
        for copies in self._runs.values():
            copies.sort(key=lambda info: (info["status"] != _COMPLETE, info["run_id"]))

    def is_complete(self, row: dict[str, Any]) -> bool:
        """Return whether all of a run is there."""
        copies = self._runs.get(row["run_id"], [])
        return any(info["status"] == _COMPLETE for info in copies[:1])

    def copy(self, row: dict[str, Any]) -> tuple[str, str | None]:
        """Copy a run, without completing it; what is there already is written again.

        Returns
        -------
        run, folder : str, str or None
            MLflow's id of the run, and the address of the model's folder; None if it has no model.

        Raises
        ------
        InvalidModelError
            If the model's file is damaged.
        """
        info = self._find_or_create(row)
        self._log_fields(row, info["run_id"])
        files = ArtifactStore(self._server, info["artifact_uri"])
        self._put_candidates(row, files)
        fault_point("mlflow.model:before")
        has_model = row["model_version"] is not None and self._put_model(row, info["run_id"], files)
        return info["run_id"], f"{files.url}/{FOLDER}" if has_model else None

    def complete(self, row: dict[str, Any]) -> None:
        """Mark a run as complete, after its last part."""
        fault_point("mlflow.complete:before")
        info = self._runs[row["run_id"]][0]
        end = run_fields.times_of_run(row)[1]
        self._server.post("runs/update", {"run_id": info["run_id"], "status": _COMPLETE, "end_time": end})
        info["status"] = _COMPLETE

    def remove_duplicates(self) -> int:
        """Delete all but one copy of each run; return their number.

        A server that was slow can create a run after its client has given up, and another one has created it again.
        """
        n_removed = 0
        for copies in self._runs.values():
            for info in copies[1:]:
                self._server.post("runs/delete", {"run_id": info["run_id"]}, unless="RESOURCE_DOES_NOT_EXIST")
                n_removed += 1
            del copies[1:]
        return n_removed

    def _find_or_create(self, row: dict[str, Any]) -> dict[str, Any]:
        copies = self._runs[row["run_id"]]
        if not copies:
            fault_point("mlflow.create_run:before")
            tags = run_fields.tags_of_run(row, self._stores.warehouse.identity)
            new = {
                "experiment_id": self._folder,
                "run_name": row["run_id"],
                "start_time": run_fields.times_of_run(row)[0],
                "tags": run_fields.as_pairs(tags),
            }
            created = self._server.post("runs/create", new) or {}
            copies.append(created["run"]["info"])
            fault_point("mlflow.create_run:after")
        return copies[0]

    def _log_fields(self, row: dict[str, Any], run: str) -> None:
        time = run_fields.times_of_run(row)[1]
        metrics = [
            {**pair, "timestamp": time, "step": 0} for pair in run_fields.as_pairs(run_fields.metrics_of_run(row))
        ]
        for chunk in run_fields.in_chunks(run_fields.as_pairs(run_fields.params_of_run(row))):
            self._server.post("runs/log-batch", {"run_id": run, "params": chunk})
        for chunk in run_fields.in_chunks(metrics):
            self._server.post("runs/log-batch", {"run_id": run, "metrics": chunk})
        self._server.post("runs/log-inputs", {"run_id": run, "datasets": run_fields.datasets_of_run(row)})

    def _put_candidates(self, row: dict[str, Any], files: ArtifactStore) -> None:
        if (path := row["candidates"]) is None:
            return
        try:
            table = self._stores.lake.read(Package(path, PurePosixPath(path).stem, 0))
        except (NotFoundError, FileNotFoundError, CorruptPackageError):  # the rest of the run is worth a copy
            return
        content = candidates_as_json(table)
        files.put(FILE, content, len(content))

    def _put_model(self, row: dict[str, Any], run: str, files: ArtifactStore) -> bool:
        """Copy the model of a run; return whether it is still stored."""
        from importlib.metadata import version

        published = self._stores.warehouse.version(row["experiment"], row["model_version"])
        if self._stores.models.size(published["path"]) is None:
            return False
        self._server.post("runs/set-tag", {"run_id": run, **logged_model_tag(published, run)})
        model, suffix, size = self._stores.models.open_file(published["path"], published["digest"])
        with model:
            files.put(f"{FOLDER}/{model_file_name(published['path'], suffix)}", model, size)
        for name, content in describe_model(published, version("diurnal")).items():
            files.put(f"{FOLDER}/{name}", content, len(content))
        return True
