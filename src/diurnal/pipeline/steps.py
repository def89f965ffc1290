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

from diurnal.errors import BatchRejectedError, ExperimentError, InvalidModelError, NotEnoughDataError
from diurnal.pipeline import recorded_results, tuning_shards
from diurnal.pipeline.code_guard import with_code_of_run
from diurnal.pipeline.tuning_shards import Part
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
    from diurnal.pipeline.context import Day, Window


def fetch(day: Day) -> Batch:
    """Fetch the interval's batch, check it against its contract, and keep it; the pointer moves to it."""
    from diurnal.pipeline import accept_command, ingest, quarantine

    started = time.perf_counter()
    name, lake, warehouse = day.experiment.name, day.stores.lake, day.stores.warehouse
    code = day.experiment.code  # before anything of the user's runs, so that no later change of it goes unseen
    epoch = warehouse.claim_interval(name, day.interval, requested_by=day.by)
    contract = day.fixed_contract()
    with lake.workspace() as folder:
        try:
            brought = ingest.bring_in(day, contract, folder)
        except BatchRejectedError as refusal:
            where = quarantine.keep(lake, name, day.interval, folder, refusal)
            accept_command.extend(day, contract, refusal, f"what came is kept in {where}")
            raise
    package, version = brought.package, ingest.fix(day, contract, brought)
    lake.register_warehouse(warehouse.identity)
    warehouse.set_batch(name, day.interval, epoch, package)
    window, lacking = day.window(package)
    lacking += ingest.unusual(day, package)
    kept = lake.write_bytes(name, "code", code.dumps(), ".json")
    run = _run(day, epoch, package, window, kept, version)
    row = warehouse.run(run.run_id)
    run, finished = recorded_results.as_begun(run, row), recorded_results.is_finished(day, run, row)
    return Batch(run, package, window, (*brought.warnings, *lacking), finished, time.perf_counter() - started)


@with_code_of_run
def save_batch(day: Day, batch: Batch) -> int:
    """Copy the batch to the warehouse, as a load of its own behind the view ``batch_data_<experiment>``."""
    schema, lake = day.schema, day.stores.lake  # the newest: the view follows no older version
    columns = lake.schema(batch.package) if schema.has_changed else schema.arrow
    rows, leading = lake.batches(batch.package), {schema.target, *schema.key}
    return day.stores.warehouse.load(batch.run, batch.package, columns, rows, leading=leading, contract=schema)


@with_code_of_run
def split(day: Day, batch: Batch) -> TrainTestSplit:
    """Give train and test samples: each batch of the window cut in two and kept, or the newest one for testing."""
    from diurnal.pipeline import window_split

    started = time.perf_counter()
    train, test = window_split.cut(day, batch.window, day.schema_of(batch.run))
    if not train:
        raise tuning_shards.no_samples(day, "train")
    return TrainTestSplit(
        run=batch.run,
        window=batch.window,
        train=train,
        test=test,
        warnings=batch.warnings,
        seconds={"fetch": batch.seconds, "split": time.perf_counter() - started},
        finished=batch.finished,
    )


@with_code_of_run
def tune(day: Day, samples: TrainTestSplit, parts: tuple[Part, ...] = ()) -> SearchResult:
    """Search over the candidates by cross-validation on train samples; the best one, fitted on them, is the twin.

    With `parts`, the scores of all shards, only what remains is done: the ranking and the fit of the best one.
    """
    from diurnal.runtime.environment import environment
    from diurnal.storage import models

    started = time.perf_counter()
    if (earlier := recorded_results.search_result(day, samples)) is not None:
        return earlier
    lake = day.stores.lake
    backend, search, data = tuning_shards.to_tune(day, samples)
    scored = tuning_shards.read(day, parts) if parts else None
    try:
        tuned = backend.tune(search, data, progress=day.progress, parts=scored)
    except ExperimentError as error:
        # a fold without a class is what scikit-learn fails on; with more samples of it, it will not
        if day.schema_of(samples.run).task == "classification" and (lacking := backend.scarce(search, data)):
            raise NotEnoughDataError(f"{lacking} ({error.message})", hint=tuning_shards.WIDER) from error
        raise
    twin, _ = models.dump_and_read_back(tuned.twin, day.experiment.trusted_types, code=day.code, scratch=day.scratch)
    digest = hashlib.sha256(twin).hexdigest()
    name, key = day.experiment.name, day.interval.key
    path = lake.write_immutable(f"{name}/twins/{key}/{digest}.{models.form_of(tuned.twin)}", twin)
    table = None if tuned.table is None else lake.write_table(day.package_key("candidates"), tuned.table)
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
            *backend.check_metadata(search, day.experiment.metadata),
            *(w for part in parts for w in part.warnings),
            *tuned.warnings,
        ),
        seconds={**samples.seconds, "tune": time.perf_counter() - started},
        own_code=tuple(models.own_names(tuned.twin, day.code)),
        environment=environment(),
    )


@with_code_of_run
def evaluate(day: Day, samples: TrainTestSplit, search: SearchResult) -> Evaluation:
    """Score the twin on test samples, and compare it with the champion on those of the new batch."""
    from diurnal.backends import backend_of
    from diurnal.pipeline import champion_comparison

    started = time.perf_counter()
    if (earlier := recorded_results.evaluation(day, search)) is not None:
        return earlier
    schema, made = day.schema_of(samples.run), day.experiment.build()
    backend = backend_of(made)
    data = backend.to_judge(day, samples.test, schema)
    if not data.n_rows:
        raise tuning_shards.no_samples(day, "test")
    twin = day.twin(search)
    scores = {name: finite_or_none(score) for name, score in backend.scores(made, twin, data).items()}
    version, comparison, uncompared, lacking = champion_comparison.against_champion(day, samples, twin, schema)
    main = scores[backend.score_name(made)]
    if main is None:
        lacking.append(f"{backend.score_name(made)} is undefined on {data.n_rows} test samples: there is no test score")
    return Evaluation(
        run=samples.run,
        test_score=main,
        test_scores=scores,
        n_test=data.n_rows,
        champion_version=version,
        comparison=comparison,
        uncompared=uncompared,
        warnings=(*search.warnings, *lacking),
        seconds={**search.seconds, "evaluate": time.perf_counter() - started},
    )


@with_code_of_run
def record(day: Day, search: SearchResult, evaluation: Evaluation) -> Run:
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
        "target": day.experiment.target,
        "test_size": _test_size(day, search, evaluation),
        "window": str(day.experiment.window),
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
    day.stores.warehouse.record_run(search.run, row)
    return search.run


@with_code_of_run
def refit(day: Day, samples: TrainTestSplit, search: SearchResult) -> ModelFile:
    """Fit the winner on all rows of the window, and save it; nobody sees it before it is published."""
    from diurnal.backends import backend_of
    from diurnal.runtime.environment import environment
    from diurnal.storage.models import library_versions, with_own_names

    if (earlier := recorded_results.model_file(day, samples.run)) is not None:
        return earlier
    schema, made = day.schema_of(samples.run), day.experiment.build()
    backend = backend_of(made)
    packages = [package for _, package in samples.window]
    data = backend.read(day, packages, schema, share=day.share(packages))
    fitted = backend.refit(made, lambda: day.twin(search), search.best_params, data)
    signature = with_own_names(backend.signature(fitted, data, schema), fitted, day.code)
    path, digest = day.stores.models.save(
        day.experiment.name,
        day.interval,
        fitted,
        signature,
        trusted=day.experiment.trusted_types,
        code=day.code,
        notes={"run_id": samples.run.run_id, "description": day.experiment.description, "n_samples": data.n_rows},
    )
    return ModelFile(samples.run, path, digest, signature, library_versions(made), environment())


@with_code_of_run
def publish(day: Day, run: Run, model: ModelFile) -> ModelVersion:
    """Give the saved model the next number."""
    version = day.stores.warehouse.publish(run, model, trusted=list(day.experiment.trusted_types))
    if version.digest != model.digest and day.stores.models.digest_of(version.path) is None:
        raise InvalidModelError(
            f"the file of version {version.version} is lost, and what was fitted again is another model "
            f"(its digest is {model.digest[:12]} and was {version.digest[:12]})",
            hint="restore it from a backup, or make a new version: diurnal run with --force",
        )
    return replace(version, interval=run.interval)


@with_code_of_run
def promote(day: Day, version: ModelVersion, evaluation: Evaluation) -> Decision:
    """Make the version the champion, if the experiment's policy finds the evidence good enough."""
    from diurnal.pipeline import promotion

    row = day.stores.warehouse.run(evaluation.run.run_id)
    if row is not None:  # a fit that was repeated changes nothing once its result is recorded
        evaluation = recorded_results.evaluation_of(evaluation.run, row)

    def decide(champion: ModelVersion | None) -> Decision:
        return promotion.decide(
            day.experiment.promotion, evaluation=evaluation, interval=version.interval, champion=champion
        )

    comparison = evaluation.comparison
    evidence = {
        "policy": day.experiment.promotion,
        "test_score": evaluation.test_score,
        "champion_version": evaluation.champion_version,
        "comparison": asdict(comparison) if comparison else None,
        "uncompared": evaluation.uncompared,
    }
    return day.stores.warehouse.promote(evaluation.run, version, decide, requested_by=day.by, evidence=evidence)


def _test_size(day: Day, search: SearchResult, evaluation: Evaluation) -> float:
    """Give the share of test samples: as declared, or as it came out where the newest data interval is the test."""
    if day.experiment.split == "hash":
        return day.experiment.test_size
    return evaluation.n_test / (search.n_train + evaluation.n_test)


def _run(day: Day, epoch: int, package: Package, window: Window, kept: str, contract: int) -> Run:
    name, code = day.experiment.name, day.experiment.code_digest
    digests = [f"{interval.key}:{p.digest}" for interval, p in window]
    all_of_it = package.digest if len(window) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    repeat = day.stores.warehouse.count_finished_runs(name, day.interval, all_of_it, code) if day.force else 0
    end = day.interval.end.isoformat()
    identity = hashlib.sha256(f"{end}\n{all_of_it}\n{code}\n{repeat}".encode()).hexdigest()[:12]
    run_id = f"{name}-{day.interval.key}-{identity}"
    return Run(run_id, name, day.interval, epoch, package.digest, all_of_it, code, repeat, kept, contract)
