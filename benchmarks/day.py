"""What a local day costs beside its fits: against the bare notebook of the same work, in the same run.

All are whole processes, started in turn, on the embedded warehouse once it is up. The notebook does the tutorial's
work and nothing else: load the data, split, search, score, refit on all rows, save with joblib. A second notebook does
the same with diurnal's search in place of GridSearchCV's own fit: what a day takes above that is what it costs beside
its fits. A day of a backfill is a twentieth of what 21 days take above one; its fits are those of a notebook that has
them repeated.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXPERIMENT = Path(__file__).parents[1] / "examples" / "breast_cancer"

NOTEBOOK = """
import sys
sys.path.insert(0, {project!r})
import joblib
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from experiments.breast_cancer import breast_cancer

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
with threadpool_limits(1):
    search = {fit}
    print(search.score(X_test, y_test))
    model = clone(search.best_estimator_).fit(X, y)
joblib.dump(model, {target!r})
"""

WARM = """
import statistics, time
took = []
for _ in range(5):
    began = time.perf_counter()
    with threadpool_limits(1):
        search = {fit}
        clone(search.best_estimator_).fit(X, y)
    took.append(time.perf_counter() - began)
print(statistics.median(took))
"""


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    run(command, folder)
    return time.perf_counter() - started


def measure_backfill(diurnal: str, project: Path, notebook: str, repeats: int) -> tuple[float, float]:
    """Return the seconds of a day of a backfill, and of its fits."""
    backfill = [diurnal, "backfill", "breast_cancer", "--force", "--from", "2026-03-01", "--to"]
    days, fits = [], []
    for _ in range(repeats):
        one, many = (seconds([*backfill, f"2026-03-{last:02d}"], project) for last in (1, 21))
        days.append((many - one) / 20)
        fits.append(float(run([sys.executable, "-c", notebook], project).splitlines()[-1]))
    return statistics.median(days), statistics.median(fits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    diurnal = str(Path(sys.executable).with_name("diurnal"))
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        shutil.copytree(EXPERIMENT, project, ignore=shutil.ignore_patterns("data", "models", "__pycache__"))
        Path(scratch).chmod(0o711)  # as root, the server's own account passes through it
        words = {"project": str(project), "target": str(Path(scratch) / "model.joblib")}
        theirs = NOTEBOOK.format(**words, fit="breast_cancer().fit(X_train, y_train)")
        fits = "__import__('diurnal.search').search.tune(breast_cancer(), X_train, y_train)"
        shared = NOTEBOOK.format(**words, fit=fits)
        os.environ["DIURNAL_PROJECT"] = str(project)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the modules of an installed package are compiled once
        subprocess.run([diurnal, "warehouse", "start"], check=True, stdout=subprocess.DEVNULL)
        try:
            day = [diurnal, "run", "breast_cancer", "--next", "--force"]  # a batch that is tuned on, as new rows are
            seconds(day, project)  # the first day makes the tables
            commands = [[sys.executable, "-c", theirs], [sys.executable, "-c", shared], day]
            times = [[seconds(command, project) for command in commands] for _ in range(repeats)]
            backfilled, warm = measure_backfill(diurnal, project, shared + WARM.format(fit=fits), max(1, repeats // 2))
            help_ = [seconds([diurnal, "--help"], project) for _ in range(repeats)]
        finally:
            subprocess.run([diurnal, "warehouse", "stop"], check=True, stdout=subprocess.DEVNULL)
    bare, fitted, ours = (statistics.median(column) for column in zip(*times, strict=True))
    beside = statistics.median(row[2] - row[1] for row in times)
    print(f"the notebook                 {bare:6.2f} s   (median of {repeats})")
    print(f"the same, with our search    {fitted:6.2f} s   {fitted / bare:.2f} x")
    print(f"diurnal run                  {ours:6.2f} s   {ours / bare:.2f} x")
    print(f"a day costs beside its fits  {beside:6.2f} s   (aim: 0.6 s)")
    print(f"a day of a backfill          {backfilled:6.2f} s   {backfilled - warm:.2f} s beside its fits (aim: 0.25 s)")
    print(f"diurnal --help               {statistics.median(help_):6.2f} s")


if __name__ == "__main__":
    main()
