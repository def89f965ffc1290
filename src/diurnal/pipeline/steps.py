"""The verbs of a day, in the order of the day.

Each step is a function of the day and of what earlier steps gave. It may be killed anywhere and run again, also
beside itself: what it writes into the lake and the models is named by its content, and what it writes into the
warehouse is fenced by the attempt's epoch. Heavy libraries are imported where they are used, so that a step loads
only what it needs.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from diurnal.backends.sample_reader import SampleReader
from diurnal.errors import BatchRejectedError, ExperimentError, InvalidModelError, NotEnoughDataError
from diurnal.pipeline import recorded_results, tuning_shards
from diurnal.pipeline.code_guard import require_code_of_run
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
    TrainTestSplit,
)
from diurnal.types.results import finite_or_none

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext, Window


def fetch(context: RunContext) -> Batch:
    """Fetch the interval's batch, check it against its contract, and keep it; the pointer moves to it."""
    from diurnal.pipeline import accept_command, ingest, quarantine

    started = time.perf_counter()
    name, lake, warehouse = context.experiment.name, context.stores.lake, context.stores.warehouse
    code = context.experiment.code  # before anything of the user's runs, so that no later change of it goes unseen
    epoch = warehouse.claim_interval(name, context.interval, requested_by=context.requested_by)
    contract = context.stored_contract()
    with lake.workspace() as folder:
        try:
            brought = ingest.ingest_batch(context, contract, folder)
        except BatchRejectedError as refusal:
            where = quarantine.quarantine_batch(lake, name, context.interval, folder, refusal)
            accept_command.extend_hint(context, contract, refusal, f"what came is kept in {where}")
            raise
    package, version = brought.package, ingest.store_contract(context, contract, brought)
    lake.register_warehouse(warehouse.identity)
    warehouse.set_batch(name, context.interval, epoch, package)
    window, lacking = context.window(package)
    lacking += ingest.size_warnings(context, package)
    kept = lake.write_bytes(name, "code", code.dumps(), ".json")
    run = _run(context, epoch, package, window, kept, version)
    row = warehouse.run(run.run_id)
    run, finished = (
        recorded_results.with_recorded_contract(run, row),
        recorded_results.run_is_finished(context, run, row),
    )
    return Batch(run, package, window, (*brought.warnings, *lacking), finished, time.perf_counter() - started)


@require_code_of_run
def save_batch(context: RunContext, batch: Batch) -> int:
    """Copy the batch to the warehouse, as a load of its own behind the view ``batch_data_<experiment>``."""
    schema, lake = context.newest_schema, context.stores.lake  # the view has the columns of the newest version
    columns = lake.schema(batch.package) if schema.has_changed else schema.arrow
    rows, leading = lake.batches(batch.package), {schema.target, *schema.key}
    return context.stores.warehouse.load(batch.run, batch.package, columns, rows, leading=leading, contract=schema)


@require_code_of_run
def split(context: RunContext, batch: Batch) -> TrainTestSplit:
    """Give train and test samples: each batch of the window cut in two and kept, or the newest one for testing."""
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

    With `parts`, the scores of all shards, only what remains is done: the ranking and the fit of the best one.
    """
    from diurnal.runtime.environment import describe_environment
    from diurnal.storage import models

    started = time.perf_counter()
    if (earlier := recorded_results.recorded_search(context, samples)) is not None:
        return earlier
    backend, search, data = tuning_shards.load_training_data(context, samples)
    scored = tuning_shards.load_shard_scores(context, parts) if parts else None
    try:
        tuned = backend.tune(search, data, progress=context.progress, parts=scored)
    except ExperimentError as error:
        # a fold without a class is what scikit-learn fails on; with more samples of it, it will not
        if context.schema_of(samples.run).task == "classification" and (lacking := backend.scarce(search, data)):
            raise NotEnoughDataError(f"{lacking} ({error.message})", hint=tuning_shards.MORE_DATA_HINT) from error
        raise
    path, digest = save_twin(context, tuned.twin)
    table = None
    if tuned.table is not None:
        table = context.stores.lake.write_table(context.package_key("candidates"), tuned.table)
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
        warnings=(
            *samples.warnings,
            *backend.unseeded(search),
            *backend.check_metadata(search, context.experiment.metadata),
            *(w for part in parts for w in part.warnings),
            *tuned.warnings,
        ),
        seconds={**samples.seconds, "tune": time.perf_counter() - started},
        own_code=tuple(models.own_names(tuned.twin, context.code)),
        environment=describe_environment(),
    )


@require_code_of_run
def evaluate(context: RunContext, samples: TrainTestSplit, search: SearchResult) -> Evaluation:
    """Score the twin on test samples, and compare it with the champion on those of the new batch."""
    from diurnal.backends import backend_of
    from diurnal.pipeline.champion_comparison import compare_with_champion

    started = time.perf_counter()
    if (earlier := recorded_results.recorded_evaluation(context, search)) is not None:
        return earlier
    schema, made = context.schema_of(samples.run), context.experiment.build()
    backend = backend_of(made)
    data = backend.to_judge(SampleReader(context, schema), samples.test)
    if not data.n_rows:
        raise tuning_shards.empty_split_error(context, "test")
    twin = load_twin(context, search)
    scores = {name: finite_or_none(score) for name, score in backend.scores(made, twin, data).items()}
    outcome = compare_with_champion(context, samples, twin, schema)
    main = scores[backend.score_name(made)]
    undefined = f"{backend.score_name(made)} is undefined on {data.n_rows} test samples: there is no test score"
    return Evaluation(
        run=samples.run,
        test_score=main,
        test_scores=scores,
        n_test=data.n_rows,
        champion_version=outcome.champion_version,
        comparison=outcome.comparison,
        uncompared=outcome.uncompared,
        warnings=(*search.warnings, *outcome.warnings, *([undefined] if main is None else [])),
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
        "twin": {"path": search.twin, "digest": search.twin_digest, "own_code": list(search.own_code)},
        "uncompared": evaluation.uncompared,
    }
    context.stores.warehouse.record_run(search.run, row)
    return search.run


@require_code_of_run
def refit(context: RunContext, samples: TrainTestSplit, search: SearchResult) -> ModelFile:
    """Fit the winner on all rows of the window, and save it; nobody sees it before it is published."""
    from diurnal.backends import backend_of
    from diurnal.runtime.environment import describe_environment
    from diurnal.storage.models import library_versions, with_own_names

    if (earlier := recorded_results.recorded_model(context, samples.run)) is not None:
        return earlier
    schema, made = context.schema_of(samples.run), context.experiment.build()
    backend = backend_of(made)
    packages = [package for _, package in samples.window]
    data = backend.read(SampleReader(context, schema), packages, fraction=context.sampling_fraction(packages))
    fitted = backend.refit(made, lambda: load_twin(context, search), search.best_params, data)
    signature = with_own_names(backend.signature(fitted, data, schema), fitted, context.code)
    path, digest = context.stores.models.save(
        context.experiment.name,
        context.interval,
        fitted,
        signature,
        trusted=context.experiment.trusted_types,
        code=context.code,
        notes={"run_id": samples.run.run_id, "description": context.experiment.description, "n_samples": data.n_rows},
    )
    return ModelFile(samples.run, path, digest, signature, library_versions(made), describe_environment())


@require_code_of_run
def publish(context: RunContext, run: Run, model: ModelFile) -> ModelVersion:
    """Give the saved model the next number."""
    version = context.stores.warehouse.publish(run, model, trusted=list(context.experiment.trusted_types))
    if version.digest != model.digest and context.stores.models.digest_of(version.path) is None:
        raise InvalidModelError(
            f"the file of version {version.version} is lost, and what was fitted again is another model "
            f"(its digest is {model.digest[:12]} and was {version.digest[:12]})",
            hint="restore it from a backup, or make a new version: diurnal run with --force",
        )
    return replace(version, interval=run.interval)


@require_code_of_run
def promote(context: RunContext, version: ModelVersion, evaluation: Evaluation) -> Decision:
    """Make the version the champion, if the experiment's policy finds the evidence good enough."""
    from diurnal.pipeline import promotion

    row = context.stores.warehouse.run(evaluation.run.run_id)
    if row is not None:  # a fit that was repeated changes nothing once its result is recorded
        evaluation = recorded_results.evaluation_from_row(evaluation.run, row)

    def decide(champion: ModelVersion | None) -> Decision:
        return promotion.decide_promotion(
            context.experiment.promotion, evaluation=evaluation, interval=version.interval, champion=champion
        )

    comparison = evaluation.comparison
    evidence = {
        "policy": context.experiment.promotion,
        "test_score": evaluation.test_score,
        "champion_version": evaluation.champion_version,
        "comparison": asdict(comparison) if comparison else None,
        "uncompared": evaluation.uncompared,
    }
    return context.stores.warehouse.promote(
        evaluation.run, version, decide, requested_by=context.requested_by, evidence=evidence
    )


def _test_size(context: RunContext, search: SearchResult, evaluation: Evaluation) -> float:
    """Give the share of test samples: as declared, or as it came out where the newest data interval is the test."""
    if context.experiment.split == "hash":
        return context.experiment.test_size
    return evaluation.n_test / (search.n_train + evaluation.n_test)


def _run(context: RunContext, epoch: int, package: Package, window: Window, kept: str, contract: int) -> Run:
    name, code = context.experiment.name, context.experiment.code_digest
    digests = [f"{interval.key}:{p.digest}" for interval, p in window]
    all_of_it = package.digest if len(window) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    repeat = (
        context.stores.warehouse.count_finished_runs(name, context.interval, all_of_it, code) if context.force else 0
    )
    end = context.interval.end.isoformat()
    identity = hashlib.sha256(f"{end}\n{all_of_it}\n{code}\n{repeat}".encode()).hexdigest()[:12]
    run_id = f"{name}-{context.interval.key}-{identity}"
    return Run(run_id, name, context.interval, epoch, package.digest, all_of_it, code, repeat, kept, contract)
