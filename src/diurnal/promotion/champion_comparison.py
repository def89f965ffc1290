"""Comparison of the twin and of a challenger with the champion, on test samples that neither of two was trained on.

The twin is trained on train samples only. The champion was trained on all rows of its own window, so that it may know a
row that comes again (of a source that returns the same rows every day, for example): such rows are left out. Where
content does not identify a row, the champion knows a batch as a whole: if it was trained on the same package, or on
another one of the same data interval. Where rows have groups, a row is known if its group is: the twin was trained on
no row of a test group, and the champion may have been trained on many.

If no row is left, there is no comparison and the reason is recorded. A score on known rows would favor the champion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from diurnal.backends import get_backend
from diurnal.backends.sample_reader import SampleReader
from diurnal.data.fitted_columns import FittedColumns
from diurnal.errors import ConfigurationError, InvalidModelError, PermissionDeniedError, TransientError
from diurnal.types import Comparison, Match, NoComparisonReason, Package, TrainTestSplit
from diurnal.types.evaluation import finite_or_none

if TYPE_CHECKING:
    from diurnal.backends import SampleData
    from diurnal.data import Schema
    from diurnal.experiment.run_context import RunContext


@dataclass(frozen=True)
class ComparedModels:
    """Two models, and samples that are new to both.

    Attributes
    ----------
    twin, champion : estimator
        Fitted.
    data : SampleData
        The samples.
    """

    twin: Any
    champion: Any
    data: SampleData


@dataclass(frozen=True)
class ComparisonOutcome:
    """The comparison of a run's twin with the champion, or the reason why there is none.

    Attributes
    ----------
    champion_version : int or None
        Version of the champion; None if there is no champion.
    comparison : Comparison or None
        None where nothing could be compared.
    uncompared : str or None
        The reason, as in :attr:`Evaluation.uncompared`.
    warnings : tuple of str
        The reason as a sentence.
    compared : ComparedModels or None
        Both models and the samples that they were compared on.
    """

    champion_version: int | None = None
    comparison: Comparison | None = None
    uncompared: NoComparisonReason | None = None
    warnings: tuple[str, ...] = ()
    compared: ComparedModels | None = None


def compare_with_champion(  # noqa: PLR0911 - one for each reason
    context: RunContext, samples: TrainTestSplit, twin: Any, schema: Schema
) -> ComparisonOutcome:
    """Compare the twin with the champion.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    samples : TrainTestSplit
        Those of the run; those of the new batch come last.
    twin : estimator
        The twin of the run.
    schema : Schema
        The version of the contract that the run reads rows through.
    """
    champion = context.stores.warehouse.champion(context.experiment.name)
    if champion is None:
        return ComparisonOutcome()
    number, test = champion.version, samples.test[-1]
    if not test.n_rows:
        message = f"not compared: the batch has no test samples (champion {number})"
        return ComparisonOutcome(number, None, "no-evidence", (message,))
    row = context.stores.warehouse.version(champion.experiment, number)
    fitted_on = FittedColumns.from_signature(row["signature"], schema)
    try:
        model = _load_model(context, row)
    except (ConfigurationError, InvalidModelError) as error:
        message = f"champion {number} cannot be loaded: {error.message}"
        return ComparisonOutcome(number, None, "unusable", (message,))
    if fitted_on.incompatibility:
        message = f"champion {number} cannot score this batch: {fitted_on.incompatibility}"
        return ComparisonOutcome(number, None, "other-contract", (message,))
    try:
        unseen = _unseen_by(context, [champion.run_id], samples, twin, fitted_on.with_features(schema))
        if unseen is None or not unseen.n_rows:
            message = f"not compared: champion {number} was trained on all {test.n_rows} test samples of this batch"
            return ComparisonOutcome(number, None, "nothing-new", (message,))
        model, twin = (
            _adapt_columns(model, fitted_on, unseen),
            _adapt_columns(twin, FittedColumns.from_schema(schema), unseen),
        )
        return _compare_models(context, number, model, twin, unseen)
    except (TransientError, PermissionDeniedError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a champion may fail with anything on rows that it does not know
        return _failed_comparison(number, error, row["signature"].get("classes"), schema)


def _failed_comparison(
    number: int, error: Exception, classes: Sequence[Any] | None, schema: Schema
) -> ComparisonOutcome:
    """Return why the champion cannot be scored: it does not know a label, or it fails for another reason."""
    first_line = _first_line(error)
    unknown = [label for label in schema.classes or () if classes is not None and label not in classes]
    if not unknown:
        message = f"champion {number} cannot be scored: {first_line}"
        return ComparisonOutcome(number, None, "no-evidence", (message,))
    labels = ", ".join(map(ascii, unknown))
    message = f"champion {number} cannot score this batch: it does not know the label {labels} ({first_line})"
    return ComparisonOutcome(number, None, "other-contract", (message,))


def compare_challenger(
    context: RunContext, samples: TrainTestSplit, schema: Schema, outcome: ComparisonOutcome
) -> tuple[Match | None, str | None]:
    """Score the challenger and the champion, two published versions, on the test samples of the new batch.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    samples : TrainTestSplit
        Those of the run; those of the new batch come last.
    schema : Schema
        The version of the contract that the run reads rows through.
    outcome : ComparisonOutcome
        Of the comparison of the twin with the champion.

    Returns
    -------
    Match or None
        None where nothing could be scored. The match of a challenger that cannot be used contains the reason.
    str or None
        The reason why there is no match; None also where there is no champion.
    """
    number = outcome.champion_version
    if number is None:
        return None, None
    if outcome.uncompared in ("unusable", "other-contract", "no-evidence"):
        return None, f"the champion (version {number}) could not be scored: see the warnings"
    challenger = context.stores.warehouse.challenger(context.experiment.name, context.interval)
    if challenger is None:
        reason = f"there is no challenger to the champion (version {number}) yet"
        return None, f"{reason}; the newest version challenges it on the next data interval"
    no_match = Match(challenger.version, number)
    rows = [context.stores.warehouse.version(context.experiment.name, one) for one in (challenger.version, number)]
    columns = [FittedColumns.from_signature(row["signature"], schema) for row in rows]
    if columns[0].incompatibility:
        return replace(no_match, unusable=columns[0].incompatibility), None
    try:
        return _match_models(
            context, samples, columns[0].with_features(columns[1].with_features(schema)), rows, columns
        )
    except (TransientError, PermissionDeniedError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the champion has been scored on these rows before, beside the twin
        return replace(no_match, unusable=_first_line(error)), None


def _match_models(
    context: RunContext,
    samples: TrainTestSplit,
    schema: Schema,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[FittedColumns],
) -> tuple[Match | None, str | None]:
    models = [_load_model(context, row) for row in rows]
    unseen = _unseen_by(context, [row["run_id"] for row in rows], samples, models[0], schema)
    if unseen is None or not unseen.n_rows:
        return None, "no test sample of this batch is new to both of them"
    challenger, champion = (_adapt_columns(*pair, unseen) for pair in zip(models, columns, strict=True))
    outcome = _compare_models(context, rows[1]["version"], champion, challenger, unseen)
    result = outcome.comparison
    if result is None or result.p_better is None:
        return None, "; ".join(outcome.warnings)
    return Match(
        challenger=rows[0]["version"],
        champion=rows[1]["version"],
        n_compared=result.n_compared,
        challenger_score=result.twin_score,
        champion_score=result.champion_score,
        p_worse=result.p_worse,
        p_better=result.p_better,
        test=result.test,
        difference=result.difference,
        low=result.low,
        high=result.high,
        n_tested=result.n_tested,
    ), None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _adapt_columns(model: Any, columns: FittedColumns, data: SampleData) -> Any:
    return get_backend(model).adapt_columns(model, columns.names, data)


def _load_model(context: RunContext, row: Mapping[str, Any]) -> Any:
    return context.stores.models.load(
        row["path"],
        row["digest"],
        trusted=context.experiment.trusted_types,
        signature=row["signature"],
        library_versions=row["library_versions"],
        code=context.code,
    )


def _unseen_by(
    context: RunContext, run_ids: Sequence[str], samples: TrainTestSplit, twin: Any, schema: Schema
) -> SampleData | None:
    """Return the test samples of the new batch that no model of some runs knows; None if one knows the whole batch."""
    rows = [context.stores.warehouse.run(run_id) for run_id in run_ids]
    packages = [package for row in rows if row is not None for package in row["packages"]]
    backend, test = get_backend(twin), samples.test[-1]
    if schema.keeps_duplicates and schema.metadata.groups is None:
        interval, batch = samples.window[-1]
        start = interval.start.isoformat()
        known = any(batch.digest == one["digest"] or start == one["data_interval_start"] for one in packages)
        return None if known else backend.read_evaluation_data(SampleReader(context, schema), [test])
    trained_on = {one["path"]: Package(one["path"], one["digest"], one["n_rows"]) for one in packages}
    return backend.read_unseen_data(SampleReader(context, schema), test, list(trained_on.values()))


def _compare_models(
    context: RunContext, number: int, champion: Any, twin: Any, unseen: SampleData
) -> ComparisonOutcome:
    """Score both models, and test the difference; a score that is undefined on these rows is no evidence."""
    search = context.experiment.build()
    backend = get_backend(search)
    if backend is not get_backend(champion):
        raise InvalidModelError(
            "it was fitted by another library than the twin", hint="promote the new version by hand"
        )
    main = backend.score_name(search)
    twin_score, champion_score = (finite_or_none(backend.score(search, one, unseen)[main]) for one in (twin, champion))
    test = backend.compare(search, twin, champion, unseen)
    if test.p_worse is None:
        message = f"champion {number} is not compared: {main} is undefined on the {unseen.n_rows} samples new to both"
        return ComparisonOutcome(number, None, "no-evidence", (message,))
    values = {**asdict(test), "p_worse": test.p_worse}
    comparison = Comparison(n_compared=unseen.n_rows, twin_score=twin_score, champion_score=champion_score, **values)
    return ComparisonOutcome(number, comparison, compared=ComparedModels(twin, champion, unseen))
