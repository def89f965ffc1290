"""The project's own functions and classes: found, trusted in the project, named in the version's row."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from diurnal.errors import ConfigurationError, InvalidModelError
from diurnal.experiment import find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.dry_run import dry_run
from diurnal.runtime.project_files import Codebase
from diurnal.storage.models import find_project_objects
from diurnal.storage.models.skops_format import FORMAT
from diurnal.storage.models.zip_archive import read_model_archive, write_archive
from projects import FORKS, Project, day

HELPERS = '''
from sklearn.base import BaseEstimator, TransformerMixin


class Ratio(TransformerMixin, BaseEstimator):
    """Add the first column divided by the second."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X.assign(ratio=X.iloc[:, 0] / (1 + X.iloc[:, 1].abs()))
'''

CLINIC = '''
from diurnal import experiment
from diurnal.sources import Files
from helpers import Ratio


def squared(X):
    """Give squares beside the numbers."""
    return X.join((X**2).add_suffix("_squared"))


@experiment(source=Files({pattern!r}), target="ill", key="patient", drop="ward")
def clinic():
    """Tell who is ill."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    steps = Ratio(), FunctionTransformer(squared), StandardScaler(), LogisticRegression()
    return GridSearchCV(make_pipeline(*steps), {{"logisticregression__C": [0.1, 1.0]}}, cv=3)
'''

OWN = ["experiments.clinic.squared", "experiments.helpers.Ratio"]


def with_helpers(folder: Path, url: str) -> Project:
    project = Project.make(folder, url)
    pattern = str(folder / "incoming" / "{start:%Y-%m-%d}.csv")
    (folder / "experiments" / "clinic.py").write_text(CLINIC.format(pattern=pattern))
    (folder / "experiments" / "helpers.py").write_text(HELPERS)
    return project


LOAD = """
import sys
import pandas as pd
import diurnal
trusted = sys.argv[2:]
model = diurnal.load_model("clinic@1", project=sys.argv[1], trusted=trusted)
rows = pd.DataFrame({"age": [70.0, 30.0], "pressure": [150.0, 90.0]})
print(*model.predict(rows))
"""


def loaded(folder: Path, project: Project, *trusted: str) -> subprocess.CompletedProcess[str]:
    """Load the model in a program of its own, which runs in a folder."""
    stores = {"DIURNAL_PROJECT": str(folder), "DIURNAL_MODELS": str(project.folder / "models")}
    return FORKS.run(LOAD, str(folder), *trusted, cwd=folder, env=project.environment | stores)


def test_a_day_with_own_code_is_published_and_loaded(tmp_path, warehouse_url):
    project = with_helpers(tmp_path / "project", warehouse_url)
    project.bring("2026-03-01")
    stores = project.stores()
    dry = dry_run(RunContext(project.experiment(), day("2026-03-01"), stores, requested_by="test"))
    assert (dry.tried, dry.faults) == (["Pipeline"], [])
    project.run("2026-03-01", stores)
    row = stores.warehouse.version("clinic", 1)
    assert row["signature"]["own_code"] == OWN
    card = json.loads((project.folder / "models" / row["path"] / "model.json").read_text())
    assert card["signature"]["own_code"] == OWN
    assert (row["trusted"], card["trusted"]) == ([], [])
    project.bring("2026-03-02")
    second = project.run("2026-03-02", stores)
    assert second.run["comparison"] is not None, "the champion is loaded, too"
    inside = loaded(project.folder, project)
    assert inside.stdout.split() == ["yes", "no"], inside.stderr

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "diurnal.toml").write_text("[diurnal]\n")
    rejected = loaded(elsewhere, project)
    assert "InvalidModelError" in rejected.stderr
    assert 'load_model(..., trusted=("experiments.clinic.squared", "experiments.helpers.Ratio",))' in rejected.stderr
    (elsewhere / "installed").symlink_to(project.folder)  # the other program has the code, as a library
    code = f"import sys; sys.path += [{str(project.folder)!r}, {str(project.folder / 'experiments')!r}]\n{LOAD}"
    own = {**project.environment, "DIURNAL_PROJECT": "", "DIURNAL_MODELS": str(project.folder / "models")}
    named = FORKS.run(code, str(elsewhere), *OWN, cwd=elsewhere, env=own)
    assert named.stdout.split() == ["yes", "no"], named.stderr
    stores.warehouse.close()


@pytest.fixture
def project(tmp_path):
    """Give a project's folder, whose modules this process forgets afterwards."""
    before, path = set(sys.modules), list(sys.path)
    (tmp_path / "diurnal.toml").write_text("[diurnal]\n")
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    (experiments / "helpers.py").write_text(HELPERS)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def imported(path: Path, name: str):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})


def fitted(cls):
    return make_pipeline(cls(), LogisticRegression()).fit(ROWS, [0, 1, 0, 1])


@pytest.mark.parametrize(
    "name", ["experiments.helpers", "helpers", "unusual_prefix_ab12_helpers", "experiments.helpers_0123abcd"]
)
def test_a_class_has_one_name_however_its_file_was_imported(project, name):
    code = Codebase.of([project, project / "experiments"])
    file = project / "experiments" / "helpers.py"
    model = fitted(imported(file, name).Ratio)
    assert find_project_objects(model, code) == ["experiments.helpers.Ratio"]
    data = FORMAT.dumps(model, code=code)
    assert b"unusual_prefix" not in data
    assert b'"experiments.helpers"' in data
    assert FORMAT.loads(data, code=code).predict(ROWS).tolist() == model.predict(ROWS).tolist()
    del sys.modules[name]  # as in the next process
    again = FORMAT.loads(data, code=code)
    assert again.predict(ROWS).tolist() == model.predict(ROWS).tolist()
    assert Path(sys.modules[type(again[0]).__module__].__file__) == file


def test_two_projects_in_one_process_have_each_its_own(project, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "diurnal.toml").write_text("")
    (other / "experiments").mkdir()
    (other / "experiments" / "helpers.py").write_text(HELPERS.replace("1 + X", "2 + X"))
    datas, codes = [], [Codebase.of([folder, folder / "experiments"]) for folder in (project, other)]
    for code in codes:
        model = fitted(code.load_module("experiments.helpers").Ratio)
        datas.append(FORMAT.dumps(model, code=code))
    ratios = [
        FORMAT.loads(data, code=code)[0].transform(ROWS)["ratio"].tolist()
        for data, code in zip(datas, codes, strict=True)
    ]
    assert ratios == [[1.0, 1.0, 3.0, 2.0], [0.5, 2 / 3, 1.5, 4 / 3]]


def test_a_model_may_hold_what_its_row_names_of_own_code_and_nothing_else(project):
    (project / "experiments" / "helpers.py").write_text(HELPERS + "\n\ndef remove_all(X):\n    raise SystemExit(3)\n")
    code = Codebase.of([project, project / "experiments"])
    model = fitted(code.load_module("experiments.helpers").Ratio)
    data = FORMAT.dumps(model, code=code)
    known = code.restrict_to(find_project_objects(model, code))
    assert FORMAT.loads(data, code=known)[0].n_features_in_ == 2
    members = read_model_archive(data)
    schema = members["schema.json"].replace(b'"__class__":"Ratio"', b'"__class__":"remove_all"')
    with pytest.raises(InvalidModelError, match=r"experiments\.helpers\.remove_all"):
        FORMAT.loads(write_archive(members | {"schema.json": schema}), code=known)
    with pytest.raises(InvalidModelError, match=r"experiments\.helpers\.Ratio"):
        FORMAT.loads(data)


@pytest.mark.parametrize("loader", ["ConstructorFromReduceNode", "ListNode", "LossNode", "SetNode", "TupleNode"])
def test_own_code_is_not_called_while_a_file_is_read(project, loader):
    (project / "experiments" / "helpers.py").write_text("def stop(*given):\n    raise SystemExit(3)\n")
    code = Codebase.of([project, project / "experiments"])
    empty = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}
    node = {"__class__": "stop", "__module__": "experiments.helpers", "__loader__": loader, "content": []}
    if loader in ("ConstructorFromReduceNode", "LossNode"):
        node |= {"content": empty, "__reduce__": {"args": empty}}
    with pytest.raises(InvalidModelError, match=r"not allowed: experiments\.helpers\.stop"):
        FORMAT.loads(write_archive({"schema.json": json.dumps(node | {"protocol": 2}).encode()}), code=code)


@pytest.mark.parametrize("place", ["data/evil.py", "models/evil.py", ".venv/evil.py", "env/lib/site-packages/evil.py"])
def test_data_and_what_is_installed_are_no_own_code(project, place):
    file = project / place
    file.parent.mkdir(parents=True)
    file.write_text("def f(X):\n    return X\n")
    code = Codebase.of([project, project / "experiments"], [project / "data", project / "models"])
    assert not code.contains(file)
    assert code.contains(project / "experiments" / "helpers.py")
    with pytest.raises(ConfigurationError, match="there is no module"):
        code.load_module(place.removesuffix(".py").replace("/", "."))


def test_a_project_in_a_folder_that_is_the_lake_has_its_code():
    here = Path(__file__).parent
    assert Codebase.of([here], [here]).contains(__file__)


def test_a_file_beside_the_experiment_takes_no_library_s_name(project):
    (project / "experiments" / "statistics.py").write_text("raise AssertionError('this is not the library')")
    (project / "experiments" / "toy.py").write_text(
        "from diurnal import experiment\n\n\n@experiment(source=lambda i: None, target='y')\ndef toy():\n"
        "    from statistics import mean\n    from helpers import Ratio\n    assert mean([1, 3]) == 2\n"
        "    return Ratio()\n"
    )
    declared = find("toy", project / "experiments").build()
    assert type(declared).__name__ == "Ratio"


def outside(X):
    return X


def inner():
    def hidden(X):
        return X

    class Hidden(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

    return hidden, Hidden


class Outer:
    class Inner(BaseEstimator):
        pass


decorated = np.vectorize(outside)
renamed = outside
outside = np.vectorize(outside)  # another object has this name now


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (FunctionTransformer(lambda X: X), "a lambda (line "),
        (FunctionTransformer(inner()[0]), "hidden is defined inside of inner() and cannot be imported"),
        (inner()[1](), "Hidden is defined inside of inner() and cannot be imported"),
        (Outer.Inner(), "Outer.Inner is defined inside of a class"),
        (FunctionTransformer(renamed), "outside is another object than the one in the model"),
    ],
)
def test_what_could_not_be_found_again_is_said_with_its_cure(part, said):
    with pytest.raises(InvalidModelError) as refused:
        FORMAT.check_types(make_pipeline(part, LogisticRegression()), code=Codebase.around(__file__))
    assert said in refused.value.message
    assert "at the top level of the experiment's file" in refused.value.hint


def test_every_reason_is_said_at_once():
    parts = [FunctionTransformer(lambda X: X), FunctionTransformer(inner()[0]), Outer.Inner()]
    with pytest.raises(InvalidModelError) as refused:
        FORMAT.check_types(make_pipeline(*parts))
    assert refused.value.message.count("\n  - ") == 3
    more = [FunctionTransformer(np.load), FunctionTransformer(np.save), LogisticRegression(C=(c for c in ()))]
    with pytest.raises(InvalidModelError) as refused:
        FORMAT.check_types(make_pipeline(*parts, *more))
    assert refused.value.message.count("\n  - ") == 4
    assert "a generator cannot be saved" in refused.value.message
    with pytest.raises(InvalidModelError) as refused:
        FORMAT.check_types(make_pipeline(parts[0], *more[:2]))
    assert refused.value.message.count("\n  - ") == 2
    assert "numpy.load, numpy.save" in refused.value.message


def digests(project: Path, **files: str) -> str:
    """Write files beside an experiment of a fresh project, and give the digest of its code."""
    (project / "experiments").mkdir(parents=True)
    (project / "diurnal.toml").write_text("[diurnal]\n")
    for name, text in files.items():
        (project / f"{name.replace('__', '/')}.py").write_text(text)
    return find("toy", project / "experiments").code_digest


TOY = """
import helpers
from experiments.shapes import Round
from shop import fetch

from diurnal import experiment


@experiment(source=fetch, target="y")
def toy():
    from lazy import late

    return helpers.make(Round, late)
"""
FILES = {
    "experiments__toy": TOY,
    "experiments__helpers": "from more import SIZE\n\n\ndef make(kind, late):\n    return kind\n",
    "experiments__shapes": "class Round:\n    '''A shape.'''\n",
    "lazy": "def late():\n    return 1\n",
    "more": "SIZE = 3\n",
    "shop": "def fetch(interval):\n    return interval\n\n\ndef other():\n    return 1\n",
    "unused": "VALUE = 1\n",
}


@pytest.mark.parametrize(
    ("file", "before", "after", "same"),
    [
        ("experiments__helpers", "return kind", "return kind, 1", False),
        ("experiments__shapes", "    '''A shape.'''", "    sides = 0", False),
        ("experiments__shapes", "A shape.", "Another text.", True),
        ("lazy", "return 1", "return 2", False),
        ("more", "SIZE = 3", "SIZE = 4", True),  # it is imported by a helper, which does not use it
        ("experiments__helpers", "return kind", "return kind, SIZE", False),
        ("shop", "    return 1", "    return 2", True),  # of a source function, its own code counts
        ("shop", "return interval", "return [interval]", False),
        ("unused", "VALUE = 1", "VALUE = 2", True),
    ],
)
def test_the_code_digest_covers_the_helpers_that_an_experiment_uses(tmp_path, file, before, after, same):
    modules, path = set(sys.modules), list(sys.path)
    results = []
    for n, files in enumerate((FILES, FILES | {file: FILES[file].replace(before, after)})):
        results.append(digests(tmp_path / str(n), **files))
        for name in set(sys.modules) - modules:
            del sys.modules[name]
        sys.path[:] = path
    assert (results[0] == results[1]) is same


def test_the_code_digest_of_an_experiment_without_helpers_is_as_it_was(tmp_path):
    """These were computed before helpers counted."""
    examples = Path(__file__).parents[2] / "examples"
    assert find("breast_cancer", examples / "breast_cancer" / "experiments").code_digest == (
        "c58deeb3fedd2b992c84128e81e88b69cc022387d204e1b1543adaa6903a748a"
    )
    assert find("turbines", examples / "turbines" / "experiments").code_digest == (
        "57b83c6ef0553837d4278df23b9d07225331760234f6d54c431b958efab16fd2"
    )
    plain = (
        "from diurnal import experiment\nfrom shop import fetch\nimport numpy.linalg\n"
        "from sklearn.dummy import DummyClassifier\n\n"
        "@experiment(source=fetch, target='y')\ndef toy():\n    '''Doc.'''\n    return 1\n"
    )
    assert digests(tmp_path / "plain", experiments__toy=plain, shop=FILES["shop"].partition("\n\n\n")[0] + "\n") == (
        "871677c09e53d04b37c5f3b71c1a739e02672c0548571a90295fb52a624c3e2e"
    )
