"""What the pages say has run."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diurnal import Limits, errors, experiment
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import local_run
from diurnal.sources import Files
from projects import Project, day

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])


def test_written_pages_are_what_the_program_says():
    code = (
        "import sys, json; sys.path.insert(0, 'docs'); import generate; "
        "sys.stdout.write('\\0' + json.dumps({page.name: text for page, text in generate.pages().items()}))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name, text in json.loads(said.partition("\0")[2]).items():
        assert text == (ROOT / "docs" / name).read_text(encoding="utf-8"), f"{name}: run `make docs`"


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of pyspark, which pandera imports
def test_every_argument_of_experiment_has_an_example_that_is_allowed():
    code = "import sys, json; sys.path.insert(0, 'docs'); import generate; print('\\0' + json.dumps(generate.EXAMPLES))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    examples = json.loads(said.partition("\0")[2])
    parameters = inspect.signature(experiment).parameters.values()
    assert set(examples) == {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    import pandera.pandas

    names = {"Files": Files, "Limits": Limits, "pa": pandera.pandas}
    needed = {"source": Files("a.csv"), "target": "y", "window": "30d", "start_date": "2026-01-01"}
    for name, example in examples.items():
        given = eval(f"dict({example.partition('  #')[0]})", names)
        assert list(given) == [name]

        @experiment(**needed | given)
        def example():
            pass


def test_readmes_experiment_runs(tmp_path, warehouse_url):
    shown = re.search(r"```python\n# experiments/titanic.py\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    project = Project.make(tmp_path / "project", warehouse_url)
    (project.folder / "experiments" / "titanic.py").write_text(shown[1])
    project.bring("2026-11-01", passengers(300))
    stores = project.stores()
    with stores.warehouse:
        outcome = local_run.run(
            RunContext(project.experiment("titanic"), day("2026-11-01"), stores, requested_by="test")
        )
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


def test_every_error_is_promised():
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert raised | {"Problem"} == set(errors.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_in_a_page_exists():
    from diurnal.cli.commands import diurnal

    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S))
        name = "([a-z][a-z-]*)"
        for word in [*re.findall(f"^diurnal {name}", blocks, re.M), *re.findall(f"`diurnal {name}", text)]:
            assert word in diurnal.commands, f"{page.name} names `diurnal {word}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_project_that_a_page_names_exists(page):
    if page.parent.name == "decisions" or page.name == "CHANGELOG.md":
        return  # they speak of what was
    for name in re.findall(r"`((?:src|tests|docs|benchmarks|deploy|examples)/[\w./-]+\.\w+)`", page.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_in_a_page_exists(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.M):
        assert name in targets, f"{page.name} names `make {name}`"


def test_every_module_in_the_architecture_exists():
    modules = [f"/{path.as_posix()}" for path in (ROOT / "src" / "diurnal").rglob("*.py")]
    for name in re.findall(r"`([a-z_/]+\.py)", (ROOT / "ARCHITECTURE.md").read_text("utf-8")):
        assert any(module.endswith(f"/{name}") for module in modules), f"ARCHITECTURE.md names {name}"
