from diurnal import experiment
from diurnal.sources import SklearnDataset


@experiment(
    source=SklearnDataset("breast_cancer"), target="label", test_size=0.3, schedule="@daily", start_date="2026-01-01"
)
def breast_cancer():
    """Classify tumours as malignant or benign by the shape of their cell nuclei."""
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = Pipeline(
        [("std_scaler", StandardScaler()), ("pca", PCA()), ("log_reg", LogisticRegression(max_iter=1000))]
    )
    return GridSearchCV(pipeline, {"pca__n_components": range(1, 30), "log_reg__C": np.logspace(-2, 2, 10)}, cv=3)
