"""The registered model of an experiment in MLflow: its versions, each found by a tag, and its aliases."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from diurnal.mlflow import run_fields
from diurnal.mlflow.ownership import require_owner
from diurnal.mlflow.tracking_server import TrackingServer
from diurnal.mlflow.version_aliases import MAX_DATES, expected_aliases, is_mirrored_alias
from diurnal.runtime.fault_injection import fault_point

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

_N_COMPARED = 3  # `champion`, which is the last in the order of the alphabet, and the newest two dates


class RegisteredModel:
    """The registered model of an experiment.

    Parameters
    ----------
    stores : Stores
        The stores, which are only read.
    server : TrackingServer
        The server.
    name : str
        Name of the experiment, and of the registered model.

    Attributes
    ----------
    n_removed : int
        Number of versions that were there twice, and were removed.
    """

    def __init__(self, stores: Stores, server: TrackingServer, name: str) -> None:
        self._stores, self._server, self._name = stores, server, name
        self._numbers: dict[int, str | None] = {}  # from a version to its number in MLflow
        self._all_known = False
        self.n_removed = 0

    def read_versions(self) -> None:
        """Read all versions, in place of one when it is needed."""
        found: dict[int, list[str]] = defaultdict(list)
        for version in self._search(f"name='{self._name}'"):
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
            if tags.get(run_fields.WAREHOUSE) == self._stores.warehouse.identity:
                found[int(tags[run_fields.VERSION])].append(version["version"])
        self._numbers = {version: self._keep_first(numbers) for version, numbers in found.items()}
        self._all_known = True

    def is_missing(self, version: int) -> bool:
        """Return whether a version is known to be missing; without :meth:`read_versions`, none is."""
        return self._all_known and version not in self._numbers

    def add_version(self, version: int, run: str, folder: str) -> bool:
        """Add a version, unless it is there.

        Parameters
        ----------
        version : int
            The version.
        run : str
            MLflow's id of its run.
        folder : str
            The address of the model's folder.
        """
        self._create_model()
        if self._number_of(version) is not None:
            return False
        row = self._stores.warehouse.version(self._name, version)
        tags = {
            run_fields.VERSION: str(version),
            run_fields.WAREHOUSE: self._stores.warehouse.identity,
            run_fields.RUN_ID: row["run_id"],
            "diurnal.digest": row["digest"],
        }
        start, end = row["data_interval_start"], row["data_interval_end"]
        new = {
            "name": self._name,
            "source": folder,
            "run_id": run,
            "description": f"Version {version}, data interval {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC",
            "tags": run_fields.as_pairs(tags),
        }
        fault_point("mlflow.create_version:before")
        created = self._server.post("model-versions/create", new) or {}
        self._numbers[version] = str(created["model_version"]["version"])
        fault_point("mlflow.create_version:after")
        return True

    def update_aliases(self) -> int:
        """Set and remove aliases; return how many were changed. Those of users stay."""
        found = self._server.get("registered-models/get", name=self._name)
        if found is None:
            return 0
        self._require_owner(found["registered_model"])
        present = {
            one["alias"]: str(one["version"])
            for one in found["registered_model"].get("aliases", ())
            if is_mirrored_alias(one["alias"])
        }
        warehouse = self._stores.warehouse
        dates = warehouse.decision_dates(self._name, MAX_DATES)
        expected = expected_aliases(warehouse.promotions(self._name), dates)
        n_changed = 0
        for alias, version in expected.items():
            if self._may_differ(alias, present):
                number = self._number_of(version)
                if number is not None and present.get(alias) != number:
                    content = {"name": self._name, "alias": alias, "version": number}
                    self._server.post("registered-models/alias", content)
                    n_changed += 1
        for alias in present.keys() - expected.keys():
            self._server.delete("registered-models/alias", {"name": self._name, "alias": alias})
            n_changed += 1
        return n_changed

    def _may_differ(self, alias: str, present: dict[str, str]) -> bool:
        """Return whether an alias is compared: a run looks at those that change, as each costs it a request."""
        return self._all_known or alias not in present or alias >= min(sorted(present, reverse=True)[:_N_COMPARED])

    def _create_model(self) -> None:
        declaration = self._stores.warehouse.declarations().get(self._name)
        new = {
            "name": self._name,
            "description": declaration.description if declaration else "",
            "tags": run_fields.as_pairs({run_fields.WAREHOUSE: self._stores.warehouse.identity}),
        }
        if self._server.post("registered-models/create", new, unless="RESOURCE_ALREADY_EXISTS") is None:
            found = self._server.get("registered-models/get", name=self._name) or {}
            self._require_owner(found["registered_model"])

    def _require_owner(self, model: dict[str, Any]) -> None:
        tags = {tag["key"]: tag["value"] for tag in model.get("tags", ())}
        require_owner(self._server, f"a model {self._name}", tags, self._stores.warehouse.identity)

    def _number_of(self, version: int) -> str | None:
        """Return the number of a version in MLflow; None if it is not there."""
        if version not in self._numbers and not self._all_known:
            condition = f"name='{self._name}' AND tags.`{run_fields.VERSION}`='{version}'"
            self._numbers[version] = self._keep_first([one["version"] for one in self._search(condition)])
        return self._numbers.get(version)

    def _search(self, condition: str) -> list[dict[str, Any]]:
        query = {"filter": condition, "max_results": 1000}
        return list(self._server.search("model-versions/search", "model_versions", by_get=True, **query))

    def _keep_first(self, numbers: list[str]) -> str | None:
        """Return the first number of a version, and delete the others."""
        first, *others = sorted(map(str, numbers), key=int) if numbers else (None,)
        for number in others:
            self._server.delete("model-versions/delete", {"name": self._name, "version": number})
            self.n_removed += 1
        return first
