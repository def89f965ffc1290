"""What an experiment of Spark returns: whether it tunes, what it predicts, and by which score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    Evaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.param.shared import HasSeed
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

from diurnal.backends.protocol import Task
from diurnal.errors import ExperimentError
from diurnal.storage.models.spark import find_predictor, iter_stages

if TYPE_CHECKING:
    from diurnal.data import Metadata


def is_search(search: Any) -> bool:
    """Return whether it tunes."""
    return isinstance(search, CrossValidator | TrainValidationSplit)


def inner_estimator(search: Any) -> Any:
    """Return what a search fits, or what was returned without one."""
    if not is_search(search):
        return search
    for name in ("estimator", "estimatorParamMaps", "evaluator"):
        if not search.isDefined(name):
            raise ExperimentError(
                f"the {type(search).__name__} has no {name}", hint=f"give it one: {type(search).__name__}({name}=...)"
            )
    return search.getEstimator()


def last_predictor(search: Any) -> Any:
    """Return the stage that predicts, which ends what is fitted.

    Raises
    ------
    ExperimentError
        If there is none.
    """
    estimator = inner_estimator(search)
    found = find_predictor(estimator)
    if found is None:
        raise ExperimentError(
            f"{type(estimator).__name__} has no stage that predicts a label",
            hint="end the pipeline with an estimator of pyspark.ml.classification or pyspark.ml.regression",
        )
    return found


def detect_task(search: Any) -> Task:
    """Return what is predicted, by the modules of the classes of the last predictor."""
    last = last_predictor(search)
    kinds = {base.__module__.rpartition(".")[2] for base in type(last).__mro__}
    if "classification" in kinds:
        return "classification"
    if "regression" in kinds:
        return "regression"
    if is_search(search):
        kind = search.getEvaluator()
        if isinstance(kind, BinaryClassificationEvaluator | MulticlassClassificationEvaluator):
            return "classification"
        if isinstance(kind, RegressionEvaluator):
            return "regression"
    raise ExperimentError(
        f"{type(last).__name__} is neither a classifier nor a regressor",
        hint="return one of pyspark.ml.classification or pyspark.ml.regression, or a search whose evaluator tells",
    )


def check_metadata(search: Any, metadata: Metadata) -> list[str]:
    """Reject what Spark does not do with groups, weights and order; warn of scores without weights.

    Raises
    ------
    ExperimentError
        If rows are to be ordered, or weighted by a column that what predicts does not read.
    """
    if metadata.order_by is not None:
        raise ExperimentError(
            f"order_by={metadata.order_by!r} is not supported on Spark, where rows have no order",
            hint='leave it out; split="time" tests on the newest data interval, on Spark too',
        )
    last, weights = last_predictor(search), metadata.sample_weight
    if weights is None:
        return []
    if weight_column(last) != weights:
        takes = f'write {type(last).__name__}(..., weightCol="{weights}")'
        raise ExperimentError(
            f"the experiment declares sample_weight={weights!r}, and {type(last).__name__} does not read it",
            hint=takes if last.hasParam("weightCol") else "leave out sample_weight, or take one that has weightCol",
        )
    judge = get_evaluator(search)
    if weight_column(judge) == weights:
        return []
    return [f'{type(judge).__name__} counts each row once: weightCol="{weights}" is not set']


def weight_column(one: Any) -> str | None:
    """Name the column of weights that a stage or an evaluator reads."""
    return str(one.getOrDefault("weightCol")) if one.hasParam("weightCol") and one.isDefined("weightCol") else None


def get_evaluator(search: Any) -> Evaluator:
    """Return the search's evaluator; for a bare estimator accuracy, or r2."""
    if is_search(search):
        found: Evaluator = search.getEvaluator()
        return found
    last = last_predictor(search)
    columns = {"labelCol": last.getLabelCol(), "predictionCol": last.getPredictionCol()}
    if detect_task(search) == "classification":
        return MulticlassClassificationEvaluator(metricName="accuracy", **columns)
    return RegressionEvaluator(metricName="r2", **columns)


def main_score_name(search: Any) -> str:
    """Return the name of the main score; where less is better it is negated, and called so, as in scikit-learn."""
    judge: Any = get_evaluator(search)
    name = judge.getMetricName() if hasattr(judge, "getMetricName") else type(judge).__name__
    return name if judge.isLargerBetter() else f"neg_{name}"


def unseeded_stages(search: Any) -> Iterator[str]:
    """Name the stages that draw random numbers without a seed; pyspark's own default changes with each process."""
    for stage in iter_stages(inner_estimator(search)):
        if isinstance(stage, HasSeed) and not stage.isSet("seed"):
            yield type(stage).__name__


def parameter_name(param: Any, estimator: Any) -> str:
    """Name a parameter as ``stage.param``: by the kind of its stage, and a number where there are several.

    Examples
    --------
    ``LogisticRegression.regParam``; the second PCA of a pipeline is ``PCA2.k``.
    """
    alike = [
        stage for stage in list_components(estimator) if stage.uid.partition("_")[0] == param.parent.partition("_")[0]
    ]
    place = next((i for i, stage in enumerate(alike) if stage.uid == param.parent), 0)
    kind = param.parent.rpartition("_")[0]
    return f"{kind}{place + 1 if place else ''}.{param.name}"


def check_grid_parameters(search: Any) -> None:
    """Reject a grid with a parameter of a stage that is not in what is fitted: Spark would pass it over."""
    if not is_search(search):
        return
    estimator = search.getEstimator()
    known = {stage.uid for stage in list_components(estimator)}
    for candidate in search.getEstimatorParamMaps():
        for param in candidate:
            if param.parent not in known:
                raise ExperimentError(
                    f"the grid tunes {param.parent.rpartition('_')[0]}.{param.name}, and that very stage is not in the "
                    f"{type(estimator).__name__}",
                    hint="add to the grid the parameters of the objects that are in the pipeline",
                )


def list_components(estimator: Any) -> list[Any]:
    """Return all that may have parameters: the stages, and the estimators that they hold."""
    found = [estimator]
    for stage in iter_stages(estimator):
        found.append(stage)
        if stage.hasParam("classifier") and stage.isDefined("classifier"):
            found += list_components(stage.getClassifier())
    return list({one.uid: one for one in found}.values())
