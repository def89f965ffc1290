"""A small project on disk, as a user has one: an experiment on CSV files, and the stores of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from diurnal.experiment import Experiment, find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.local_run import RunResult, run
from diurnal.runtime import Settings
from diurnal.storage.stores import Stores, open_stores
from diurnal.types import DataInterval
from forking import COMMAND_LINE, Forks

FORKS = Forks()

# The fault points of a run, in their order.
POINTS = [
    "warehouse.claim_interval",
    "warehouse.save_declaration",
    "lake.put",
    "warehouse.set_batch",
    "warehouse.add_profile",
    "warehouse.load_rows",
    "warehouse.load",
    "warehouse.save_split",
    "warehouse.record_run",
    "models.put",
    "warehouse.publish",
    "warehouse.promote",
]

EXPERIMENT = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target="ill", key="patient", {declared})
def clinic():
    """Tell who is ill."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),
                        {{"logisticregression__C": [0.1, 1.0, 10.0]}}, cv=3)
'''


def day(date: str) -> DataInterval:
    start = datetime.fromisoformat(date).replace(tzinfo=UTC)
    return DataInterval(start, start + timedelta(days=1))


def patients(date: str, n: int = 240, *, shift: float = 0.0) -> pd.DataFrame:
    """Give one day's patients, who differ from those of other days."""
    rng = np.random.default_rng(int(date.replace("-", "")))
    age, pressure = rng.normal(50, 12, n).round(2), rng.normal(120, 15, n).round(2)
    ill = (age - 50) / 12 + (pressure - 120) / 15 + rng.normal(0, 0.7, n) + shift > 0
    return pd.DataFrame(
        {
            "patient": [f"{date}-{i:04d}" for i in range(n)],
            "age": age,
            "pressure": pressure,
            "ward": rng.choice(["north", "south"], n),
            "ill": np.where(ill, "yes", "no"),
        }
    )


@dataclass
class Project:
    """A folder with an experiment `clinic`, its CSV files and its stores."""

    folder: Path
    warehouse_url: str
    mlflow: str = ""

    @classmethod
    def make(cls, folder: Path, warehouse_url: str, declared: str = "drop='ward'") -> Project:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "experiments").mkdir()
        (folder / "incoming").mkdir()
        (folder / "diurnal.toml").write_text("[diurnal]\n")
        project = cls(folder, warehouse_url)
        project.declare(declared)
        return project

    def declare(self, declared: str) -> None:
        pattern = str(self.folder / "incoming" / "{start:%Y-%m-%d}.csv")
        text = EXPERIMENT.format(pattern=pattern, declared=declared)
        (self.folder / "experiments" / "clinic.py").write_text(text)

    def bring(self, date: str, rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """Put a day's file where the source looks."""
        rows = patients(date) if rows is None else rows
        rows.to_csv(self.folder / "incoming" / f"{date}.csv", index=False)
        return rows

    @property
    def environment(self) -> dict[str, str]:
        own = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DIURNAL_", "AIRFLOW_CONN_", "MLFLOW_"))
        }
        mlflow = {"MLFLOW_TRACKING_URI": self.mlflow} if self.mlflow else {}
        return {**own, **mlflow, "DIURNAL_WAREHOUSE": self.warehouse_url, "DIURNAL_PROJECT": str(self.folder)}

    def command(
        self, *words: str, fault: str | None = None, cells_per_part: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Call the command line, in a process of its own; `cells_per_part` sets the size of the parts of packages."""
        env = {**self.environment, **({"DIURNAL_FAULT": fault} if fault else {})}
        small = f"from diurnal.storage.lake import partitions\npartitions.CELLS_PER_PART = {cells_per_part}\n"
        program = (small if cells_per_part else "") + COMMAND_LINE
        return FORKS.run(program, *words, cwd=self.folder, env=env)

    def start(self, *words: str, fault: str) -> subprocess.Popen[str]:
        """Start the command line and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "diurnal", *words],
            cwd=self.folder,
            env={**self.environment, "DIURNAL_FAULT": fault},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stores(self) -> Stores:
        settings = Settings.load(self.folder, {"DIURNAL_WAREHOUSE": self.warehouse_url})
        return open_stores(settings)

    def experiment(self, name: str = "clinic") -> Experiment:
        for module in [n for n, m in sys.modules.items() if str(self.folder) in str(getattr(m, "__file__", None))]:
            del sys.modules[module]  # it may have been declared anew
        return find(name, self.folder / "experiments")

    def run(self, date: str, stores: Stores, *, force: bool = False) -> RunResult:
        """Carry out one day in this process."""
        return run(RunContext(self.experiment(), day(date), stores, requested_by="test", force=force))
