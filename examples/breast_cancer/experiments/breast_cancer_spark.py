from diurnal import experiment
from diurnal.sources import SklearnDataset


@experiment(
    source=SklearnDataset("breast_cancer"), target="label", test_size=0.3, schedule="@daily", start_date="2026-01-01"
)
def breast_cancer_spark():
    """Classify tumours as malignant or benign, as breast_cancer does, on Spark."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import PCA, StandardScaler, StringIndexer, VectorAssembler
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    measures = ["radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points",
                "symmetry", "fractal_dimension"]  # fmt: skip
    features = [*(f"mean_{m}" for m in measures), *(f"{m}_error" for m in measures), *(f"worst_{m}" for m in measures)]

    pca = PCA(inputCol="scaled", outputCol="components")
    log_reg = LogisticRegression(featuresCol="components", labelCol="truth", standardization=False)
    pipeline = Pipeline(
        stages=[
            StringIndexer(inputCol="label", outputCol="truth"),
            VectorAssembler(inputCols=features, outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="scaled", withMean=True),
            pca,
            log_reg,
        ]
    )
    # scikit-learn's C is 1 / (regParam * n_samples), and it leaves the scale of its input as it is
    grid = ParamGridBuilder().addGrid(pca.k, [10, 20]).addGrid(log_reg.regParam, [0.001, 0.003, 0.01]).build()
    judge = MulticlassClassificationEvaluator(labelCol="truth", metricName="accuracy")
    return CrossValidator(estimator=pipeline, estimatorParamMaps=grid, evaluator=judge, numFolds=3)
