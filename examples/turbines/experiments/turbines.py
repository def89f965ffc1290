"""Wind turbines: which of them fail within a week?

The readings are generated, so the example needs no download. Each day has different rows, and a date always has the
same rows. Temperatures drift slowly with the season. On OIL_CHANGE all gearboxes get another oil: from then on a lower
pressure is normal, and models that were trained before mispredict.
"""

from datetime import UTC, datetime

from diurnal import experiment

READINGS_A_DAY = 2_000
OIL_CHANGE = datetime(2026, 1, 16, tzinfo=UTC)
SITES = {"coast": 3.0, "hills": 0.0, "island": 5.0, "plain": -1.0}  # mean wind speed above 9 m/s
MODELS = {"a80": 0.0, "b100": 0.3, "c120": -0.4}  # effect on the risk of failure


def readings(interval):
    """Return the readings of one day, with the outcome within the following week."""
    import numpy as np
    import pandas as pd

    day = interval.start
    rng = np.random.default_rng([day.year, day.month, day.day])
    n = READINGS_A_DAY
    site = rng.choice(list(SITES), n)
    model = rng.choice(list(MODELS), n, p=[0.5, 0.3, 0.2])
    new_oil = day >= OIL_CHANGE
    outdoors = 8 - 9 * np.cos(2 * np.pi * (day.timetuple().tm_yday - 20) / 365) + rng.normal(0, 1.5)
    hours = rng.gamma(2.0, 700.0, n)  # since the last service
    wear = (hours / 1400 - 1) + rng.normal(0, 0.6, n)  # the second term is not measured
    wind = np.clip(9 + pd.Series(site).map(SITES).to_numpy() + rng.normal(0, 2.5, n), 0, None)
    temperature = 48 + 0.6 * outdoors + 0.9 * wind + 4.0 * wear + rng.normal(0, 3, n)
    pressure = (2.5 if new_oil else 3.5) - 0.45 * wear + rng.normal(0, 0.2, n)
    vibration = np.exp(0.6 + 0.25 * wear + 0.02 * wind + rng.normal(0, 0.25, n))
    risk = -2.0 + 2.0 * wear + (0.5 * wear if new_oil else 0) + pd.Series(model).map(MODELS).to_numpy()
    fails = rng.random(n) < 1 / (1 + np.exp(-risk))

    vibration[rng.random(n) < 0.03] = np.nan  # failures of sensors
    temperature[rng.random(n) < 0.01] = np.nan
    return pd.DataFrame(
        {
            "reading_id": [f"{day:%Y%m%d}-{number:05d}" for number in range(n)],
            "site": site,
            "model": model,
            "hours_since_service": hours.round(1),
            "wind_speed": wind.round(2),
            "gearbox_temperature": temperature.round(2),
            "oil_pressure": pressure.round(3),
            "vibration": vibration.round(3),
            "outcome": np.where(fails, "fails", "runs"),
        }
    )


@experiment(
    source=readings, target="outcome", key="reading_id", window="7d", schedule="@daily", start_date="2026-01-01"
)
def turbines():
    """Predict from sensor readings which wind turbines fail within a week."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.tree import DecisionTreeClassifier

    sensors = ["hours_since_service", "wind_speed", "gearbox_temperature", "oil_pressure", "vibration"]
    columns = ColumnTransformer(
        [
            ("sensors", SimpleImputer(strategy="median"), sensors),
            ("kinds", OneHotEncoder(handle_unknown="ignore"), ["site", "model"]),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("tree", DecisionTreeClassifier(random_state=0))])
    candidates = {"tree__max_depth": [4, 6, 8], "tree__min_samples_leaf": [10, 50]}
    return GridSearchCV(pipeline, candidates, cv=3, scoring="roc_auc")
