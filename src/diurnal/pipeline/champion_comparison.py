"""Twin against champion, on samples of the new batch that neither has seen.

The twin never sees a test sample. The champion was fitted on all rows of its own window, so that a row which came
back (a source that gives the same rows every day, say) may be known to it: such rows are left out. Where content does
not identify a row, a batch is known as a whole: if the champion learnt the same package, or another one of the same
data interval. Where rows have groups, a row is known if its group is: the twin has learnt no row of a test group, and
the champion may have learnt many. No row left means no comparison, which is said, and never a number that flatters the
champion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from diurnal.backends import backend_of
from diurnal.data.fitted_columns import Columns
from diurnal.errors import ConfigurationError, InvalidModelError, PermissionDeniedError, TransientError
from diurnal.types import Comparison, ModelVersion, NoComparisonReason, Package, TrainTestSplit
from diurnal.types.results import finite_or_none

if TYPE_CHECKING:
    from diurnal.backends import Data
    from diurnal.data import Schema
    from diurnal.pipeline.context import Day


def against_champion(  # noqa: PLR0911 - one for each reason
    day: Day, samples: TrainTestSplit, twin: Any, schema: Schema
) -> tuple[int | None, Comparison | None, NoComparisonReason | None, list[str]]:
    """Compare the twin with the champion.

    Parameters
    ----------
    day : Day
        The run's instructions.
    samples : TrainTestSplit
        The run's; the new batch's come last.
    twin : estimator
        The challenger's twin.
    schema : Schema
        What the batch promises.

    Returns
    -------
    int or None
        The champion's version, if there is a champion.
    Comparison or None
        None where nothing could be compared.
    str or None
        Why not: as in :attr:`Evaluation.uncompared`.
    list of str
        Why not, in words.
    """
    champion, test = day.stores.warehouse.champion(day.experiment.name), samples.test[-1]
    if champion is None:
        return None, None, None, []
    said, number = "not compared", champion.version
    if not test.n_rows:
        return number, None, "no-evidence", [f"the batch has no test samples: champion {number} is {said}"]
    row = day.stores.warehouse.version(champion.experiment, number)
    fitted_on = Columns.of(row["signature"], schema)
    try:
        model = _load(day, row)
    except (ConfigurationError, InvalidModelError) as error:
        return number, None, "unusable", [f"champion {number} cannot be loaded: {error.message}"]
    if fitted_on.lacking:
        return number, None, "other-contract", [f"champion {number} cannot score this batch: {fitted_on.lacking}"]
    try:
        fresh = _unseen(day, champion, samples, twin, fitted_on.with_features(schema))
        if fresh is None or not fresh.n_rows:
            learnt = f"champion {number} has learnt all {test.n_rows} test samples of this batch: {said}"
            return number, None, "nothing-new", [learnt]
        model, twin = _taking(model, fitted_on, fresh), _taking(twin, Columns.now(schema), fresh)
        return number, *_compare(day, number, model, twin, fresh)
    except (TransientError, PermissionDeniedError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model says to rows that it cannot take, it gave no evidence
        return number, None, *_failed(number, error, row["signature"].get("classes"), schema)


def _failed(
    number: int, error: Exception, known: Sequence[Any] | None, schema: Schema
) -> tuple[NoComparisonReason, list[str]]:
    """Say why a champion could not be scored."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    unknown = [label for label in schema.classes or () if known is not None and label not in known]
    if not unknown:
        return "no-evidence", [f"champion {number} could not be scored: {first}"]
    labels = ", ".join(map(ascii, unknown))
    return "other-contract", [
        f"champion {number} cannot score this batch: it does not know the label {labels} ({first})"
    ]


def _taking(model: Any, columns: Columns, data: Data) -> Any:
    return backend_of(model).taking(model, columns.names, data)


def _load(day: Day, row: Mapping[str, Any]) -> Any:
    return day.stores.models.load(
        row["path"],
        row["digest"],
        trusted=day.experiment.trusted_types,
        signature=row["signature"],
        library_versions=row["library_versions"],
        code=day.code,
    )


def _unseen(day: Day, champion: ModelVersion, samples: TrainTestSplit, twin: Any, schema: Schema) -> Data | None:
    """Give the new batch's test samples that the champion has not learnt; None if it has learnt the batch."""
    row = day.stores.warehouse.run(champion.run_id) or {"packages": []}
    backend, test = backend_of(twin), samples.test[-1]
    if schema.keeps_duplicates and schema.metadata.groups is None:
        interval, batch = samples.window[-1]
        begun = interval.start.isoformat()
        known = any(batch.digest == one["digest"] or begun == one["data_interval_start"] for one in row["packages"])
        return None if known else backend.to_judge(day, [test], schema)
    learnt = [Package(one["path"], one["digest"], one["n_rows"]) for one in row["packages"]]
    return backend.unseen(day, test, learnt, schema)


def _compare(
    day: Day, number: int, champion: Any, twin: Any, fresh: Data
) -> tuple[Comparison | None, NoComparisonReason | None, list[str]]:
    """Score both, and test the difference; a score that is undefined on these rows is no evidence."""
    made = day.experiment.build()
    backend, other = backend_of(made), backend_of(champion)
    if backend is not other:
        raise InvalidModelError(
            "it was fitted by another library than the twin", hint="promote the new version by hand"
        )
    main = backend.score_name(made)
    twin_score, champion_score = (finite_or_none(backend.scores(made, one, fresh)[main]) for one in (twin, champion))
    found = backend.compare(made, twin, champion, fresh)
    if found.p_worse is None:
        said = f"{main} is undefined on the {fresh.n_rows} samples new to both: champion {number} is not compared"
        return None, "no-evidence", [said]
    return (
        Comparison(
            n_compared=fresh.n_rows,
            twin_score=twin_score,
            champion_score=champion_score,
            **{**asdict(found), "p_worse": found.p_worse},
        ),
        None,
        [],
    )
