"""The steps of a run, in their order.

Each step is a function of the context and of the results of earlier steps. It can be killed at any point and executed
again, even concurrently with itself: files in the lake and the models are named by their content, and writes to the
warehouse are fenced by the epoch of the attempt. Heavy libraries are imported in the functions that use them, so that a
step loads only what it needs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from diurnal.backends.sample_reader import SampleReader
from diurnal.errors import BatchRejectedError, ExperimentError, InvalidModelError, NotEnoughDataError
from diurnal.pipeline import recorded_results, tuning_shards
from diurnal.pipeline.code_guard import require_code_of_run
from diurnal.pipeline.error_context import superseded_context
from diurnal.pipeline.fold_files import FoldFiles
from diurnal.pipeline.tuning_shards import ShardScores
from diurnal.pipeline.twins import load_twin, save_twin
from diurnal.types import (
    Batch,
    Decision,
    Evaluation,
    ModelFile,
    ModelVersion,
    Package,
    Run,
    SearchResult,
    Standing,
    TrainTestSplit,
)
from diurnal.types.evaluation import finite_or_none

if TYPE_CHECKING:
    from diurnal.backends import Backend
    from diurnal.experiment.run_context import RunContext, Window


def fetch(context: RunContext) -> Batch:
    """Fetch the batch of the data interval, validate it against its contract, and store it."""
    from diurnal.pipeline import accept_command, batch_profiles, ingest, quarantine

    started = time.perf_counter()
    name, lake, warehouse = context.experiment.name, context.stores.lake, context.stores.warehouse
    code = context.experiment.code  # read before any code of the user runs, so that a later edit is detected
    epoch = warehouse.claim_interval(name, context.interval, requested_by=context.requested_by)
    warehouse.save_declaration(name, context.experiment.recorded)
    contract = context.stored_contract()
    with lake.workspace() as folder:
        try:  # the rows that an overtaken attempt rejects may have been erased: they are not kept
            with superseded_context(partial(warehouse.check_claim, name, context.interval.start, epoch)):
                batch = ingest.ingest_batch(context, contract, folder)
        except BatchRejectedError as error:
            url = quarantine.quarantine_batch(lake, name, context.interval, folder, error)
            error.quarantine = url
            accept_command.extend_hint(context, contract, error, f"the rejected rows are kept in {url}")
            raise
    package, version = batch.package, ingest.store_contract(context, contract, batch)
    lake.register_warehouse(warehouse.identity)
    warehouse.set_batch(name, context.interval, epoch, package)
    unprofiled = batch_profiles.store_batch_profile(context, batch)
    window, warnings = context.window(package)
    warnings += unprofiled + ingest.size_warnings(context, package)
    code_path = lake.write_bytes(name, "code", code.dumps(), ".json")
    run = _identify_run(context, epoch, package, window, code_path, version)
    row = warehouse.run(run.run_id)
    run = recorded_results.with_recorded_contract(run, row)
    finished = recorded_results.run_is_finished(context, run, row)
    return Batch(run, package, window, (*batch.warnings, *warnings), finished, time.perf_counter() - started)


@require_code_of_run
def save_batch(context: RunContext, batch: Batch) -> int:
    """Copy the batch to the warehouse as a new load behind the view ``batch_data_<experiment>``.

    The live scores of predictions whose truth it has are updated.
    """
    from diurnal.pipeline import live_scores

    schema, lake = context.newest_schema, context.stores.lake  # the view has the columns of the newest version
    columns = lake.schema(batch.package) if schema.has_changed else schema.arrow_schema
    rows, leading = lake.batches(batch.package), {schema.target, *schema.key}
    warehouse = context.stores.warehouse
    load_id = warehouse.load(batch.run, batch.package, columns, rows, leading=leading, contract=schema)
    live_scores.score_after_batch(context, load_id)
    return load_id


@require_code_of_run
def split(context: RunContext, batch: Batch) -> TrainTestSplit:
    """Split the window into train and test packages, by row or by time, and store them."""
    from diurnal.pipeline import window_split

    started = time.perf_counter()
    train, test = window_split.split_window(context, batch.window, context.schema_of(batch.run))
    if not train:
        raise tuning_shards.empty_split_error(context, "train")
    return TrainTestSplit(
        run=batch.run,
        window=batch.window,
        train=train,
        test=test,
        warnings=batch.warnings,
        seconds={"fetch": batch.seconds, "split": time.perf_counter() - started},
        finished=batch.finished,
    )


@require_code_of_run
def tune(context: RunContext, samples: TrainTestSplit, parts: tuple[ShardScores, ...] = ()) -> SearchResult:
    """Search over the candidates by cross-validation on train samples; the best one, fitted on them, is the twin.

    With `parts`, the scores of all shards, only the ranking and the fit of the best candidate are left to do. A run of
    the same data and code as an earlier one has its search.
    """
    from diurnal.runtime.fit_environment import describe_environment, digest_of_packages
    from diurnal.storage import models

    started = time.perf_counter()
    if (recorded := recorded_results.recorded_search(context, samples)) is not None:
        return recorded
    if (equal := recorded_results.equal_search(context, samples)) is not None:
        seconds = {**samples.seconds, "tune": time.perf_counter() - started}
        return replace(equal, warnings=(*samples.warnings, *equal.fit_warnings), seconds=seconds)
    backend, search, data = tuning_shards.load_training_data(context, samples)
    scored = tuning_shards.load_shard_scores(context, parts) if parts else None
    folds = FoldFiles(context, samples.run, {**models.library_versions(search), "installed": digest_of_packages()})
    with _rare_classes_need_more_data(context, samples, backend, search, data):
        tuned = backend.tune(search, data, progress=context.progress, parts=scored, fold_store=folds)
    path, digest = save_twin(context, tuned.twin)
    fit_warnings = (
        *backend.check_metadata(search, context.experiment.metadata),
        *(w for part in parts for w in part.warnings),
        *tuned.warnings,
    )
    table = None
    if tuned.table is not None:
        table = context.stores.lake.write_table(context.package_key("candidates"), tuned.table)
    folds.delete()
    return SearchResult(
        run=samples.run,
        window=samples.window,
        best_params=tuned.best_params,
        cv_score_mean=tuned.mean,
        cv_score_std=tuned.std,
        n_candidates=tuned.n_candidates,
        cv_folds=tuned.n_folds,
        scoring=backend.score_name(search),
        n_train=data.n_rows,
        candidates=None if table is None else table.path,
        twin=path,
        twin_digest=digest,
        library_versions=models.library_versions(search),
        warnings=(*samples.warnings, *backend.unseeded_warnings(search), *fit_warnings, *folds.warnings),
        fit_warnings=fit_warnings,
        seconds={**samples.seconds, "tune": time.perf_counter() - started},
        own_code=tuple(models.find_project_objects(tuned.twin, context.code)),
        environment=describe_environment(),
    )


@contextmanager
def _rare_classes_need_more_data(
    context: RunContext, samples: TrainTestSplit, backend: Backend, search: Any, data: Any
) -> Iterator[None]:
    """Translate the failure of a search where a fold has no sample of a class: more samples of the class solve it."""
    try:
        yield
    except ExperimentError as error:
        is_classification = context.schema_of(samples.run).task == "classification"
        if is_classification and (reason := backend.rare_class_problem(search, data)):
            raise NotEnoughDataError(f"{reason} ({error.message})", hint=tuning_shards.MORE_DATA_HINT) from error
        raise


@require_code_of_run
def evaluate(context: RunContext, samples: TrainTestSplit, search: SearchResult) -> Evaluation:
    """Score the twin on test samples, and compare it with the champion on those of the new batch."""
    from diurnal.backends import get_backend
    from diurnal.pipeline import batch_drift, evaluation_files
    from diurnal.promotion.champion_comparison import compare_challenger, compare_with_champion

    started = time.perf_counter()
    if (recorded := recorded_results.recorded_evaluation(context, search)) is not None:
        return recorded
    schema, estimator = context.schema_of(samples.run), context.experiment.build()
    backend = get_backend(estimator)
    data = backend.read_evaluation_data(SampleReader(context, schema), samples.test)
    if not data.n_rows:
        raise tuning_shards.empty_split_error(context, "test")
    twin = load_twin(context, search)
    scores = {name: finite_or_none(score) for name, score in backend.score(estimator, twin, data).items()}
    outcome = compare_with_champion(context, samples, twin, schema)
    match, unmatched = None, None
    if context.experiment.promotion == "proven":
        match, unmatched = compare_challenger(context, samples, schema, outcome)
    budget = evaluation_files.IMPORTANCE_SECONDS + evaluation_files.IMPORTANCE_SHARE * sum(search.seconds.values())
    files = evaluation_files.write_evaluation(context, estimator, twin, data, outcome.compared, seconds=budget)
    drift, drift_warnings = batch_drift.measure_drift(context, samples.run, outcome, schema, files.models)
    main = scores[backend.score_name(estimator)]
    undefined = f"{backend.score_name(estimator)} is undefined on {data.n_rows} test samples: there is no test score"
    return Evaluation(
        run=samples.run,
        test_score=main,
        test_scores=scores,
        n_test=data.n_rows,
        champion_version=outcome.champion_version,
        comparison=outcome.comparison,
        uncompared=outcome.uncompared,
        match=match,
        unmatched=unmatched,
        drift=drift,
        curves=files.curves,
        sample=files.sample,
        warnings=(
            *search.warnings,
            *outcome.warnings,
            *([undefined] if main is None else []),
            *drift_warnings,
            *files.warnings,
        ),
        seconds={**search.seconds, "evaluate": time.perf_counter() - started},
    )


@require_code_of_run
def record(context: RunContext, search: SearchResult, evaluation: Evaluation) -> Run:
    """Store the best parameters, the training conditions and the scores: one row of `experiments`."""
    comparison = evaluation.comparison
    row = {
        "packages": [
            {
                "data_interval_start": interval.start.isoformat(),
                "data_interval_end": interval.end.isoformat(),
                **asdict(package),
            }
            for interval, package in search.window
        ],
        "library_versions": dict(search.library_versions),
        "target": context.experiment.target,
        "test_size": _test_size(context, search, evaluation),
        "window": str(context.experiment.window),
        "n_train": search.n_train,
        "n_test": evaluation.n_test,
        "cv_folds": search.cv_folds,
        "n_candidates": search.n_candidates,
        "scoring": search.scoring,
        "best_params": dict(search.best_params),
        "cv_score_mean": search.cv_score_mean,
        "cv_score_std": search.cv_score_std,
        "test_score": evaluation.test_score,
        "test_scores": dict(evaluation.test_scores),
        "champion_version": evaluation.champion_version,
        "champion_score": comparison.champion_score if comparison else None,
        "comparison": asdict(comparison) if comparison else None,
        "candidates": search.candidates,
        "durations": {step: round(seconds, 4) for step, seconds in evaluation.seconds.items()},
        "warnings": list(evaluation.warnings),
        "environment": dict(search.environment),
        "twin": {
            "path": search.twin,
            "digest": search.twin_digest,
            "own_code": list(search.own_code),
            "fit_warnings": list(search.fit_warnings),
            "tuned_by": search.tuned_by,
        },
        "uncompared": evaluation.uncompared,
        "evaluation": evaluation.curves,
        "evaluation_sample": evaluation.sample,
        "challenge": recorded_results.challenge_for_row(evaluation),
        "drift": None if evaluation.drift is None else dict(evaluation.drift),
    }
    context.stores.warehouse.record_run(search.run, row)
    return search.run


@require_code_of_run
def refit(context: RunContext, samples: TrainTestSplit, search: SearchResult) -> ModelFile:
    """Fit the best candidate on all rows of the window, and save it; it is visible once it is published."""
    from diurnal.backends import get_backend
    from diurnal.runtime.fit_environment import describe_environment
    from diurnal.storage.models import add_project_objects, library_versions

    if (recorded := recorded_results.recorded_model(context, samples.run)) is not None:
        return recorded
    schema, estimator = context.schema_of(samples.run), context.experiment.build()
    backend = get_backend(estimator)
    packages = [package for _, package in samples.window]
    data = backend.read_training_data(
        SampleReader(context, schema), packages, fraction=context.sampling_fraction(packages)
    )
    fitted = backend.refit(estimator, lambda: load_twin(context, search), search.best_params, data)
    signature = add_project_objects(backend.signature(fitted, data, schema), fitted, context.code)
    path, digest = context.stores.models.save(
        context.experiment.name,
        context.interval,
        fitted,
        signature,
        trusted=context.experiment.trusted_types,
        code=context.code,
        notes={"run_id": samples.run.run_id, "description": context.experiment.description, "n_samples": data.n_rows},
    )
    return ModelFile(samples.run, path, digest, signature, library_versions(estimator), describe_environment())


@require_code_of_run
def publish(context: RunContext, run: Run, model: ModelFile) -> ModelVersion:
    """Publish the saved model as the next version."""
    version = context.stores.warehouse.publish(run, model, trusted=list(context.experiment.trusted_types))
    if version.digest != model.digest and context.stores.models.digest_of(version.path) is None:
        raise InvalidModelError(
            f"the file of version {version.version} is missing, and the repeated fit gives another model "
            f"(digest {model.digest[:12]} in place of {version.digest[:12]})",
            hint="restore the file from a backup, or publish a new version by diurnal run --force",
        )
    return replace(version, interval=run.interval)


@require_code_of_run
def promote(context: RunContext, version: ModelVersion, evaluation: Evaluation) -> Decision:
    """Make the version, or with `proven` the challenger, the champion if the promotion policy allows it.

    Afterwards, the run is copied to MLflow, if there is one.
    """
    from diurnal.mlflow import mirror_quietly
    from diurnal.promotion import decision

    row = context.stores.warehouse.run(evaluation.run.run_id)
    if row is not None:  # a repeated fit changes nothing once its result is recorded
        evaluation = recorded_results.evaluation_from_row(evaluation.run, row)

    def decide(standing: Standing) -> Decision:
        return decision.decide_promotion(
            context.experiment.promotion, evaluation=evaluation, interval=version.interval, standing=standing
        )

    comparison = evaluation.comparison
    evidence = {
        "policy": context.experiment.promotion,
        "test_score": evaluation.test_score,
        "champion_version": evaluation.champion_version,
        "comparison": asdict(comparison) if comparison else None,
        "uncompared": evaluation.uncompared,
        "match": asdict(evaluation.match) if evaluation.match else None,
    }
    made = context.stores.warehouse.promote(
        evaluation.run, version, decide, requested_by=context.requested_by, evidence=evidence
    )
    mirror_quietly(context.stores, context.experiment.name)
    return made


def _test_size(context: RunContext, search: SearchResult, evaluation: Evaluation) -> float:
    """Return the declared fraction of test samples; with a split by time, the actual one."""
    if context.experiment.split == "hash":
        return context.experiment.test_size
    return evaluation.n_test / (search.n_train + evaluation.n_test)


def _identify_run(
    context: RunContext, epoch: int, package: Package, window: Window, code_path: str, contract: int
) -> Run:
    """Return the run whose id is computed from the experiment, the interval, the data, the code and the repeat."""
    name, code = context.experiment.name, context.experiment.code_digest
    digests = [f"{interval.key}:{p.digest}" for interval, p in window]
    window_digest = package.digest if len(window) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    repeat = (
        context.stores.warehouse.count_finished_runs(name, context.interval, window_digest, code)
        if context.force
        else 0
    )
    end = context.interval.end.isoformat()
    identity = hashlib.sha256(f"{end}\n{window_digest}\n{code}\n{repeat}".encode()).hexdigest()[:12]
    run_id = f"{name}-{context.interval.key}-{identity}"
    return Run(run_id, name, context.interval, epoch, package.digest, window_digest, code, repeat, code_path, contract)
