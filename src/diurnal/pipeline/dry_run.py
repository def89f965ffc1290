"""A dry run: the steps of a data interval on its real rows, with few candidates, in a scratch place.

It finds what a run would fail on: a batch that breaks the contract, a fit, a score or a prediction that raises, a model
that cannot be saved or loaded again. The lake, the warehouse and the models stay as they are.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from diurnal.backends import backend_of
from diurnal.errors import BatchRejectedError, DiurnalError
from diurnal.pipeline import accept_command, flow, ingest
from diurnal.storage.lake import Lake
from diurnal.storage.models import Models, library_versions, with_own_names

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.backends import Backend, Data
    from diurnal.data import Schema
    from diurnal.pipeline.context import Day
    from diurnal.types import Package

MOST_ROWS = 2_000  # that are learnt from, and as many that are judged by


@dataclass
class DryRun:
    """What a dry run found.

    Attributes
    ----------
    n_rows : int
        Rows of the batch, as they would be kept.
    tried : list of str
        The kinds of candidates that were fitted, scored, saved, loaded and asked to predict.
    faults : list of DiurnalError
        What a run would end with, each once.
    warnings : list of str
        What was odd but allowed.
    """

    n_rows: int = 0
    tried: list[str] = field(default_factory=list)
    faults: list[DiurnalError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def attempt(self, day: Day, step: str, function: Callable[..., Any], *args: Any) -> Any:
        """Give what a function gives; None, and one more fault, where it fails."""
        try:
            with flow.error_context(day, step):
                return function(*args)
        except DiurnalError as fault:
            if str(fault) not in map(str, self.faults):
                self.faults.append(fault)
            return None


def dry_run(day: Day) -> DryRun:
    """Try the steps of a data interval; nothing is written to the day's stores.

    Parameters
    ----------
    day : Day
        The experiment, the data interval and the stores. Of the warehouse only the contract is read.

    Returns
    -------
    DryRun
    """
    found, made = DryRun(), day.experiment.build()
    backend = backend_of(made)
    with _scratch(day, made) as dry:
        brought = found.attempt(dry, "fetch", _fetched, dry, found)
        if brought is None:
            return found
        package, schema = brought
        found.n_rows = package.n_rows
        sides = found.attempt(dry, "split", _samples, dry, backend, package, schema)
        if sides is None:
            return found
        data, test = sides
        if test is None:
            found.warnings.append("no sample is for testing: no score was tried")
        lacking = backend.too_small(made, data) if data.n_rows else "no sample is for training"
        if lacking:
            found.warnings.append(f"not enough data yet: {lacking}; no candidate was tried")
            return found
        for kind, reduced in backend.trials(made):
            if _try(found, dry, backend, reduced, data, test, schema):
                found.tried.append(kind)
    return found


def _try(
    found: DryRun, dry: Day, backend: Backend, made: Any, data: Data, test: Package | None, schema: Schema
) -> bool:
    """Fit one candidate, score it, save it, load it and let it predict; tells whether all of it went well."""
    before = len(found.faults)
    tuned = found.attempt(dry, "tune", backend.tune, made, data)
    if tuned is None:
        return False
    found.warnings += [warning for warning in tuned.warnings if warning not in found.warnings]
    if test is not None:
        judge = backend.to_judge(dry, [test], schema)
        found.attempt(dry, "evaluate", backend.scores, made, tuned.twin, judge)
        found.attempt(dry, "evaluate", backend.compare, made, tuned.twin, tuned.twin, judge)
    published = found.attempt(dry, "publish", _published, dry, backend, tuned.twin, data, schema)
    if published is not None and test is not None:
        model, signature = published
        rows = next(dry.samples([test], schema)).select(list(schema.features))
        found.attempt(dry, "predict", backend.predictions, model, rows, signature)
    return len(found.faults) == before


def _fetched(dry: Day, found: DryRun) -> tuple[Package, Schema]:
    with dry.stores.lake.workspace() as folder:
        contract = dry.fixed_contract()
        try:
            brought = ingest.bring_in(dry, contract, folder)
        except BatchRejectedError as refusal:
            accept_command.extend(dry, contract, refusal)
            raise
    found.warnings += brought.warnings
    return brought.package, brought.held.newest


def _samples(dry: Day, backend: Backend, package: Package, schema: Schema) -> tuple[Data, Package | None]:
    """Give some samples to learn from, and some to judge by, if there are any."""
    lake = dry.stores.lake
    train, test = lake.split_package(package, dry.roles(schema, package))
    data = backend.read(dry, [train], schema, share=_share(train))
    if not test.n_rows:
        return data, None
    return data, lake.write_table(dry.package_key("test"), _some(dry, test, schema))


def _some(dry: Day, package: Package, schema: Schema) -> pa.Table:
    import pyarrow as pa

    table = pa.concat_tables(dry.samples([package], schema, share=_share(package)))
    return table if table.num_rows else next(dry.samples([package], schema)).slice(0, MOST_ROWS)


def _share(package: Package) -> float:
    return min(1.0, MOST_ROWS / max(1, package.n_rows))


def _published(dry: Day, backend: Backend, model: Any, data: Data, schema: Schema) -> tuple[Any, dict[str, Any]]:
    """Save a model and load it again, as another program does."""
    trusted = dry.experiment.trusted_types
    signature = with_own_names(backend.signature(model, data, schema), model, dry.code)
    path, digest = dry.stores.models.save(
        dry.experiment.name,
        dry.interval,
        model,
        signature,
        trusted=trusted,
        notes={"description": "a dry run"},
        code=dry.code,
    )
    loaded = dry.stores.models.load(
        path, digest, trusted=trusted, signature=signature, library_versions=library_versions(model), code=dry.code
    )
    return loaded, signature


@contextmanager
def _scratch(day: Day, made: Any) -> Iterator[Day]:
    """Give the day with a lake and models of its own, which are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="diurnal-check-") as folder:
        # executors of Spark reach what is in the lake
        place = f"{day.scratch}/check-{secrets.token_hex(8)}" if backend_of(made).is_distributed else f"{folder}/data"
        lake = Lake(place)
        try:
            yield replace(day, stores=replace(day.stores, lake=lake, models=Models(f"{folder}/models")))
        finally:
            if lake.fs.exists(lake.root):
                lake.fs.rm(lake.root, recursive=True)
