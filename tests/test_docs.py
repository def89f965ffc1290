"""What the pages say has run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diurnal import flow
from diurnal.day import Day
from projects import Project, day

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])


def test_commands_page_is_what_the_program_says():
    code = "import sys; sys.path.insert(0, 'docs'); import generate; sys.stdout.write(generate.page())"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), "run `make docs`"


def test_readmes_experiment_runs(tmp_path, warehouse_url):
    shown = re.search(r"```python\n# experiments/titanic.py\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    project = Project.make(tmp_path / "project", warehouse_url)
    (project.folder / "experiments" / "titanic.py").write_text(shown[1])
    project.bring("2026-11-01", passengers(300))
    stores = project.stores()
    with stores.warehouse:
        outcome = flow.run(Day(project.experiment("titanic"), day("2026-11-01"), stores, by="test"))
    assert outcome.run["test_score"] > 0.7
    assert outcome.run["n_train"] + outcome.run["n_test"] == 300


def passengers(n):
    """Give rows with the columns of the table that README's experiment is about."""
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male"], n)
    return pd.DataFrame(
        {
            "PassengerId": np.arange(n),
            "Survived": (rng.random(n) < np.where(sex == "female", 0.8, 0.15)).astype(int),
            "Pclass": rng.choice([1, 2, 3], n),
            "Name": [f"Passenger {i}, Mr" for i in range(n)],
            "Sex": sex,
            "Age": np.where(rng.random(n) < 0.2, np.nan, rng.integers(1, 80, n)),
            "SibSp": rng.integers(0, 3, n),
            "Parch": rng.integers(0, 3, n),
            "Ticket": [f"A/5 {i}" for i in range(n)],
            "Fare": rng.gamma(2, 16, n).round(4),
            "Cabin": np.where(rng.random(n) < 0.8, None, "C85"),
            "Embarked": rng.choice(["S", "C", "Q", None], n, p=[0.7, 0.19, 0.1, 0.01]),
        }
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_in_a_page_exists():
    from diurnal.cli.commands import diurnal

    for page in PAGES:
        for word in re.findall(r"^diurnal (\w+)", page.read_text(encoding="utf-8"), re.M):
            assert word in diurnal.commands, f"{page.name} names `diurnal {word}`"
