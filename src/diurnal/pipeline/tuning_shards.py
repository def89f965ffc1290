"""Tuning in pieces: the search is cut into shards, each scored by a task of its own, and `tune` puts them together.

Only Airflow does so, for ``n_tuning_shards`` above 1. The scores are those of one task, whatever the number of shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diurnal.errors import NotEnoughDataError
from diurnal.pipeline.code_guard import with_code_of_run
from diurnal.types import Package, TrainTestSplit

if TYPE_CHECKING:
    import numpy as np

    from diurnal.backends import Backend, Data
    from diurnal.data import Schema
    from diurnal.pipeline.context import Day


WIDER = "run later data intervals; a wider window or larger batches give more"


@dataclass(frozen=True)
class Part:
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


@with_code_of_run
def cut(day: Day, samples: TrainTestSplit) -> list[dict[str, int]]:
    """Cut the search into as many shards as the experiment declares; those that share a prefix stay together."""
    backend, search, data = to_tune(day, samples)
    return backend.cut(search, data, day.experiment.n_tuning_shards)


@with_code_of_run
def score(day: Day, samples: TrainTestSplit, shard: dict[str, int]) -> Part:
    """Make the fits of one shard, and keep their scores."""
    backend, search, data = to_tune(day, samples)
    table, warnings = backend.score_shard(search, data, shard)
    return Part(day.stores.lake.write_table(day.package_key("candidates"), table), warnings)


def read(day: Day, parts: Sequence[Part]) -> list[dict[str, np.ndarray]]:
    """Read the scores of the shards."""
    import numpy as np

    tables = [day.stores.lake.read(part.scores) for part in parts]
    return [{name: np.array(table[name].to_pylist()) for name in table.column_names} for table in tables]


def to_tune(day: Day, samples: TrainTestSplit) -> tuple[Backend, Any, Data]:
    """Give the search, what carries it out, and the train samples that it learns from.

    Raises
    ------
    NotEnoughDataError
        If there are none, one class only, or fewer than the folds need.
    """
    from diurnal.backends import backend_of

    search = day.experiment.build()
    backend = backend_of(search)
    schema = day.schema_of(samples.run)
    twice = samples.test if _may_be_on_both_sides(day, schema) else ()
    data = backend.read(day, samples.train, schema, share=day.share(samples.train), without=twice)
    if not data.n_rows:
        raise no_samples(day, "train")
    lacking = backend.too_small(search, data)
    if lacking:
        raise NotEnoughDataError(lacking, hint=WIDER)
    return backend, search, data


def _may_be_on_both_sides(day: Day, schema: Schema) -> bool:
    """Tell whether a sample of the train packages may be in the test packages: as its role is not that of its identity.

    Without a key, that is so too where a column that identified samples was dropped: see :mod:`diurnal.data`.
    """
    return day.experiment.split == "time" or bool(schema.metadata.groups and schema.key) or schema.lacks_identity


def no_samples(day: Day, side: str) -> NotEnoughDataError:
    """Give the error of a window that has no sample on one side."""
    if day.experiment.split == "time" and side == "train":
        return NotEnoughDataError(
            "the newest data interval of the window is the test, and no earlier one has another batch",
            hint="it will be enough once further intervals have run; earlier ones can be run by `diurnal backfill`",
        )
    return NotEnoughDataError(
        f"no sample of the window is for {side}ing at test_size={day.experiment.test_size}", hint=WIDER
    )
