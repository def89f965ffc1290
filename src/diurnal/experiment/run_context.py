"""The context of a run, which all of its steps share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from diurnal.errors import DiurnalError
from diurnal.runtime.project_files import Codebase
from diurnal.types import DataInterval, Package, Run

if TYPE_CHECKING:
    from diurnal.data import Contract, Schema
    from diurnal.experiment.declaration import Experiment
    from diurnal.storage.lake import PackageKey
    from diurnal.storage.stores import Stores

Window = tuple[tuple[DataInterval, Package], ...]

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class RunContext:
    """Context of a run, shared by all of its steps.

    Attributes
    ----------
    experiment : Experiment
        The experiment.
    interval : DataInterval
        The data interval.
    stores : Stores
        The lake, the warehouse and the models.
    requested_by : str
        The user or the service that requests the run.
    force : bool
        Whether to make one more result where there is one.
    progress : callable, optional
        Called by `tune` with the number of finished fits and the number of all fits (candidates times folds).
    """

    experiment: Experiment
    interval: DataInterval
    stores: Stores
    requested_by: str
    force: bool = False
    progress: Callable[[int, int], None] | None = None
    _schemas: dict[int, Schema] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def code(self) -> Codebase:
        """The project's own code: that of the stores' project, and the folder of the experiment's file."""
        return self.stores.code | Codebase.around(self.experiment.file)

    @property
    def temp_url(self) -> str:
        """The URL of a folder of the lake for temporary files, which Spark's executors can reach as well."""
        return f"{self.stores.lake.address}/.tmp"

    def package_key(self, category: str) -> PackageKey:
        """Return the key of this run's packages of a category, such as ``"batches"``."""
        from diurnal.storage.lake import PackageKey

        return PackageKey(self.experiment.name, category, self.interval.key)

    def stored_contract(self) -> Contract | None:
        """Return all versions of the contract, or None before the first batch.

        The declaration must agree with the newest version.
        """
        from diurnal.data import Contract
        from diurnal.experiment.contract_agreement import apply_declaration

        contract = Contract.from_rows(self.stores.warehouse.contracts(self.experiment.name))
        return (
            None
            if contract is None
            else contract.with_newest(apply_declaration(self.experiment, contract.newest.schema))
        )

    @property
    def newest_schema(self) -> Schema:
        """The newest version of the contract. The declaration must agree with it."""
        return self._stored_schema(None)

    def schema_of(self, run: Run) -> Schema:
        """Return the version of the contract that a run reads rows through: the newest one when it fetched its batch.

        A version never changes once it is stored, so that it is read once for all steps that share this context.
        """
        if not run.contract:
            return self.newest_schema
        if run.contract not in self._schemas:
            self._schemas[run.contract] = self._stored_schema(run.contract)
        return self._schemas[run.contract]

    def _stored_schema(self, version: int | None) -> Schema:
        from diurnal.data import Schema
        from diurnal.experiment.contract_agreement import apply_declaration

        stored = self.stores.warehouse.schema(self.experiment.name, version)
        if stored is None:
            raise DiurnalError(f"{self.experiment.name} has no schema, which its first batch fixes")
        return apply_declaration(self.experiment, Schema.from_dict(stored))

    def has_newest_batch(self) -> bool:
        """Return whether no later data interval has a batch."""
        last = self.stores.warehouse.newest_batch(self.experiment.name)
        return last is None or last <= self.interval.start

    def window(self, package: Package) -> tuple[Window, list[str]]:
        """Return the batches to learn from, that of this interval last, and a warning if some are missing."""
        declared = self.experiment.window
        if declared == 1:
            return ((self.interval, package),), []
        last = declared if isinstance(declared, int) else None
        since = None
        if isinstance(declared, str) and declared != "all":
            length = timedelta(**{_UNITS[declared[-1]]: int(declared[:-1])})
            since = self.experiment.calendar.window_start(self.interval, length)
        batches = self.stores.warehouse.window(self.experiment.name, self.interval, last=last, since=since)
        missing = [f"the window has {len(batches)} of {last} batches"] if last and len(batches) < last else []
        return tuple((interval.in_timezone(self.interval.timezone), one) for interval, one in batches), missing

    def sampling_fraction(self, packages: Sequence[Package]) -> float:
        """Return the fraction of the samples in some packages that the experiment learns from (`sample`), or 1."""
        declared = self.experiment.sample
        if declared is None or isinstance(declared, float):
            return 1.0 if declared is None else declared
        return min(1.0, declared / max(1, sum(package.n_rows for package in packages)))
