"""A dry run: the steps of a data interval on its real rows, with few candidates, in temporary stores.

It finds the errors of a run: a batch that violates the contract, a fit, a score or a prediction that raises, a model
that cannot be saved or loaded again. The lake, the warehouse and the models are not changed.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from diurnal.backends import get_backend
from diurnal.backends.sample_reader import SampleReader
from diurnal.errors import BatchRejectedError, DiurnalError
from diurnal.pipeline import accept_command, ingest
from diurnal.pipeline.error_context import error_context
from diurnal.storage.lake import Lake
from diurnal.storage.models import Models, add_project_objects, library_versions

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.backends import Backend, SampleData
    from diurnal.data import Schema
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Package

MAX_ROWS = 2_000  # for training, and as many for evaluation


@dataclass
class DryRun:
    """The result of a dry run.

    Attributes
    ----------
    n_rows : int
        Rows of the batch, as they would be stored.
    tried : list of str
        The types of candidates that were fitted, scored, saved, loaded and used for predictions.
    faults : list of DiurnalError
        Errors that a run would raise, each once.
    warnings : list of str
        Unusual but allowed properties of the batch and of the search.
    """

    n_rows: int = 0
    tried: list[str] = field(default_factory=list)
    faults: list[DiurnalError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def attempt(self, context: RunContext, step: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return the result of a function; if it raises, record the error and return None."""
        try:
            with error_context(context, step):
                return function(*args)
        except DiurnalError as fault:
            if str(fault) not in map(str, self.faults):
                self.faults.append(fault)
            return None


def dry_run(context: RunContext) -> DryRun:
    """Try the steps of a data interval; nothing is written to the stores of the context.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval and the stores. Of the warehouse only the contract is read.

    Returns
    -------
    DryRun
    """
    found, search = DryRun(), context.experiment.build()
    backend = get_backend(search)
    with _temporary_stores(context, search) as dry:
        batch = found.attempt(dry, "fetch", _ingest_batch, dry, found)
        if batch is None:
            return found
        package, schema = batch
        found.n_rows = package.n_rows
        data_and_test = found.attempt(dry, "split", _split_batch, dry, backend, package, schema)
        if data_and_test is None:
            return found
        data, test = data_and_test
        if test is None:
            found.warnings.append("no sample is for testing: no score was tried")
        reason = backend.size_problem(search, data) if data.n_rows else "no sample is for training"
        if reason:
            found.warnings.append(f"not enough data yet: {reason}; no candidate was tried")
            return found
        for kind, reduced in backend.trial_searches(search):
            if _try_candidate(found, dry, backend, reduced, data, test, schema):
                found.tried.append(kind)
    return found


def _try_candidate(
    found: DryRun,
    dry: RunContext,
    backend: Backend,
    search: Any,
    data: SampleData,
    test: Package | None,
    schema: Schema,
) -> bool:
    """Fit one candidate, score it, save it, load it and predict with it; return whether all of this succeeded."""
    before = len(found.faults)
    tuned = found.attempt(dry, "tune", backend.tune, search, data)
    if tuned is None:
        return False
    found.warnings += [warning for warning in tuned.warnings if warning not in found.warnings]
    if test is not None:
        evaluation = backend.read_evaluation_data(SampleReader(dry, schema), [test])
        found.attempt(dry, "evaluate", backend.score, search, tuned.twin, evaluation)
        found.attempt(dry, "evaluate", backend.compare, search, tuned.twin, tuned.twin, evaluation)
    published = found.attempt(dry, "publish", _save_and_load, dry, backend, tuned.twin, data, schema)
    if published is not None and test is not None:
        model, signature = published
        rows = next(SampleReader(dry, schema).samples([test])).select(list(schema.features))
        found.attempt(dry, "predict", backend.predict, model, rows, signature)
    return len(found.faults) == before


def _ingest_batch(dry: RunContext, found: DryRun) -> tuple[Package, Schema]:
    with dry.stores.lake.workspace() as folder:
        contract = dry.stored_contract()
        try:
            batch = ingest.ingest_batch(dry, contract, folder)
        except BatchRejectedError as error:
            accept_command.extend_hint(dry, contract, error)
            raise
    found.warnings += batch.warnings
    return batch.package, batch.contract.newest


def _split_batch(
    dry: RunContext, backend: Backend, package: Package, schema: Schema
) -> tuple[SampleData, Package | None]:
    """Return training data, and a package of test samples if there are any."""
    lake = dry.stores.lake
    train, test = lake.split_package(package, SampleReader(dry, schema).roles(package))
    data = backend.read_training_data(SampleReader(dry, schema), [train], fraction=_sample_fraction(train))
    if not test.n_rows:
        return data, None
    return data, lake.write_table(dry.package_key("test"), _first_samples(SampleReader(dry, schema), test))


def _first_samples(reader: SampleReader, package: Package) -> pa.Table:
    import pyarrow as pa

    table = pa.concat_tables(reader.samples([package], fraction=_sample_fraction(package)))
    return table if table.num_rows else next(reader.samples([package])).slice(0, MAX_ROWS)


def _sample_fraction(package: Package) -> float:
    return min(1.0, MAX_ROWS / max(1, package.n_rows))


def _save_and_load(
    dry: RunContext, backend: Backend, model: Any, data: SampleData, schema: Schema
) -> tuple[Any, dict[str, Any]]:
    """Save a model and load it again, as another program does."""
    trusted = dry.experiment.trusted_types
    signature = add_project_objects(backend.signature(model, data, schema), model, dry.code)
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
def _temporary_stores(context: RunContext, search: Any) -> Iterator[RunContext]:
    """Yield a copy of the context with a temporary lake and temporary models."""
    with tempfile.TemporaryDirectory(prefix="diurnal-check-") as folder:
        # executors of Spark reach what is in the lake
        place = (
            f"{context.temp_url}/check-{secrets.token_hex(8)}"
            if get_backend(search).is_distributed
            else f"{folder}/data"
        )
        lake = Lake(place)
        try:
            yield replace(context, stores=replace(context.stores, lake=lake, models=Models(f"{folder}/models")))
        finally:
            if lake.fs.exists(lake.root):
                lake.fs.rm(lake.root, recursive=True)
