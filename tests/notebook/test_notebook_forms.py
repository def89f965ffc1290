"""Forms of notebooks: cells, searches and data, and the experiments that are extracted from them."""

import ast
import json
import sys

import pytest

import notebook_files
from diurnal.errors import UsageError
from diurnal.notebook import document, draft_experiment
from diurnal.notebook.chained_changes import assign_changes, find_assigned_changes
from diurnal.notebook.inlining import linearize_statements
from diurnal.notebook.magics import parse_python, replace_magics
from diurnal.notebook.script_options import PLACEHOLDER

HEAD = """
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, StandardScaler
df = pd.read_csv("clients.csv")
"""
FITTED = """
search = GridSearchCV(LogisticRegression(), {"C": [1]})
search.fit(df.drop(columns="y"), df["y"])
"""


@pytest.fixture
def take(tmp_path, monkeypatch):
    """Extract the experiment of a notebook with one cell."""
    monkeypatch.chdir(tmp_path)

    def taken(text, *, search=None, name="notebook.ipynb"):
        path = tmp_path / name
        path.write_text(notebook_files.notebook(f"# %%\n{text}") if path.suffix == ".ipynb" else text)
        draft = draft_experiment(
            path, "taken", search=search, project=tmp_path, file=tmp_path / "experiments" / "taken.py"
        )
        assert {one for one in notebook_files.find_undefined(draft.text) if not is_reported(draft, one)} == set()
        return draft

    return taken


def is_reported(draft, name):
    """Return whether a name is a placeholder, or named among what is to be filled in."""
    message = f"`{name}` is used but not defined"
    return name == PLACEHOLDER or any(message in item["what"] for item in draft.report.to_fill_in)


def body(draft):
    """Return the last lines of an experiment: its declaration and its function."""
    return draft.text[draft.text.index("@experiment") :]


def source(draft):
    """Return the source function of an experiment."""
    return draft.text[draft.text.index("def rows(") : draft.text.index("@experiment")]


# -- cells


@pytest.mark.parametrize(
    ("text", "python", "reasons"),
    [
        ("%matplotlib inline\nx = 1", "pass\nx = 1", ["a magic"]),
        ("!pip install \\\n   xgboost\nx = 1", "pass\n\nx = 1", ["a shell command"]),
        ("if gpu:\n    !nvidia-smi\n    %load_ext x", "if gpu:\n    pass\n    pass", ["a shell command", "a magic"]),
        ("%%time\nx = 1", "pass\nx = 1", []),
        ("%time search.fit(X, y)", "search.fit(X, y)", []),
        ("%timeit -n 10 -r 3 f(x)", "f(x)", []),
        ("%%bash\nls\nrm -rf /", "pass\n\n", ["a cell magic"]),
        ("\n%%writefile helpers.py\ndef f(): pass", "\npass\n", ["a cell magic"]),
        ("?df\ndf.drop?\ndf.drop??\nhelp", "pass\npass\npass\nhelp", ["help"] * 3),
        ("files = !ls\nx = %env HOME\nx", "pass\npass\nx", ["a magic or shell command"] * 2),
        ("pip install scikit-learn\nx = 1", "pass\nx = 1", ["a shell command"]),
        ("x = (a\n% b)\n%time", "x = (a\n% b)\npass", []),
        ('x = """\n%time\n!ls\n"""\n!ls', 'x = """\n%time\n!ls\n"""\npass', ["a shell command"]),
        ("x = '''a''' # ( [\n!ls", "x = '''a''' # ( [\npass", ["a shell command"]),
        ("x = a % b\ny = not_a_magic", "x = a % b\ny = not_a_magic", []),
    ],
)
def test_magics_become_pass(text, python, reasons):
    found, magics = replace_magics(text)
    assert found == python
    assert [magic.reason for magic in magics] == reasons
    parse_python(found)


def test_notebook_of_version_3_is_read(take, tmp_path):
    code = (HEAD + FITTED).split("\n")
    sheet = [
        {"cell_type": "heading", "level": 1, "source": "Old, but *good*"},
        {"cell_type": "code", "language": "python", "input": [line + "\n" for line in code], "outputs": []},
    ]
    content = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": sheet}]}
    (tmp_path / "old.ipynb").write_text(json.dumps(content))
    draft = draft_experiment(tmp_path / "old.ipynb", "old", project=tmp_path, file=tmp_path / "experiments" / "old.py")
    assert draft.text.startswith('"""Old, but good."""')
    assert "GridSearchCV(LogisticRegression()" in body(draft)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[]", "no cells"),
        ('{"cells": 3}', "not a list"),
        ('{"cells": [3]}', "cell 1 has no type"),
        ('{"cells": [{"cell_type": "code", "source": [1]}]}', "cell 1 has no type or no text"),
        ('{"worksheets": 1}', "not a list"),
        ("[" * 100_000, "not JSON"),
        ('{"cells": ' + "1" * 5_000 + "}", "not JSON"),
        ('{"cells": [], "metadata": {"kernelspec": {"language": "R", "name": "ir"}}}', "a notebook in R"),
        ('{"cells": [], "metadata": {"language_info": {"name": "julia"}}}', "a notebook in julia"),
        ('{"cells": [], "metadata": {"kernelspec": {"name": "ir"}}}', "a notebook in R"),
        ('{"cells": []}', "fits no search"),
    ],
)
def test_invalid_notebook_raises_usage_error(content, message, tmp_path):
    (tmp_path / "bad.ipynb").write_text(content)
    with pytest.raises(UsageError, match=message):
        draft_experiment(tmp_path / "bad.ipynb", "bad", project=tmp_path, file=tmp_path / "bad.py")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.R", b"x <- 1", r"\.ipynb\) or a Python script"),
        ("a.py", b"def f(:", "a.py:1: the script is not valid Python"),
        ("a.py", b"x = 1\0", "not valid Python"),
        ("a.py", b"\xff\xfe\xfa", "cannot be decoded as text"),
        ("a.py", b"# coding: klingon\nx = 1", "cannot be decoded as text"),
        ("a.py", b"x = " + b"(" * 5_000 + b")" * 5_000, "not valid Python|nested too deeply"),
        ("a.py", b"x = " + b"-" * 50_000 + b"1", "not valid Python|nested too deeply"),
        ("a.ipynb", b"\xff\xfe", "not JSON"),
    ],
)
def test_invalid_file_raises_usage_error(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        draft_experiment(tmp_path / name, "bad", project=tmp_path, file=tmp_path / "bad.py")


def test_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "MAX_BYTES", 10)
    (tmp_path / "large.ipynb").write_text(" " * 11)
    with pytest.raises(UsageError, match="clear the outputs"):
        draft_experiment(tmp_path / "large.ipynb", "large", project=tmp_path, file=tmp_path / "large.py")


def test_nothing_of_a_notebook_is_run(take, tmp_path):
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\n" + HEAD + FITTED + "\nfrom trap import *\nprint(unknown)"
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    take(text)
    assert not (tmp_path / "ran").exists()
    assert "trap" not in sys.modules


def test_cell_that_is_not_python_is_left_out(tmp_path):
    text = f"# %%\nprint 'Python 2'\n# %%{HEAD}{FITTED}"
    (tmp_path / "two.ipynb").write_text(notebook_files.notebook(text))
    draft = draft_experiment(tmp_path / "two.ipynb", "two", project=tmp_path, file=tmp_path / "two.py")
    left = draft.report.left_out[0]
    assert (left.cell, left.line, left.text) == (1, 1, "print 'Python 2'")
    assert "cannot be parsed" in left.reason


def test_script_of_nbconvert_keeps_what_its_magics_run(take):
    fit = FITTED.strip().replace("\n", "\\n")
    text = f"# # A title\n{HEAD}\nget_ipython().run_line_magic('matplotlib', 'inline')\n"
    draft = take(f"{text}get_ipython().run_cell_magic('time', '', '{fit}')", name="converted.py")
    assert 'return GridSearchCV(LogisticRegression(), {"C": [1]})' in body(draft).replace("'", '"')


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# %% [markdown]\n# Some words\n# # The *title* of [it](http://x.y)\n# %%", "The title of it."),
        ('"""What it does.\n\nMore.\n"""', "What it does."),
        ('# # 50 % of "quoted" \\\\ slashes', None),
    ],
)
def test_title_is_the_docstring(take, text, title):
    draft = take(f"{text}\n{HEAD}{FITTED}", name="script.py")
    assert (f'    """{title}"""' if title else '    """Experiment from script.py."""') in draft.text


# -- searches


def test_last_search_is_extracted_and_another_by_name(take):
    text = HEAD + "a = GridSearchCV(Ridge(), {'alpha': [1]})\na.fit(df[['x']], df.y)\n" + FITTED
    assert "LogisticRegression" in body(take(text))
    assert "Ridge" in body(take(text, search="a"))
    assert "select another one with --search: `a` (cell 1, line 13)" in "\n".join(take(text).report.notes)
    with pytest.raises(UsageError, match=r"it has: (search, a|a, search)"):
        take(text, search="b")


def test_value_at_the_time_of_the_fit_counts(take):
    draft = take(
        HEAD
        + "grid = {'C': [1]}\npipe = make_pipeline(StandardScaler(), LogisticRegression())\n"
        + "search = GridSearchCV(pipe, grid)\npipe.set_params(logisticregression__max_iter=7)\n"
        + "grid = {'C': [2]}\nsearch.cv = 4\nsearch.fit(df[['x']], df.y)\nsearch.cv = 9\npipe.set_params(memory='x')"
    )
    assert "max_iter=7" in body(draft)
    assert '"C": [1]' in body(draft)
    assert "search.cv = 4" in body(draft)
    assert not {"[2]", "cv = 9", "memory"} & set(body(draft).split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("for m in (Ridge(), LogisticRegression()):\n    m.fit(df[['x']], df.y)", "a loop over several estimators"),
        ("class A:\n    def f(self):\n        Ridge().fit(X, y)", "a method of the class A"),
        ("import tensorflow as tf\nm = tf.keras.Sequential([])\nm.fit(X, y)", "a neural network"),
        ("from sklearn.cluster import KMeans\nk = KMeans(3)\nk.fit(df)", "fitted without a target"),
        ("def f(x):\n    if x:\n        return Ridge().fit(X, y)\n    return None\nf(1)", "which cannot be inlined"),
        ("print(1)", "fits no search"),
    ],
)
def test_error_without_a_search_has_the_reasons(take, text, message):
    with pytest.raises(UsageError, match=message):
        take(HEAD + text)


def test_transformers_are_not_taken_for_the_estimator(take):
    draft = take(
        HEAD
        + "from sklearn.feature_selection import SelectKBest\nmodel = RandomForestClassifier()\n"
        + "model.fit(df[['x']], df.y)\nmodel.predict(df[['x']])\n"
        + "best = SelectKBest(k=1)\nbest.fit(df[['x']], df.y)\nbest.transform(df[['x']])"
    )
    assert "return RandomForestClassifier()" in body(draft)
    assert "`model` is an estimator without a search: a run tunes no parameters" in draft.report.notes


def test_estimator_built_from_a_fitted_search_is_not_extracted(take):
    draft = take(HEAD + FITTED + "final = LogisticRegression(**search.best_params_)\nfinal.fit(df[['x']], df.y)")
    assert "return GridSearchCV" in body(draft)


def test_search_that_is_never_fitted_leaves_its_rows_to_be_filled_in(take):
    draft = take(HEAD + "search = RandomizedSearchCV(Ridge(), {'alpha': [1]})\nsearch")
    assert "source=FILL_IN, target=FILL_IN" in body(draft)
    assert draft.report.to_fill_in[0]["line"] == draft.text[: draft.text.index("# FILL_IN")].count("\n") + 1
    assert "the notebook never fits `search`" in draft.report.notes


def test_branches_and_contexts_around_a_fit_are_followed():
    text = """
TUNE = False
with mlflow.start_run():
    try:
        if TUNE:
            a.fit(X, y)
        else:
            b.fit(X, y)
    except ValueError:
        c.fit(X, y)
"""
    assert [node.value.func.value.id for node in linearize_statements(parse_python(text).body)[1:]] == ["b"]


def test_functions_with_a_fit_are_inlined_with_unique_names():
    text = """
def train(model, X, depth=3):
    X = X.copy()
    tree = model(depth)
    tree.fit(X, y)
    return tree
X = 1
best = train(Tree, table, depth=X)
"""
    lines = [ast.unparse(node) for node in linearize_statements(parse_python(text).body)[1:]]
    assert lines == [
        "X = 1", "X_2 = table", "X_2 = X_2.copy()", "tree = Tree(X)", "tree.fit(X_2, y)", "best = tree"
    ]  # fmt: skip


def test_inlining_of_recursive_functions_ends():
    text = "def a(x):\n    b(x)\n    x.fit(X, y)\ndef b(x):\n    a(x)\n    a(x)\nfrom sklearn.svm import SVC\na(SVC())"
    linearize_statements(parse_python(text).body)


def test_last_function_is_read_where_nothing_calls_it(take):
    draft = take(HEAD + "def main(path, C=2.0):\n    df = pd.read_csv(path)\n"
                "    search = GridSearchCV(Ridge(C), {'alpha': [1]})\n"
                "    search.fit(df.drop(columns='y'), df['y'])")  # fmt: skip
    assert "C = 2.0" in body(draft)
    assert any("`path` is used" in hole["what"] for hole in draft.report.to_fill_in)


# -- what depends on the data


@pytest.mark.parametrize(
    ("columns", "selector"),
    [
        ('X.select_dtypes("number").columns', 'make_column_selector(dtype_include="number")'),
        ("X.select_dtypes(include=[np.number]).columns.tolist()", "make_column_selector(dtype_include=[np.number])"),
        ("list(X.select_dtypes(exclude=['object']))", 'make_column_selector(dtype_exclude=["object"])'),
        ("[c for c in X.columns if X[c].dtype == 'object']", 'make_column_selector(dtype_include="object")'),
        ("[c for c in X if X[c].dtype != 'O']", 'make_column_selector(dtype_exclude="object")'),
        (
            "[c for c in X.columns if X[c].dtype in ['int64', 'float64']]",
            'make_column_selector(dtype_include=["int64", "float64"])',
        ),
        (
            "[c for c in X.columns if pd.api.types.is_numeric_dtype(X[c])]",
            'make_column_selector(dtype_include=["number", "bool"])',
        ),
        ("X.columns.drop(X.select_dtypes('number').columns)", 'make_column_selector(dtype_exclude="number")'),
        ("X.columns.tolist()", "make_column_selector()"),
        ("list(X.drop(columns=['a', 'b.c']))", r'make_column_selector(pattern="^(?!(?:a|b\\.c)$)")'),
        ("df.select_dtypes('number').columns.drop('y')", 'make_column_selector(dtype_include="number")'),
    ],
)
def test_lists_of_columns_become_selectors_that_are_equal(take, columns, selector):
    draft = take(
        HEAD
        + f"X = df.drop(columns='y')\ncols = {columns}\npre = ColumnTransformer([('a', StandardScaler(), cols)])\n"
        + "search = GridSearchCV(make_pipeline(pre, Ridge()), {'ridge__alpha': [1]})\nsearch.fit(X, df['y'])"
    )
    assert f"cols = {selector}" in body(draft)
    assert "FILL_IN" not in body(draft)


@pytest.mark.parametrize(
    "columns",
    [
        "[c for c in X.columns if X[c].nunique() < 10]",
        "X.columns[:3]",
        "X.select_dtypes('number').columns[:2]",
        "[c for c in X.columns if X[c].dtype == 'object' and c != 'z']",
        "df2.select_dtypes('number').columns",
    ],
)
def test_lists_of_columns_without_an_equivalent_selector_are_placeholders(take, columns):
    draft = take(
        HEAD
        + f"df2 = df.assign(z=1)\nX = df.drop(columns='y')\ncols = {columns}\n"
        + "pre = make_column_transformer((StandardScaler(), cols))\n"
        + "search = GridSearchCV(make_pipeline(pre, Ridge()), {'ridge__alpha': [1]})\nsearch.fit(X, df['y'])"
    )
    assert "cols = FILL_IN" in body(draft)
    assert "(cell 1, line 14 of the notebook) depends on the data" in draft.report.to_fill_in[-1]["what"]


def test_features_that_are_named_stay_names(take):
    draft = take(
        HEAD
        + "X = df[['a', 'b']]\npre = make_column_transformer((StandardScaler(), list(X.columns)))\n"
        + "search = GridSearchCV(make_pipeline(pre, Ridge()), {'ridge__alpha': [1]})\nsearch.fit(X, df['y'])"
    )
    assert '(StandardScaler(), ["a", "b"])' in body(draft)


def test_numbers_computed_from_data_are_placeholders(take):
    draft = take(
        HEAD
        + "X = df.drop(columns='y')\nn = X.shape[1]\nhalf = n // 2\n"
        + "grid = {'pca__n_components': range(1, half)}\ngrid['pca__whiten'] = [len(X) > 100]\n"
        + "search = GridSearchCV(make_pipeline(PCA(), Ridge()), grid)\nsearch.fit(X, df['y'])"
    )
    assert "n = FILL_IN\n    half = n // 2" in body(draft)
    assert 'grid["pca__whiten"] = [FILL_IN]' in body(draft)
    assert "`X.shape[1]` (cell 1, line 13 of the notebook)" in draft.report.to_fill_in[-2]["what"]


def test_folds_that_are_listed_become_their_splitter(take):
    draft = take(
        HEAD
        + "X, y = df[['x']], df['y']\nfolds = list(StratifiedKFold(4, shuffle=True, random_state=0).split(X, y))\n"
        + "search = GridSearchCV(Ridge(), {'alpha': [1]}, cv=folds)\nsearch.fit(X, y)"
    )
    assert "folds = StratifiedKFold(4, shuffle=True, random_state=0)" in body(draft)


def test_lambdas_become_functions_of_the_module(take):
    draft = take(
        HEAD
        + "SHIFT = 1\nroot = lambda x: np.sqrt(x + SHIFT)\nkeys = sorted(['b', 'a'], key=lambda k: k)\n"
        + "pipe = Pipeline([('log', FunctionTransformer(lambda X: np.log(X))), ('root', FunctionTransformer(root)), "
        + "('cols', make_column_transformer((StandardScaler(), keys))), ('r', Ridge())])\n"
        + "search = GridSearchCV(pipe, {'r__alpha': [1]})\nsearch.fit(df[['x']], df['y'])"
    )
    assert "\nSHIFT = 1\n" in draft.text
    assert "\ndef root(x):\n    import numpy as np\n\n    return np.sqrt(x + SHIFT)\n" in draft.text
    assert "\ndef log(X):\n" in draft.text
    assert '("log", FunctionTransformer(log)), ("root", FunctionTransformer(root))' in " ".join(body(draft).split())
    assert "key=lambda k: k" in body(draft)


def test_settings_that_change_models_are_kept(take):
    draft = take(
        HEAD
        + "import sklearn\nsklearn.set_config(display='text')\nsklearn.set_config(transform_output='pandas')\n"
        + FITTED
    )
    assert 'sklearn.set_config(transform_output="pandas")' in body(draft)
    assert "display" not in body(draft)


def test_options_of_the_command_line_have_their_defaults(take):
    draft = take(
        "import argparse\np = argparse.ArgumentParser()\n"
        "p.add_argument('-c', '--inverse-penalty', type=float, default=1e-2)\n"
        "p.add_argument('--balanced', action='store_true')\np.add_argument('file')\nargs = p.parse_args()\n"
        + HEAD.replace('"clients.csv"', "args.file")
        + "model = LogisticRegression(C=args.inverse_penalty, verbose=args.balanced)\nmodel.fit(df[['x']], df['y'])"
    )
    assert "LogisticRegression(C=0.01, verbose=False)" in body(draft)
    assert "the command-line option inverse_penalty has the value 0.01" in draft.report.notes
    assert any("comes from the command line" in hole["what"] for hole in draft.report.to_fill_in)


# -- rows


@pytest.mark.parametrize(
    ("rows", "declared"),
    [
        ("X = df.drop('y', axis=1); y = df['y']", 'target="y"'),
        ("X = df.drop(columns=['y', 'id', 'Name (full)']); y = df.y", 'target="y", drop=("id", "Name (full)")'),
        ("y = df.pop('y'); X = df", 'target="y"'),
        ("y = df['y']; del df['y']; X = df.copy()", 'target="y"'),
        ("t = 'y'; X = df.loc[:, df.columns != t]; y = df.loc[:, t]", 'target="y"'),
        ("X = df[[c for c in df.columns if c not in ['y', 'i']]]; y = df[['y']].to_numpy()", 'target="y", drop="i"'),
        ("f = list(df.columns); f.remove('y'); X = df[f].to_numpy(); y = np.array(df['y'])", 'target="y"'),
        ("f = df.columns.drop(['y']); X, y = df[f], df['y']", 'target="y"'),
        ("df = df.drop(columns='id'); X = df.drop(columns='y'); y = df['y']", 'target="y", drop="id"'),
        ("d = df.sample(frac=1).reset_index(drop=True); X = d.drop(columns='y'); y = d.y", 'target="y"'),
    ],
)  # fmt: skip
def test_columns_of_a_file_are_declared(take, rows, declared):
    draft = take(HEAD + f"{rows}\nsearch = GridSearchCV(Ridge(), {{'alpha': [1]}})\nsearch.fit(X, y)")
    written = " ".join(body(draft).replace("(\n    ", "(").replace(",\n)", ")").split())
    assert declared in written.replace("keep_default_na=True, ", "")
    assert "Files(" in written


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("os.path.join(os.getcwd(), 'a.csv')", 'PROJECT / "a.csv"'),
        ("f'{os.getcwd()}/a.csv'", 'PROJECT / "a.csv"'),
        ("Path.cwd() / 'data' / 'a.csv'", 'PROJECT / "data/a.csv"'),
        ("Path('data').joinpath('a.csv')", 'PROJECT / "data/a.csv"'),
        ("os.path.abspath('a.csv')", 'PROJECT / "a.csv"'),
        ("Path(__file__).resolve().parent / 'a.csv'", 'PROJECT / "a.csv"'),
        ("os.path.join(os.path.dirname(os.path.abspath(__file__)), 'a.csv')", 'PROJECT / "a.csv"'),
        ("join(dirname(abspath(__file__)), 'a.csv')", 'PROJECT / "a.csv"'),
        ("Path(__file__).parents[1] / 'a.csv'", 'PROJECT / "../a.csv"'),
        ("os.path.join(os.path.dirname(__file__), os.pardir, 'data') + '/a.csv'", 'PROJECT / "../data/a.csv"'),
        ("'/data/a.csv'", '"/data/a.csv"'),
    ],
)
def test_paths_that_are_computed_from_that_of_the_notebook(take, path, read):
    draft = take(
        HEAD.replace('"clients.csv"', "PATH").replace("\nimport numpy", f"\nPATH = {path}\nimport numpy")
        + "df['b'] = df['a'] * 2\nRidge().fit(df[['a', 'b']], df['y'])",
        name="script.py",
    )
    assert f"pd.read_csv({read})" in source(draft)
    assert not any("PROJECT" in item["what"] for item in draft.report.to_fill_in)


def test_path_that_is_not_known_is_to_be_filled_in(take):
    draft = take(
        HEAD.replace('"clients.csv"', "find(__file__)") + "df['b'] = df['a'] * 2\nRidge().fit(df[['a', 'b']], df['y'])"
    )
    expected = "`__file__` is another path here; compute it from PROJECT"
    assert expected in [item["what"] for item in draft.report.to_fill_in]


def test_argument_without_effect_on_values_leaves_the_others(take):
    text = HEAD + "flag = input() == 'y'\ndf = pd.read_csv('clients.csv', low_memory=flag, sep=';')\n" + FITTED
    draft = take(text)
    assert 'delimiter=";"' in body(draft).replace("'", '"') or 'sep=";"' in body(draft).replace("'", '"')
    assert "low_memory=flag" in [left.text for left in draft.report.left_out]


@pytest.mark.parametrize(
    ("split", "size"),
    [
        ("X_a, X_b, y_a, y_b = train_test_split(X, y, test_size=0.2, stratify=y, random_state=1)", "test_size=0.2"),
        ("S = 0.15\nX_a, X_b, y_a, y_b = train_test_split(X, y, test_size=S)", "test_size=0.15"),
        ("X_a, X_b, y_a, y_b = train_test_split(X, y, train_size=0.8)", "test_size=0.2"),
        ("X_a, X_b, y_a, y_b = train_test_split(X, y)", "test_size=0.25"),
        ("X_a, X_b, y_a, y_b = train_test_split(X, y, test_size=50)", None),
        ("a, b = train_test_split(df, test_size=0.4)\nX_a, y_a = a.drop(columns='y'), a['y']", "test_size=0.4"),
        ("n = int(0.9 * len(df))\nX_a, y_a = X[:n], y[:n]", "test_size=0.1"),
        (
            "X_t, X_b, y_t, y_b = train_test_split(X, y, test_size=0.2)\n"
            "X_a, X_v, y_a, y_v = train_test_split(X_t, y_t, test_size=0.5)",
            "test_size=0.2",
        ),
    ],
)
def test_split_becomes_a_test_fraction(take, split, size):
    draft = take(HEAD + f"X, y = df.drop(columns='y'), df['y']\n{split}\nmodel = Ridge()\nmodel.fit(X_a, y_a)")
    assert (size in body(draft)) if size else ("test_size" not in body(draft))
    assert 'target="y"' in body(draft)
    assert "stratify" not in draft.text
    assert ("stratify=y" in [left.text for left in draft.report.left_out]) == ("stratify" in split)


def test_preparation_becomes_the_source_in_its_order(take):
    draft = take(
        HEAD
        + "df.columns = df.columns.str.lower()\ndf['ratio'] = df.a / df.b  # of both\nX_plot = df.sum()\ndf.hist()\n"
        + "df.loc[df.ratio > 9, 'ratio'] = 9\ndf = df.dropna()\ny = df['y'].map({'yes': 1, 'no': 0})\n"
        + "X = pd.get_dummies(df.drop(columns='y'))\nsearch = GridSearchCV(Ridge(), {'alpha': [1]})\nsearch.fit(X, y)"
    )
    assert [line for line in source(draft).split("\n") if line[4:5] not in ("", '"', "i") and line[0] == " "] == [
        '    df = pd.read_csv(PROJECT / "clients.csv")',
        "    df.columns = df.columns.str.lower()",
        "    df['ratio'] = df.a / df.b  # of both",
        '    df.loc[df.ratio > 9, "ratio"] = 9',
        "    df = df.dropna()",
        '    y = df["y"].map({"yes": 1, "no": 0})',
        '    X = pd.get_dummies(df.drop(columns="y"))',
        "    return X.assign(y=np.ravel(y))",
    ]
    assert "X_plot" not in draft.text
    assert 'target="y"' in body(draft)


def test_changes_after_the_split_are_reported(take):
    draft = take(
        HEAD
        + "X_a, X_b, y_a, y_b = train_test_split(df.drop(columns='y'), df['y'])\n"
        + "X_a['a'] = X_a['a'].fillna(X_a['a'].mean())\nX_b['a'] = X_b['a'].fillna(X_a['a'].mean())\n"
        + "model = Ridge()\nmodel.fit(X_a, y_a)"
    )
    assert 'X_a = df.drop(columns="y")' in source(draft)
    assert "X_b" not in source(draft)
    assert any("changes rows after the split" in note for note in draft.report.notes)


@pytest.mark.parametrize(
    ("fit", "pipeline"),
    [
        ("sc = StandardScaler()\nX = sc.fit_transform(X)\n", '[("sc", sc), ("model", search.estimator)]'),
        ("sc = StandardScaler().fit(X)\nX2 = sc.transform(X)\nX = X2\n", '[("sc", sc), ("model", search.estimator)]'),
        (
            "sc = StandardScaler()\nX = pd.DataFrame(sc.fit_transform(X), columns=X.columns)\n",
            '[("sc", sc.set_output(transform="pandas")), ("model", search.estimator)]',
        ),
        (
            "X = StandardScaler().fit_transform(X)\nX = PCA(2).fit_transform(X)\n",
            '[("standardscaler", StandardScaler()), ("pca", PCA(2)), ("model", search.estimator)]',
        ),
    ],
)
def test_what_is_fitted_before_the_search_goes_into_it(take, fit, pipeline):
    draft = take(
        HEAD
        + f"X, y = df[['a', 'b']], df['y']\n{fit}search = GridSearchCV(Ridge(), {{'alpha': [1]}})\nsearch.fit(X, y)"
    )
    assert f"search.estimator = Pipeline({pipeline})" in body(draft)
    assert 'search.param_grid = {f"model__{name}": values for name, values in search.param_grid.items()}' in body(draft)
    assert any("fits before the search" in note for note in draft.report.notes)


def test_imports_of_what_is_fitted_before_the_search_are_taken(take):
    draft = take(
        "import pandas as pd\nfrom sklearn import preprocessing\nfrom sklearn.linear_model import Ridge\n"
        "from sklearn.model_selection import GridSearchCV\ndf = pd.read_csv('clients.csv')\n"
        "X = preprocessing.StandardScaler().fit(df[['a', 'b']]).transform(df[['a', 'b']])\n"
        "GridSearchCV(Ridge(), {'alpha': [1]}).fit(X, df['y'])"
    )
    assert "    from sklearn import preprocessing\n" in body(draft)


def test_names_of_libraries_that_a_kernel_had_are_imported(take):
    draft = take(
        "df = pd.read_csv('clients.csv')\ndf['a'] = np.log1p(df['a'])\n"
        "search = GridSearchCV(Ridge(), {'alpha': [1]})\nsearch.fit(df[['a']], df['y'])"
    )
    assert "    import numpy as np\n    import pandas as pd\n" in source(draft)
    assert "    from sklearn.linear_model import Ridge\n    from sklearn.model_selection import GridSearchCV\n" in body(
        draft
    )
    expected = "`GridSearchCV` is not imported in the notebook; the experiment imports it from sklearn.model_selection"
    assert expected in draft.report.notes


def test_imports_of_a_later_cell_are_taken(take):
    draft = take(
        "import pandas as pd\ndf = pd.read_csv('clients.csv')\n"
        "search = GridSearchCV(scale(), {'alpha': [1]})\nsearch.fit(df[['a']], df['y'])\n"
        "from sklearn.model_selection import GridSearchCV\nfrom sklearn.linear_model import Ridge as scale"
    )
    assert "    from sklearn.linear_model import Ridge as scale\n" in body(draft)
    assert not any("is not imported" in note for note in draft.report.notes)


def test_names_that_are_defined_later_or_unknown_are_not_those_of_libraries(take):
    text = HEAD + "search = GridSearchCV(scale(Ridge()), {'alpha': [1]})\nsearch.fit(df[['a']], df['y'])\n"
    later = take(text + "def scale(x): return x")
    assert not any("is not imported" in note for note in later.report.notes)
    unknown = take(text.replace("scale", "shrink"))
    assert any("`shrink` is used but not defined" in item["what"] for item in unknown.report.to_fill_in)


def test_resampling_before_the_search_goes_into_it(take):
    draft = take(
        HEAD
        + "from imblearn.over_sampling import SMOTE\n"
        + "X_res, y_res = SMOTE(random_state=0).fit_resample(df[['a']], df['y'])\n"
        + "search = RandomizedSearchCV(Ridge(), {'alpha': [1]}, n_iter=1)\nsearch.fit(X_res, y_res)"
    )
    assert "from imblearn.pipeline import Pipeline" in body(draft)
    assert '("smote", SMOTE(random_state=0))' in body(draft)
    assert "search.param_distributions = " in body(draft)


def test_password_of_a_database_is_not_taken(take):
    draft = take(
        "from sqlalchemy import create_engine\nengine = create_engine('postgresql://bob:s3cret@db/Sales-2026')\n"
        + HEAD.replace('pd.read_csv("clients.csv")', "pd.read_sql('select *\\nfrom t', engine)\ndf['z'] = df.a")
        + FITTED
    )
    assert "s3cret" not in draft.text + json.dumps(draft.report.as_dict())
    assert 'query: Sql = Sql("select * from t", connection="sales_2026")' in draft.text
    assert "df = pa.Table.from_batches(self.query.read(interval, connections)).to_pandas()" in draft.text
    assert any("AIRFLOW_CONN_SALES_2026" in hole["what"] for hole in draft.report.to_fill_in)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("postgresql://bob:s3cret@db", "database"),
        ("postgresql://bob:s3cret@db/", "database"),
        ("sqlite:///data/shop.db", "shop"),
        ("mysql://u:s3cret@h/shop?x=s3cret", "shop"),
    ],
)
def test_connection_is_named_by_its_database(take, uri, name):
    text = HEAD.replace('pd.read_csv("clients.csv")', f"pd.read_sql('select 1', {uri!r})") + FITTED
    draft = take(text)
    assert f'Sql("select 1", connection="{name}")' in body(draft).replace("'", '"')
    assert "s3cret" not in draft.text


@pytest.mark.parametrize(
    ("load", "text"),
    [
        ("X, y = load_iris(return_X_y=True)", 'source=SklearnDataset("iris"), target="label"'),
        ("d = load_iris()\nX, y = d.data, d.target", 'source=SklearnDataset("iris"), target="label"'),
        ("d = load_iris(as_frame=True)\nX, y = d['data'], d.target", 'source=SklearnDataset("iris"), target="label"'),
        (
            "d = load_iris()\nX = pd.DataFrame(d.data, columns=d.feature_names)\ny = pd.Series(d.target)",
            'source=SklearnDataset("iris"), target="label"',
        ),
        ("d = load_iris(as_frame=True).frame\ny = d.pop('target')\nX = d", 'source=rows, target="target"'),
        ("X, y = fetch_openml('titanic', version=1, return_X_y=True, as_frame=True)", 'source=rows, target="target"'),
    ],
)  # fmt: skip
def test_data_sets_of_scikit_learn(take, load, text):
    imports = "from sklearn.datasets import load_iris, fetch_openml\n"
    draft = take(HEAD + f"{imports}{load}\nsearch = GridSearchCV(Ridge(), {{'alpha': [1]}})\nsearch.fit(X, y)")
    assert text in body(draft)


@pytest.mark.parametrize(
    "search",
    [
        "GridSearchCV(LogisticRegression(), {'C': [1]}, scoring='f1')",
        "GridSearchCV(LogisticRegression(class_weight={0: 1, 1: 2}), {'C': [1]})",
        "GridSearchCV(make_column_transformer((PCA(), ['mean radius'])), {})",
    ],
)
def test_searches_that_rely_on_names_or_numbers_of_a_data_set_get_these(take, search):
    draft = take(
        HEAD + f"from sklearn.datasets import load_breast_cancer\nX, y = load_breast_cancer(return_X_y=True)\n"
        f"search = {search}\nsearch.fit(X, y)"
    )
    assert "return load_breast_cancer(as_frame=True).frame" in draft.text


def test_names_of_positions_come_from_the_header_where_the_file_is_there(take, tmp_path):
    text = HEAD + "X = df.iloc[:, 1:-1]\ny = df.iloc[:, -1]\nmodel = Ridge()\nmodel.fit(X, y)"
    without = take(text)
    assert "return df.iloc[:, 1:-1].assign(target=np.ravel(df.iloc[:, -1]))" in without.text
    assert any("called `target` here" in note for note in without.report.notes)
    (tmp_path / "clients.csv").write_text("id,a,b,outcome\n1,2,3,4\n")
    assert 'target="outcome", drop="id"' in body(take(text))


def test_spark_reads_through_its_session(take):
    draft = take(
        "from pyspark.sql import SparkSession\nfrom pyspark.ml.feature import StringIndexer\n"
        "from pyspark.ml.classification import LogisticRegression\nfrom pyspark.ml import Pipeline\n"
        "from pyspark.ml.tuning import CrossValidator, ParamGridBuilder\nspark = SparkSession.builder.getOrCreate()\n"
        "df = spark.read.parquet('s3://b/x')\ndf = df.na.drop()\ntrain, test = df.randomSplit([3.0, 1.0], seed=1)\n"
        "lr = LogisticRegression(labelCol='label')\n"
        "pipe = Pipeline(stages=[StringIndexer(inputCol='Truth', outputCol='label'), lr])\n"
        "cv = CrossValidator(estimator=pipe, estimatorParamMaps=ParamGridBuilder().build(), numFolds=3)\n"
        "m = cv.fit(train)"
    )
    assert "def rows(spark, interval):" in draft.text
    assert "getOrCreate" not in draft.text
    assert 'target="Truth", test_size=0.25' in body(draft)


def test_own_modules_are_copied(take, tmp_path):
    (tmp_path / "helpers.py").write_text("import more\nfrom numpy import log\n")
    (tmp_path / "more.py").write_text("")
    draft = take(
        HEAD + "from helpers import Ratio\nsearch = GridSearchCV(Ratio(), {'a': [1]})\nsearch.fit(df[['x']], df['y'])"
    )
    assert {path.name for path in draft.modules} == {"helpers.py", "more.py"}
    assert "from helpers import Ratio" in body(draft)


def test_methods_of_own_objects_and_global_names_change_objects(take):
    draft = take(
        "import pandas as pd\nfrom sklearn.svm import SVC\nclass Clients:\n    def __init__(self, path):\n"
        "        self.df = pd.read_csv(path)\n    def clean(self):\n        self.df = self.df.dropna()\n"
        "clients = Clients('clients.csv')\nclients.clean()\nscale = 1\n"
        "def rescale():\n    global scale\n    scale = 2\n"
        "rescale()\ndf = clients.df\ndf['z'] = scale\nX, y = df.drop(columns='y'), df['y']\nSVC().fit(X, y)"
    )
    assert "clients.clean()" in source(draft)
    assert "rescale()" in source(draft)
    assert any("`rescale` assigns global names" in hole["what"] for hole in draft.report.to_fill_in)


def test_values_learned_from_each_batch_are_reported(take):
    draft = take(HEAD + "df['w'] = LabelEncoder().fit_transform(df['w'])\ndf = pd.get_dummies(df)\n" + FITTED)
    notes = [note for note in draft.report.notes if "depends on the rows of each batch" in note]
    assert [note.partition(":")[0] for note in notes] == ["cell 1, line 12", "cell 1, line 13"]
    draft = take(HEAD + "df['w'] = df['w'].astype('category')\n" + FITTED)
    assert any("stores the type `category` as text" in note for note in draft.report.notes)


def test_uploaded_file_is_read_by_its_name(take):
    text = "import io\nfrom google.colab import files\nuploaded = files.upload()\n" + HEAD.replace(
        '"clients.csv"', 'io.BytesIO(uploaded["clients.csv"])'
    )
    draft = take(text + FITTED)
    assert 'Files("clients.csv"' in body(draft)
    assert "uploaded" not in draft.text
    prepared = take(text + "df = df.dropna()\n" + FITTED)
    assert 'pd.read_csv(PROJECT / "clients.csv")' in source(prepared)


def test_order_of_chosen_features_is_the_notebooks(take, tmp_path):
    text = HEAD + "X = df[['b', 'a']]\npre = make_column_transformer((StandardScaler(), {}), remainder='passthrough')\n"
    text += "model = make_pipeline(pre, Ridge())\nmodel.fit(X, df['y'])"
    by_name, by_place = text.replace("{}", "['a']"), text.replace("{}", "[0]")
    assert "usecols=" in body(take(by_name))
    assert any("in the order of the file" in note for note in take(by_name).report.notes)
    assert 'return df[["b", "a", "y"]]' in source(take(by_place)).replace('pd.read_csv(PROJECT / "clients.csv")', "df")
    (tmp_path / "clients.csv").write_text("a,b,y\n1,2,3\n")
    assert '["b", "a", "y"]]' in source(take(by_name))
    (tmp_path / "clients.csv").write_text("b,a,y\n1,2,3\n")
    assert "usecols=" in body(take(by_place))


# -- pandas 3


@pytest.mark.parametrize(
    ("change", "assigned"),
    [
        ("df['a'].fillna(df['a'].mean(), inplace=True)", "df['a'] = df['a'].fillna(df['a'].mean())"),
        ("df.a.replace(['m', 'f'], [0, 1], inplace=True)", "df.a = df.a.replace(['m', 'f'], [0, 1])"),
        ("for c in cols:\n    df[c].ffill(inplace=True)", "for c in cols:\n    df[c] = df[c].ffill()"),
        ("def clean(t):\n    t['a'].clip(0, inplace=True)", "def clean(t):\n    t['a'] = t['a'].clip(0)"),
        ("df['a'][df['a'] > 5] = 5", "df.loc[df['a'] > 5, 'a'] = 5"),
        ("df.a[df.b.isna()] += 5", "df.loc[df.b.isna(), 'a'] += 5"),
        ("df['a'].loc[rows] = 5", "df.loc[rows, 'a'] = 5"),
        # these change what they name, or did not in earlier versions either, or may be of a dict
        ("df.drop(columns='a', inplace=True)", None),
        ("df['a'].dropna(inplace=True)", None),
        ("df[['a', 'b']].fillna(0, inplace=True)", None),
        ("df.loc[rows, 'a'].fillna(0, inplace=True)", None),
        ("cols = ['a', 'b']\ndf[cols].fillna(0, inplace=True)", None),
        ("df['a'].fillna(0, inplace=False)", None),
        ("config['model']['depth'] = 3", None),
        ("self.counts[name] = 3", None),
        ("data = {'y': y, 'late': late}\ndata['y'][data['late']] = 0", None),
        ("df['a'][1:3] = 0", None),
    ],
)
def test_changes_of_a_column_become_changes_of_its_frame(change, assigned):
    nodes = parse_python(change).body
    found = assign_changes(nodes)
    assert "\n".join(map(ast.unparse, found)) == (assigned or change)
    assert len(find_assigned_changes(found)) == (assigned is not None)
    assert "\n".join(map(ast.unparse, nodes)) == change


def test_changes_of_a_column_take_effect_in_the_source(take, tmp_path):
    draft = take(
        HEAD
        + "df['a'].fillna(df['a'].median(), inplace=True)  # often without a value\ndf['b'][df['b'] < 0] = 0\n"
        + "search = GridSearchCV(Ridge(), {'alpha': [1]})\nsearch.fit(df[['a', 'b']], df['y'])"
    )
    (tmp_path / "clients.csv").write_text("a,b,y\n1,-2,0\n,3,1\n5,4,1\n")
    namespace = {"__file__": str(tmp_path / "experiments" / "taken.py"), "__name__": "taken"}
    exec(compile(draft.text, "taken.py", "exec"), namespace)
    frame = namespace["rows"](None)
    assert frame[["a", "b"]].to_numpy().tolist() == [[1.0, 0.0], [3.0, 3.0], [5.0, 4.0]]
    assert sum("changes a copy since pandas 3" in note for note in draft.report.notes) == 2
