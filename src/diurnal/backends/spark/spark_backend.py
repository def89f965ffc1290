"""Spark behind the protocol of :mod:`diurnal.backends`: the rows of a handle stay with the executors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.protocol import BroughtIn, Progress, Task, Tuned
from diurnal.backends.spark import cross_validation, estimators, lake_frames, spark_scores
from diurnal.backends.spark.job_errors import blaming
from diurnal.backends.spark.lake_frames import Rows
from diurnal.errors import BatchRejectedError, ExperimentError, Problem
from diurnal.storage import models
from diurnal.storage.models import spark as kept

if TYPE_CHECKING:
    from pathlib import Path

    from diurnal.backends.sample_reader import SampleReader
    from diurnal.data import Contract, Metadata, Schema
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime.project_files import Codebase
    from diurnal.types import Package

N_GOLDEN = 5
WHOLE = {"start": 0, "stop": 0, "n_candidates": 0, "n_splits": 0}


class Spark:
    """Tunes, fits and scores wherever the deployment's Spark runs."""

    is_distributed = True
    task = staticmethod(estimators.task)
    trials = staticmethod(cross_validation.trials)
    is_search = staticmethod(estimators.is_search)
    score_name = staticmethod(estimators.score_name)
    scores = staticmethod(spark_scores.scores)
    compare = staticmethod(spark_scores.compare)

    def unseeded(self, made: Any) -> list[str]:
        """Warn of stages without a seed."""
        return [f"seed is not set in {name}: its numbers change from run to run" for name in estimators.unseeded(made)]

    def refuse_faults(self, made: Any, trusted: Collection[str], code: Codebase) -> None:  # noqa: ARG002
        """Refuse a grid for stages that are not there, and stages that a model of it could not be loaded with."""
        estimators.last_predictor(made)
        estimators.refuse_unknown_parameters(made)
        named = (
            {"class": f"{type(one).__module__}.{type(one).__qualname__}"}
            for one in kept.stages(estimators.estimator_of(made))
        )
        kept.refuse_untrusted(named, trusted)

    def bring_in(self, context: RunContext, contract: Contract | None, task: Task, folder: Path) -> BroughtIn | None:  # noqa: ARG002
        """Fetch on the executors what Spark itself can read."""
        from diurnal.backends.spark import spark_ingest

        return spark_ingest.bring_in(context, contract, task)

    def check_metadata(self, made: Any, metadata: Metadata) -> list[str]:
        """Refuse an order of rows, and weights that the estimator does not read; warn of scores without weights."""
        return estimators.check_metadata(made, metadata)

    def read(
        self,
        reader: SampleReader,
        packages: Sequence[Package],
        *,
        fraction: float = 1.0,
        without: Sequence[Package] = (),
    ) -> Rows:
        """Return packages as a frame whose rows stay with the executors."""
        lake, name = reader.context.stores.lake, reader.context.experiment.name
        return lake_frames.read(lake, packages, reader.schema, name, fraction, without)

    def to_judge(self, reader: SampleReader, packages: Sequence[Package]) -> Rows:
        """Return packages as a frame, as for training."""
        return self.read(reader, packages)

    def unseen(self, reader: SampleReader, package: Package, learnt: Sequence[Package]) -> Rows:
        """Return the rows of a package whose samples are in none of the others."""
        return lake_frames.unseen(reader.context.stores.lake, package, learnt, reader.schema)

    def too_small(self, made: Any, data: Rows) -> str | None:  # noqa: ARG002 - Spark's folds may lack a class
        """Say what samples lack to be learnt from at all: a second value of the target."""
        target = lake_frames.column(data.schema.target)
        with blaming("the reading"):
            if data.frame.select(target).distinct().limit(2).count() > 1:
                return None
        return f"all {data.n_rows} train samples of the window have one value of the target"

    def scarce(self, made: Any, data: Rows) -> str | None:
        """Say which classes have fewer samples than there are folds."""
        n = int(made.getNumFolds()) if isinstance(made, CrossValidator) else 1
        target = lake_frames.column(data.schema.target)
        with blaming("the reading"):
            counted = data.frame.groupBy(target).count().filter(F.col("count") < n).limit(20).collect()
        listed = ", ".join(sorted(f"{row[0]!r} has {row[1]}" for row in counted))
        return f"a class has fewer train samples in the window than there are folds ({n}): {listed}" if listed else None

    def cut(self, made: Any, data: Rows, n: int) -> list[dict[str, int]]:  # noqa: ARG002
        """Leave the search whole: its fits are spread over the cluster already."""
        return [dict(WHOLE)]

    def score_shard(self, made: Any, data: Rows, shard: Mapping[str, int]) -> tuple[pa.Table, tuple[str, ...]]:  # noqa: ARG002
        """Make no fit: there is one shard without any, and `tune` makes them all."""
        return pa.table({"call": np.zeros(0, dtype=np.int64)}), ()

    def tune(
        self,
        made: Any,
        data: Rows,
        *,
        progress: Progress | None = None,
        parts: Sequence[Mapping[str, np.ndarray]] | None = None,  # noqa: ARG002 - see `cut`
    ) -> Tuned:
        """Search over the candidates, or fit what has nothing to tune."""
        return cross_validation.tune(made, data, progress)

    def refit(self, made: Any, twin: Callable[[], Any], best_params: Mapping[str, Any], data: Rows) -> Any:  # noqa: ARG002
        """Fit the best candidate on all rows."""
        best = cross_validation.candidate(made, best_params) if estimators.is_search(made) else {}
        with blaming("the fit"):
            return estimators.estimator_of(made).fit(data.frame, best)

    def taking(self, model: Any, columns: Mapping[str, str], data: Rows) -> Any:  # noqa: ARG002 - further ones do no harm
        """Let a model, which is changed in place, take rows that have its columns under other names."""
        return lake_frames.taking(model, {name: now for name, now in columns.items() if name != now})

    def stream(self, context: RunContext) -> Iterator[pa.RecordBatch] | None:
        """Stream the batch of a source that Spark reads."""
        from diurnal.backends.spark import spark_ingest

        return spark_ingest.stream(context)

    def signature(self, model: Any, data: Rows, schema: Schema) -> dict[str, Any]:
        """Describe what a fitted model takes and gives."""
        from diurnal.backends.sklearn.sklearn_frames import matrix

        columns = [column for column in schema.to_dict()["columns"] if column["name"] in schema.features]
        X = matrix(lake_frames.head(data, N_GOLDEN), list(schema.features))
        with blaming("the golden rows"):
            return models.signature(model, X, target=schema.target, schema_columns=columns)

    def predictions(self, model: Any, rows: pa.Table, signature: Mapping[str, Any]) -> dict[str, Any]:
        """Predict rows that are here; a row that the model refuses is the batch's fault."""
        try:
            with blaming("the prediction"):
                given = kept.answers(model, rows, signature["target"])
        except ExperimentError as error:
            raise BatchRejectedError([Problem("not-predictable", error.message)], hint=error.hint) from error
        columns: dict[str, Any] = {"prediction": given.predictions}
        if given.probabilities is not None and given.classes is not None:
            for label, column in zip(given.classes, given.probabilities.T, strict=True):
                columns[f"probability_{label}"] = column
        return columns


BACKEND = Spark()
