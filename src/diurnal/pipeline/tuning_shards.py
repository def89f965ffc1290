"""Tuning in pieces: the search is cut into shards, each scored by a task of its own, and `tune` puts them together.

Only Airflow does so, for ``n_tuning_shards`` above 1. The scores are those of one task, whatever the number of shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diurnal.backends.sample_reader import SampleReader
from diurnal.errors import NotEnoughDataError
from diurnal.pipeline.code_guard import require_code_of_run
from diurnal.types import Package, TrainTestSplit

if TYPE_CHECKING:
    import numpy as np

    from diurnal.backends import Backend, Data
    from diurnal.data import Schema
    from diurnal.experiment.run_context import RunContext


MORE_DATA_HINT = "run later data intervals; a wider window or larger batches give more"


@dataclass(frozen=True)
class ShardScores:
    """What scoring one shard gives.

    Attributes
    ----------
    scores : Package
        The scores of its fits, in the lake.
    warnings : tuple of str
        What its fits warned of.
    """

    scores: Package
    warnings: tuple[str, ...] = ()


@require_code_of_run
def plan_search_shards(context: RunContext, samples: TrainTestSplit) -> list[dict[str, int]]:
    """Cut the search into as many shards as the experiment declares; those that share a prefix stay together."""
    backend, search, data = load_training_data(context, samples)
    return backend.cut(search, data, context.experiment.n_tuning_shards)


@require_code_of_run
def score_search_shard(context: RunContext, samples: TrainTestSplit, shard: dict[str, int]) -> ShardScores:
    """Make the fits of one shard, and keep their scores."""
    backend, search, data = load_training_data(context, samples)
    table, warnings = backend.score_shard(search, data, shard)
    return ShardScores(context.stores.lake.write_table(context.package_key("candidates"), table), warnings)


def load_shard_scores(context: RunContext, parts: Sequence[ShardScores]) -> list[dict[str, np.ndarray]]:
    """Read the scores of the shards."""
    import numpy as np

    tables = [context.stores.lake.read(part.scores) for part in parts]
    return [{name: np.array(table[name].to_pylist()) for name in table.column_names} for table in tables]


def load_training_data(context: RunContext, samples: TrainTestSplit) -> tuple[Backend, Any, Data]:
    """Give the search, what carries it out, and the train samples that it learns from.

    Raises
    ------
    NotEnoughDataError
        If there are none, one class only, or fewer than the folds need.
    """
    from diurnal.backends import backend_of

    search = context.experiment.build()
    backend = backend_of(search)
    schema = context.schema_of(samples.run)
    twice = samples.test if _may_be_on_both_sides(context, schema) else ()
    fraction = context.sampling_fraction(samples.train)
    data = backend.read(SampleReader(context, schema), samples.train, fraction=fraction, without=twice)
    if not data.n_rows:
        raise empty_split_error(context, "train")
    lacking = backend.too_small(search, data)
    if lacking:
        raise NotEnoughDataError(lacking, hint=MORE_DATA_HINT)
    return backend, search, data


def _may_be_on_both_sides(context: RunContext, schema: Schema) -> bool:
    """Tell whether a sample of the train packages may be in the test packages: as its role is not that of its identity.

    Without a key, that is so too where a column that identified samples was dropped: see :mod:`diurnal.data`.
    """
    return context.experiment.split == "time" or bool(schema.metadata.groups and schema.key) or schema.lacks_identity


def empty_split_error(context: RunContext, side: str) -> NotEnoughDataError:
    """Give the error of a window that has no sample on one side."""
    if context.experiment.split == "time" and side == "train":
        return NotEnoughDataError(
            "the newest data interval of the window is the test, and no earlier one has another batch",
            hint="it will be enough once further intervals have run; earlier ones can be run by `diurnal backfill`",
        )
    return NotEnoughDataError(
        f"no sample of the window is for {side}ing at test_size={context.experiment.test_size}", hint=MORE_DATA_HINT
    )
