"""A small project whose experiment is one of Spark, and what its tests need: a quick session, and reasons to skip."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from diurnal.runtime.spark.spark_conf import PURE_JAVA_BLAS
from projects import Project

EXPERIMENT = '''
from diurnal import experiment
from diurnal.sources import Files
{imports}


@experiment(source={source}, target="ill", {declared})
def clinic():
    """Tell who is ill."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import StringIndexer, VectorAssembler
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    log_reg = LogisticRegression(labelCol="truth", maxIter=5)
    pipeline = Pipeline(stages=[
        StringIndexer(inputCol="ill", outputCol="truth", stringOrderType="alphabetAsc"),
        VectorAssembler(inputCols=["age", "pressure"], outputCol="features"),
        log_reg,
    ])
    grid = ParamGridBuilder().addGrid(log_reg.regParam, [0.01, 10.0]).build()
    judge = MulticlassClassificationEvaluator(labelCol="truth", metricName="accuracy")
    return CrossValidator(estimator=pipeline, estimatorParamMaps=grid, evaluator=judge, numFolds=2)
'''

SKLEARN = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source={source}, target="ill", {declared})
def clinic():
    """Tell who is ill."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()
'''

# A compiler that is quick to start, and few partitions: the tests' rows are few.
DEFAULTS = f"""
spark.driver.extraJavaOptions  -XX:TieredStopAtLevel=1 -XX:+UseSerialGC {PURE_JAVA_BLAS}
spark.executor.extraJavaOptions  -XX:TieredStopAtLevel=1 -XX:+UseSerialGC {PURE_JAVA_BLAS}
spark.sql.shuffle.partitions=2
spark.driver.memory 1g
"""


def missing() -> str | None:
    """Say why Spark cannot be tested here; in CI, everything must be there."""
    if os.environ.get("CI"):
        return None
    if shutil.which("java") is None:
        return "there is no Java here"
    try:
        import pyspark  # noqa: F401
    except ImportError:
        return "pyspark is not installed"
    return None


needs_spark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def conf_dir(folder: Path) -> Path:
    """Write Spark's own file of settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spark-defaults.conf").write_text(DEFAULTS)
    return folder


def declare(project: Project, source: str, declared: str, *, imports: str = "", text: str = EXPERIMENT) -> None:
    """Declare the project's experiment anew."""
    written = text.replace("{source}", source).replace("{declared}", declared).replace("{imports}", imports)
    (project.folder / "experiments" / "clinic.py").write_text(written)
