"""Parallel tuning: the search is split into shards, each is scored by its own task, and `tune` combines the scores.

Only Airflow does so, for ``n_tuning_shards`` above 1. The scores are those of one task, whatever the number of shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diurnal.backends.sample_reader import SampleReader
from diurnal.errors import NotEnoughDataError
from diurnal.pipeline.code_guard import require_code_of_run
from diurnal.pipeline.recorded_results import equal_search, recorded_search
from diurnal.types import Package, TrainTestSplit

if TYPE_CHECKING:
    import numpy as np

    from diurnal.backends import Backend, SampleData
    from diurnal.data import Schema
    from diurnal.experiment.run_context import RunContext


MORE_DATA_HINT = "run later data intervals, declare a wider window, or fetch larger batches"


@dataclass(frozen=True)
class ShardScores:
    """Scores of one shard of a search.

    Attributes
    ----------
    scores : Package
        The scores of its fits, in the lake.
    warnings : tuple of str
        Warnings of its fits.
    """

    scores: Package
    warnings: tuple[str, ...] = ()


@require_code_of_run
def plan_search_shards(context: RunContext, samples: TrainTestSplit) -> list[dict[str, int]]:
    """Split the search into as many shards as the experiment declares; fits that share a prefix stay together.

    A search whose result is recorded has one shard without fits.
    """
    from diurnal.search.search_shards import UNSPLIT

    if recorded_search(context, samples) or equal_search(context, samples):
        return [dict(UNSPLIT)]
    backend, search, data = load_training_data(context, samples)
    return backend.split_search(search, data, context.experiment.n_tuning_shards)


@require_code_of_run
def score_search_shard(context: RunContext, samples: TrainTestSplit, shard: dict[str, int]) -> ShardScores:
    """Fit and score the candidates of one shard, and store the scores."""
    backend, search, data = load_training_data(context, samples)
    table, warnings = backend.score_shard(search, data, shard)
    return ShardScores(context.stores.lake.write_table(context.package_key("candidates"), table), warnings)


def load_shard_scores(context: RunContext, parts: Sequence[ShardScores]) -> list[dict[str, np.ndarray]]:
    """Load the scores of all shards."""
    import numpy as np

    tables = [context.stores.lake.read(part.scores) for part in parts]
    return [{name: np.array(table[name].to_pylist()) for name in table.column_names} for table in tables]


def load_training_data(context: RunContext, samples: TrainTestSplit) -> tuple[Backend, Any, SampleData]:
    """Return the backend, the search and its train samples.

    Raises
    ------
    NotEnoughDataError
        If there are no samples, samples of one class only, or fewer than the folds need.
    """
    from diurnal.backends import get_backend

    search = context.experiment.build()
    backend = get_backend(search)
    schema = context.schema_of(samples.run)
    twice = samples.test if _may_be_on_both_sides(context, schema) else ()
    fraction = context.sampling_fraction(samples.train)
    data = backend.read_training_data(SampleReader(context, schema), samples.train, fraction=fraction, without=twice)
    if not data.n_rows:
        raise empty_split_error(context, "train")
    reason = backend.size_problem(search, data)
    if reason:
        raise NotEnoughDataError(reason, hint=MORE_DATA_HINT)
    return backend, search, data


def _may_be_on_both_sides(context: RunContext, schema: Schema) -> bool:
    """Return whether a sample may be on both sides of the split: its role does not follow from its identity.

    Without a key, this also holds where a column that identified samples was dropped: see :mod:`diurnal.data`.
    """
    return context.experiment.split == "time" or bool(schema.metadata.groups and schema.key) or schema.lacks_identity


def empty_split_error(context: RunContext, side: str) -> NotEnoughDataError:
    """Return the error of a window without train samples or without test samples."""
    if context.experiment.split == "time" and side == "train":
        return NotEnoughDataError(
            "the newest data interval of the window is the test set, and no earlier one has another batch",
            hint="run further intervals, or earlier ones by `diurnal backfill`",
        )
    return NotEnoughDataError(
        f"the window has no {side} samples at test_size={context.experiment.test_size}", hint=MORE_DATA_HINT
    )
