"""`diurnal init --from`: which files it writes, where, and what it prints."""

import json
import sys

import pytest

import notebook_files
from diurnal.cli import main
from diurnal.experiment import find


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a notebook, the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIURNAL_PROJECT", raising=False)
    notebook_files.bring_data(tmp_path, 30)
    notebook_files.write("several_searches", tmp_path)
    yield tmp_path
    for name in [n for n, m in sys.modules.items() if str(tmp_path) in str(getattr(m, "__file__", None))]:
        del sys.modules[name]


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the command line in this process; return its status, its output and its standard error."""

    def called(*words):
        monkeypatch.setattr(sys, "argv", ["diurnal", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return called


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_new_project_is_made_around_the_experiment(folder, call):
    status, out, err = call("init", "made", "--from", "several_searches.ipynb")
    assert (status, err) == (0, "")
    assert files(folder / "made") == [
        ".gitignore", "README.md", "dags/several_searches.py", "diurnal.toml", "experiments/several_searches.py"
    ]  # fmt: skip
    assert 'build_dag("several_searches")' in (folder / "made" / "dags" / "several_searches.py").read_text()
    assert "Next: cd made && diurnal check several_searches" in out
    assert "wrote made/experiments/several_searches.py" in out


def test_experiment_is_added_to_the_project_around(folder, call, monkeypatch):
    (folder / "diurnal.toml").write_text('[diurnal]\nexperiments = "src/experiments"\n')
    (folder / "notebooks").mkdir()
    notebook_files.write("loans", folder).rename(folder / "notebooks" / "03 - Churn (final).ipynb")
    monkeypatch.chdir(folder / "notebooks")
    before = files(folder)
    status, out, _ = call("init", "--from", "03 - Churn (final).ipynb")
    assert status == 0
    assert set(files(folder)) - set(before) == {"src/experiments/churn_final.py", "dags/churn_final.py"}
    assert "PROJECT = Path(__file__).parents[2]" in (folder / "src" / "experiments" / "churn_final.py").read_text()
    assert "Next: diurnal check churn_final" in out


def test_what_is_there_is_kept_unless_forced(folder, call):
    (folder / "README.md").write_text("ours")
    assert call("init", ".", "--from", "several_searches.ipynb")[0] == 0
    assert (folder / "README.md").read_text() == "ours"
    status, _, err = call("init", ".", "--from", "several_searches.ipynb", "--search", "knn_search")
    assert status == 2
    assert "experiments/several_searches.py" in err
    assert "overwrite them with --force" in err
    assert "DecisionTree" in (folder / "experiments" / "several_searches.py").read_text()
    assert call("init", ".", "--from", "several_searches.ipynb", "--search", "knn_search", "--force")[0] == 0
    assert "KNeighbors" in (folder / "experiments" / "several_searches.py").read_text()


def test_dry_run_prints_python_and_writes_nothing(folder, call):
    before = files(folder)
    status, out, err = call("init", "--from", "several_searches.ipynb", "--name", "other", "--dry-run")
    assert (status, files(folder)) == (0, before)
    compile(out, "other.py", "exec")
    assert "def other():" in out
    assert "Left out" in err


def test_report_names_the_place_of_everything(folder, call):
    out = call("init", "--from", "several_searches.ipynb")[1]
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert any(row.startswith("search tree_search = GridSearchCV(") and row.endswith("cell 3, line 3") for row in rows)
    assert "test_size 0.3 cell 1, line 10" in rows
    row = 'cell 2, lines 1-2 param_grid = {"n_neighbors": list(range(1, 8, 2))} the search does not depend on it'
    assert row in rows
    assert "cell 2, line 3 knn_search.fit(X_train, y_train) a fit: each run fits the search" in rows
    assert any(row.startswith("experiments/several_searches.py:") for row in rows)
    assert "`tree_search` was extracted; select another one with --search: `knn_search` (cell 2, line 3)" in rows


def test_json_has_all_of_it(folder, call):
    made = json.loads(call("init", "--from", "several_searches.ipynb", "--json")[1])
    assert made["name"] == "several_searches"
    assert {"written", "taken", "left_out", "to_fill_in", "notes", "next"} <= set(made)
    assert {"cell": 2, "line": 3, "last_line": 3, "text": "knn_search.fit(X_train, y_train)",
            "reason": "a fit: each run fits the search"} in made["left_out"]  # fmt: skip
    dry = json.loads(call("init", "--from", "several_searches.ipynb", "--json", "--dry-run", "--name", "x")[1])
    assert dry["written"] == []
    assert "def x():" in dry["text"]


def test_experiment_that_is_taken_passes_the_check(folder, call):
    assert call("init", "--from", "several_searches.ipynb")[0] == 0
    status, out, err = call("check", "several_searches")
    assert (status, err) == (0, "")
    assert "GridSearchCV" in out


def test_hole_is_an_error_of_the_check_with_its_line(folder, call):
    text = "# %%\nfrom sklearn.svm import SVC\nfrom sklearn.model_selection import GridSearchCV\n"
    text += "s = GridSearchCV(SVC(), {})"
    (folder / "unfitted.ipynb").write_text(notebook_files.notebook(text))
    made = json.loads(call("init", "--from", "unfitted.ipynb", "--json")[1])
    status, _, err = call("check", "unfitted")
    assert status == 2
    assert f"unfitted.py:{made['to_fill_in'][0]['line'] + 1}: the import fails with NameError: name 'FILL_IN'" in err


def test_data_beside_the_notebook_are_found_from_the_project(folder, call, monkeypatch):
    (folder / "nb").mkdir()
    for name in ("several_searches.ipynb", "customers.csv"):
        (folder / name).rename(folder / "nb" / name)
    assert call("init", "project", "--from", "nb/several_searches.ipynb")[0] == 0
    text = (folder / "project" / "experiments" / "several_searches.py").read_text()
    assert '"../nb/customers.csv"' in text
    monkeypatch.chdir(folder / "project")
    source = find("several_searches", folder / "project" / "experiments").source
    if callable(source):
        assert len(source(None)) == 30


def test_own_modules_are_copied_once(folder, call):
    text = "# %%\nimport pandas as pd\nfrom tools.more import Model\ndf = pd.read_csv('customers.csv')\n"
    text += "m = Model()\nm.fit(df[['tenure']], df.churned)\n"
    (folder / "uses.ipynb").write_text(notebook_files.notebook(text))
    (folder / "tools").mkdir()
    (folder / "tools" / "more.py").write_text("class Model: ...\n")
    status, out, _ = call("init", "made", "--from", "uses.ipynb")
    assert (status, "wrote made/tools/more.py" in out) == (0, True)
    assert (folder / "made" / "tools" / "more.py").read_text() == "class Model: ...\n"
    assert call("init", "made", "--from", "uses.ipynb", "--name", "again")[0] == 0
    (folder / "tools" / "more.py").write_text("class Model: pass\n")
    status, _, err = call("init", "made", "--from", "uses.ipynb", "--name", "third")
    assert (status, "tools/more.py" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["init"], "Missing argument 'FOLDER'"),
        (["init", "x", "--search", "a"], "--search needs --from"),
        (["init", "x", "--dry-run"], "--dry-run needs --from"),
        (["init", "--from", "missing.ipynb"], "does not exist"),
        (["init", "--from", "several_searches.ipynb", "--search", "tre_search"], "did you mean 'tree_search'"),
        (["init", "--from", "several_searches.ipynb", "--name", "Not a name"], "is not a valid name of an experiment"),
        (["init", "--from", "several_searches.ipynb", "--name", "lambda"], "no keyword of Python"),
        (["init", "--from", "customers.csv"], "is not a Jupyter notebook"),
    ],
)
def test_wrong_calls_are_status_2(folder, call, words, said):
    before = files(folder)
    status, _, err = call(*words)
    assert (status, files(folder)) == (2, before)
    assert said in err


def test_new_project_without_a_notebook_is_as_before(folder, call):
    made = json.loads(call("init", "class", "--json")[1])
    assert made["name"] == "experiment_class"
    assert call("init", "class")[0] == 2
    assert call("init", "class", "--force")[0] == 0
