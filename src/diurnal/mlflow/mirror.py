"""The mirror of an experiment: what is missing in MLflow is added, and what is there twice is removed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, DiurnalError, TransientError
from diurnal.mlflow import run_fields
from diurnal.mlflow.mirrored_runs import MirroredRuns
from diurnal.mlflow.ownership import require_owner
from diurnal.mlflow.registered_model import RegisteredModel
from diurnal.mlflow.tracking_server import TrackingServer

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

RUN_PATIENCE = 1.0
"""Seconds that an answer may take in a run, which must not wait for MLflow."""
RUN_SECONDS = 30.0
"""Seconds that a run spends on a working MLflow, in case that many results are missing there."""
_UNTIL = "diurnal.mirrored_until"
_log = logging.getLogger(__name__)


@dataclass
class MirrorResult:
    """What a call has changed in MLflow.

    Attributes
    ----------
    experiment : str
        The experiment.
    runs, versions, aliases : int
        Number of runs and model versions that were added or completed, and of aliases that were set or removed.
    duplicates : int
        Number of runs and versions that were there twice, and were removed.
    left : int
        Number of runs that are still missing.
    problems : list of str
        Why some of them cannot be copied.
    """

    experiment: str
    runs: int = 0
    versions: int = 0
    aliases: int = 0
    duplicates: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{number} {noun}"
            for number, noun in (
                (self.runs, "runs"),
                (self.versions, "versions"),
                (self.aliases, "aliases"),
                (self.duplicates, "duplicates removed"),
                (self.left, "runs left"),
            )
            if number
        ]
        return f"{self.experiment}: {', '.join(parts) or 'nothing to do'}"


def mirror_quietly(stores: Stores, experiment: str) -> None:
    """Copy new results of an experiment to the MLflow of the settings, if there is one, within a bounded time.

    It is called after each run and each promotion. A failure is logged, and never raised: nothing depends on MLflow.
    """
    if stores.mlflow is None:
        return
    try:
        with TrackingServer(stores.mlflow, patience=RUN_PATIENCE) as server:
            server.check_health()
            result = mirror_experiment(stores, experiment, server, complete=False, seconds=RUN_SECONDS)
    except DiurnalError as error:
        _log.warning("the results are not in MLflow: %s", error)
    except Exception:  # noqa: BLE001 - whatever it is, the run has its result
        _log.exception("the results are not in MLflow")
    else:
        _log.info("MLflow has %s", result)
        for problem in result.problems:
            _log.warning("MLflow misses %s", problem)


def mirror_experiment(
    stores: Stores,
    experiment: str,
    server: TrackingServer,
    *,
    complete: bool = True,
    seconds: float | None = None,
) -> MirrorResult:
    """Copy the finished runs, the model versions and the aliases of an experiment to MLflow.

    Parameters
    ----------
    stores : Stores
        The stores, which are only read.
    experiment : str
        Name of the experiment.
    server : TrackingServer
        The MLflow server.
    complete : bool
        Whether to compare all runs. If false, only those that were decided after the last call that copied everything.
    seconds : float, optional
        Begin with no further run after these seconds.

    Raises
    ------
    TransientError
        If MLflow fails, or if another process mirrors the experiment.
    ConfigurationError, PermissionDeniedError
        If MLflow does not accept the results.
    """
    with stores.warehouse.process_lock(f"mirror of {experiment}", wait=complete) as locked:
        if not locked:
            raise TransientError(
                f"another process copies the results of {experiment}", hint="the next run copies what is missing"
            )
        return _ExperimentMirror(stores, experiment, server).update(complete=complete, seconds=seconds)


class _ExperimentMirror:
    """One experiment, while this process has its lock."""

    def __init__(self, stores: Stores, experiment: str, server: TrackingServer) -> None:
        self._stores, self._server, self._name = stores, server, experiment
        self._result = MirrorResult(experiment)
        self._folder, self._tags = self._find_or_create_experiment()
        self._registry = RegisteredModel(stores, server, experiment)

    def update(self, *, complete: bool, seconds: float | None) -> MirrorResult:
        """Add what is missing."""
        until = None if complete else self._mirrored_until()
        rows = self._stores.warehouse.decided_runs(self._name, until)
        runs = MirroredRuns(self._stores, self._server, self._folder)
        if rows:
            since = min(run_fields.times_of_run(row)[0] for row in rows)
            runs.read(None if complete else since)
        if complete:
            self._registry.read_versions()
        self._copy_runs(rows, runs, seconds)
        self._result.duplicates += runs.remove_duplicates()
        self._result.aliases = self._registry.update_aliases()
        self._result.duplicates += self._registry.n_removed
        return self._result

    def _copy_runs(self, rows: list[dict[str, Any]], runs: MirroredRuns, seconds: float | None) -> None:
        """Copy runs, oldest first, so that MLflow numbers the versions as diurnal does."""
        started, copied_until, has_gap = time.monotonic(), None, False
        for number, row in enumerate(rows):
            if seconds is not None and time.monotonic() - started > seconds:
                self._result.left += len(rows) - number
                break
            try:
                self._copy_run(row, runs)
            except (TransientError, ConfigurationError):
                raise
            except DiurnalError as error:  # of this run's files, which others do not need
                self._result.problems.append(f"run {row['run_id']}: {error}")
                self._result.left += 1
                has_gap = True
            copied_until = copied_until if has_gap else row["decided_at"]
        if copied_until is not None:
            self._set_mirrored_until(copied_until)

    def _copy_run(self, row: dict[str, Any], runs: MirroredRuns) -> None:
        version = row["model_version"]
        if runs.is_complete(row) and not (version is not None and self._can_add(version)):
            return
        run, folder = runs.copy(row)
        if version is not None and folder is not None:
            self._result.versions += self._registry.add_version(version, run, folder)
        runs.complete(row)
        self._result.runs += 1

    def _can_add(self, version: int) -> bool:
        """Return whether a version is known to be missing, and its model is still stored."""
        if not self._registry.is_missing(version):
            return False
        return self._stores.models.size(self._stores.warehouse.version(self._name, version)["path"]) is not None

    def _find_or_create_experiment(self) -> tuple[str, dict[str, str]]:
        """Return the id and the tags of the experiment in MLflow, which must be a copy of this one."""
        identity = self._stores.warehouse.identity
        tags = {run_fields.WAREHOUSE: identity, "mlflow.experimentKind": "custom_model_development"}
        new = {"name": self._name, "tags": run_fields.as_pairs(tags)}
        found = self._server.get("experiments/get-by-name", experiment_name=self._name)
        if found is None:
            created = self._server.post("experiments/create", new, unless="RESOURCE_ALREADY_EXISTS")
            if created is not None:
                return str(created["experiment_id"]), tags
            found = self._server.get("experiments/get-by-name", experiment_name=self._name) or {}
        existing = found["experiment"]
        tags = {tag["key"]: tag["value"] for tag in existing.get("tags", ())}
        if existing.get("lifecycle_stage") == "deleted":
            raise ConfigurationError(
                f"the experiment {self._name} was deleted in MLflow, which keeps its name",
                hint="restore it there, or delete it for good with: mlflow gc",
            )
        require_owner(self._server, f"an experiment {self._name}", tags, identity)
        return str(existing["experiment_id"]), tags

    def _mirrored_until(self) -> datetime | None:
        value = self._tags.get(_UNTIL)
        try:
            return datetime.fromisoformat(value) if value else None
        except ValueError:
            return None

    def _set_mirrored_until(self, time: datetime) -> None:
        tag = {"experiment_id": self._folder, "key": _UNTIL, "value": time.isoformat()}
        if self._tags.get(_UNTIL) != tag["value"]:
            self._server.post("experiments/set-experiment-tag", tag)
