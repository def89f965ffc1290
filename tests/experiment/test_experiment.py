import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import diurnal
from diurnal import Limits, experiment
from diurnal.errors import ExperimentError, NotFoundError
from diurnal.experiment import Experiment, discover, find
from diurnal.types.drift_thresholds import DriftThresholds

HEAVY = "sklearn pandas numpy pyarrow sqlalchemy scipy skops alembic adbc_driver_manager psycopg croniter rich click"


def rows(interval):
    raise AssertionError("nothing is read when an experiment is declared")


def declare(function=None, **arguments):
    def toy():
        """Tell one from the other."""
        from sklearn.dummy import DummyClassifier

        return DummyClassifier()

    return experiment(**{"source": rows, "target": "label", **arguments})(function or toy)


def project(tmp_path, **files):
    folder = tmp_path / "experiments"
    folder.mkdir(parents=True)
    for stem, text in files.items():
        (folder / f"{stem}.py").write_text(text, encoding="utf-8")
    return folder


def toy(name="toy", arguments="", body="return 1", extra=""):
    return (
        f"from diurnal import experiment\n{extra}\n\n@experiment(source=lambda i: None, target='y'{arguments})\n"
        f"def {name}():\n    '''Doc.'''\n    {body}\n"
    )


def test_declaring_keeps_everything_in_one_form():
    made = declare(key="id", drop=["note", "extra"], start_date="2026-01-01", tags="demo", test_size=1 / 4)
    assert (made.name, made.description, made.file) == ("toy", "Tell one from the other.", __file__)
    assert (made.key, made.drop, made.tags, made.trusted_types) == (("id",), ("note", "extra"), ("demo",), ())
    assert made.start_date == datetime(2026, 1, 1, tzinfo=UTC)
    assert (made.schedule, made.window, made.retries, made.limits) == ("@daily", 1, 5, Limits())
    assert made.build().__class__.__name__ == made().__class__.__name__ == "DummyClassifier"
    assert Path(__file__).read_text(encoding="utf-8").splitlines()[made.line - 1].strip() == "def toy():"


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        (None, DriftThresholds(0.1)),
        (0.2, DriftThresholds(0.2)),
        (False, DriftThresholds(None)),
        ({"age": 1, "note": False}, DriftThresholds(0.1, {"age": 1.0, "note": None})),
    ],
)
def test_drift_has_thresholds_that_are_no_part_of_the_code(tmp_path, drift, expected):
    assert declare(drift=drift).drift == expected
    before = find("toy", project(tmp_path, toy=toy()))
    after = find("toy", project(tmp_path / "other", toy=toy(arguments=f", drift={drift!r}")))
    assert after.code_digest == before.code_digest


@pytest.mark.parametrize("start", [date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"])
def test_a_start_date_may_be_written_in_several_ways(start):
    assert declare(start_date=start).start_date == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tset_size": 0.3}, "no argument 'tset_size'; did you mean 'test_size'"),
        ({"test_size": 1}, "between 0 and 1"),
        ({"test_size": True}, "a bool"),
        ({"test_size": float("nan")}, "between 0 and 1"),
        ({"test_size": "0.3"}, "a str"),
        ({"sample": 1}, "write sample=1.0 for all rows"),
        ({"sample": 0}, "a fraction of the rows, above 0 and at most 1.0, or a number of rows"),
        ({"sample": 1.5}, "at most 1.0"),
        ({"sample": True}, "a bool"),
        ({"sample": float("nan")}, "above 0"),
        ({"sample": "10%"}, "a str"),
        ({"target": "La\nbel"}, "without control characters"),
        ({"target": 3}, "the name of a column"),
        ({"key": ("id", "id")}, "different columns"),
        ({"key": "label"}, "the target 'label' is in key"),
        ({"drop": ("a", "label")}, "the target 'label' is in drop"),
        ({"drop": 7}, "a list of texts"),
        ({"label_delay": "soon"}, "a duration in whole seconds"),
        ({"label_delay": 7}, "a duration in whole seconds"),
        ({"label_delay": timedelta(days=-1)}, "a duration in whole seconds"),
        ({"promotion": "prove"}, "did you mean 'proven'"),
        ({"promotion": "gaurded"}, "did you mean 'guarded'"),
        ({"schedule": "@dialy"}, "did you mean '@daily'"),
        ({"schedule": "0 0 30 2 *"}, "none of these months has"),
        ({"start_date": "yesterday"}, "neither a date"),
        ({"start_date": datetime(2026, 1, 1)}, "with a timezone"),  # noqa: DTZ001 - that is the test
        ({"catchup": True}, "needs a start_date"),
        ({"catchup": 1}, "True or False"),
        ({"window": 0}, "a duration or 'all'"),
        ({"window": True}, "a duration or 'all'"),
        ({"window": "30x"}, "a duration or 'all'"),
        ({"window": "al"}, "did you mean 'all'"),
        ({"n_tuning_shards": 0}, "at least 1"),
        ({"retries": -1}, "at least 0"),
        ({"max_active_runs": 1.0}, "at least 1"),
        ({"source": 5}, "a Source .it has .read. or a function"),
        ({"source": Path}, "not its class"),
        ({"source": lambda: None}, "a function of one DataInterval"),
        ({"source": lambda a, b: None}, "a function of one DataInterval"),
        ({"checks": object()}, "validate"),
        ({"limits": {"max_rows": 3}}, "a diurnal.Limits"),
        ({"drift": True}, "an effect size above 0, or False"),
        ({"drift": 0}, "an effect size above 0, or False"),
        ({"drift": float("nan")}, "an effect size above 0, or False"),
        ({"drift": "0.2"}, "a str"),
        ({"drift": {"age": -1}}, "drift.'age'.=-1"),
        ({"drift": {3: 0.1}}, "names of columns"),
        ({"owner": ""}, "not empty"),
        ({"trusted_types": [1]}, "a list of texts"),
    ],
)
def test_a_wrong_argument_is_refused_when_it_is_written(arguments, said):
    with pytest.raises(ExperimentError, match=said) as caught:
        declare(**arguments)
    assert f"{__file__}:" in caught.value.location
    assert "'toy'" in caught.value.location


@pytest.mark.parametrize(
    ("old", "new", "value"), [("trusted", "trusted_types", ("a.B",)), ("tuning_tasks", "n_tuning_shards", 4)]
)
def test_a_deprecated_argument_is_an_alias_that_leaves_the_code_as_it_is(tmp_path, old, new, value):
    folder = project(tmp_path, toy=toy(arguments=f", {old}={value!r}"))
    with pytest.warns(DeprecationWarning, match=f"{old}=. is deprecated; use @experiment.{new}=") as warned:
        before = find("toy", folder)
    assert warned[0].filename == str(folder / "toy.py")
    assert getattr(before, new) == value
    after = find("toy", project(tmp_path / "other", toy=toy(arguments=f", {new}={value!r}")))
    assert (after.code_digest, getattr(after, new)) == (before.code_digest, value)
    with pytest.raises(ExperimentError, match=f"deprecated name of {new}=; both are set"):
        declare(**{old: value, new: value})


@pytest.mark.parametrize("missing", ["source", "target"])
def test_source_and_target_are_needed(missing):
    given = {"source": rows, "target": "y"}
    del given[missing]
    with pytest.raises(ExperimentError, match=f"needs {missing}="):
        experiment(**given)(lonely)


def test_the_bare_decorator_says_how_to_write_it():
    with pytest.raises(ExperimentError, match="by name") as caught:
        experiment(rows)
    assert "@experiment(source=..., target=...)" in caught.value.hint


def lonely():
    return 1


async def asynchronous():
    return 1


def generating():
    yield 1


def Upper():  # noqa: N802 - that is the test
    return 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (asynchronous, "is async"),
        (generating, "yields"),
        (rows, "takes arguments"),
        (Upper, "not a valid name"),
        (int, "a type"),
    ],
)
def test_a_wrong_function_is_refused(function, said):
    with pytest.raises(ExperimentError, match=said):
        declare(function)


def test_promotions_are_those_that_can_be_decided():
    from diurnal.experiment.arguments import PROMOTIONS
    from diurnal.promotion.decision import POLICIES

    assert set(PROMOTIONS) == set(POLICIES)


def test_build_refuses_what_cannot_be_fitted(tmp_path):
    files = {"empty": "pass", "number": "return 3", "kind": "from fractions import Fraction; return Fraction"}
    folder = project(tmp_path, **{name: toy(name, body=body) for name, body in files.items()})
    for name, said in (("empty", "did you forget `return`"), ("number", "a int: 3"), ("kind", "the class Fraction")):
        with pytest.raises(ExperimentError, match=said):
            find(name, folder).build()


def test_build_names_the_line_that_fails(tmp_path):
    folder = project(tmp_path, failing=toy("failing", body="x = {}\n    return x['missing']"))
    with pytest.raises(ExperimentError, match=r"failing\.py:8: failing\(\) fails with KeyError") as caught:
        find("failing", folder).build()
    assert isinstance(caught.value.__cause__, KeyError)


BASE = toy(extra="FOLDS = 3\n\ndef helper():\n    return FOLDS", body="return helper()")
OTHER = "\n\n@experiment(source=lambda i: None, target='z')\ndef other():\n    return 2\n"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("# a comment\n" + BASE.replace("return helper()", "return  (helper( ))  # so"), True),
        (BASE.replace("'''Doc.'''", "'''Another.'''"), True),
        (BASE.replace("target='y'", "target='y', schedule=None, retries=0, promotion='never', tags='x'"), True),
        (BASE + OTHER, True),
        (BASE.replace("FOLDS = 3", "FOLDS = 4"), False),
        (BASE.replace("    return FOLDS", "    return FOLDS + 1"), False),
        (BASE.replace("target='y'", "target='x'"), False),
        (BASE.replace("target='y'", "target='y', test_size=0.2"), False),
        (BASE.replace("target='y'", "target='y', sample=0.5"), False),
        (BASE.replace("target='y'", "target='y', window='7d'"), False),
        (BASE.replace("target='y'", "target='y', drop='a'"), False),
        (BASE.replace("source=lambda i: None", "source=lambda i: 1"), False),
        (BASE.replace("\n\n@experiment", "\n\nfrom functools import partial\n\n@experiment"), False),
    ],
)
def test_the_code_digest_follows_the_numbers(tmp_path, text, same):
    base = find("toy", project(tmp_path / "base", toy=BASE)).code_digest
    digest = find("toy", project(tmp_path / "changed", toy=text)).code_digest
    assert len(digest) == 64
    assert (digest == base) is same


@pytest.mark.parametrize(("change", "same"), [(("return 2", "return 3"), False), (("target='z'", "target='q'"), True)])
def test_the_code_digest_follows_another_experiment_that_it_calls(tmp_path, change, same):
    calling = OTHER + BASE.replace("from diurnal import experiment", "").replace("return helper()", "return other()")
    text = "from diurnal import experiment\n" + calling
    one = find("toy", project(tmp_path / "one", toy=text)).code_digest
    two = find("toy", project(tmp_path / "two", toy=text.replace(*change))).code_digest
    assert (one == two) is same


def test_the_code_digest_is_of_the_code_that_was_imported(tmp_path):
    folder = project(tmp_path, toy=BASE)
    found = find("toy", folder)
    (folder / "toy.py").write_text(BASE.replace("FOLDS = 3", "FOLDS = 5"), encoding="utf-8")
    assert found.code_digest == find("toy", project(tmp_path / "again", toy=BASE)).code_digest


# A function inside of a source has an address, and sets have another order in each process.
UNSTABLE = """
from functools import partial

from diurnal import experiment

def fetch(place, interval):
    return place

def make(kinds):
    @experiment(source=partial(fetch, print), target='y', drop={'b', 'a', 'c'})
    def toy():
        return kinds
    return toy

toy = make({'one', 'two', 'three', 'four'})
"""


def test_the_code_digest_is_the_same_in_every_process(tmp_path):
    folder = project(tmp_path, toy=UNSTABLE)
    code = (
        "import sys, pathlib; from diurnal.experiment import find\n"
        "print(find('toy', pathlib.Path(sys.argv[1])).code_digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(("one", "other", "same"), [("return 1", "return 1", True), ("return 1", "return 2", False)])
def test_a_function_typed_at_a_prompt_has_a_digest_too(one, other, same):
    def typed(body):
        namespace = {"experiment": experiment, "rows": rows}
        exec(f"@experiment(source=rows, target='y')\ndef typed():\n    {body}\n", namespace)
        return namespace["typed"].code_digest

    assert (typed(one) == typed(other)) is same


def test_an_experiment_imported_from_elsewhere_hides_no_line_of_this_file(tmp_path):
    """It begins on the line on which a helper begins here."""
    elsewhere = toy("elsewhere", extra="\n")
    here = toy("here", extra="from experiments.elsewhere import elsewhere\n\n\ndef helper():\n    return 3")
    digests = []
    for n, text in enumerate((here, here.replace("return 3", "return 4"))):
        folder = project(tmp_path / str(n), elsewhere=elsewhere, here=text)
        assert find("elsewhere", folder).line == text.splitlines().index("def helper():") + 1
        digests.append(find("here", folder).code_digest)
    assert digests[0] != digests[1]


def test_closed_over_values_count():
    def make(depth):
        def tree():
            return depth

        return declare(tree)

    assert make(3).code_digest == make(3).code_digest != make(4).code_digest


def test_find_by_name_file_and_module_gives_the_same_experiment(tmp_path):
    folder = project(tmp_path, first=toy("first"), many=toy("second") + OTHER)
    found = find("first", folder)
    assert isinstance(found, Experiment)
    assert find("experiments/first.py:first", folder) is found
    assert find("first", folder) is found
    assert find("second", folder).name == "second"
    assert find("other", folder) is find(f"{folder / 'many.py'}:other", folder)


def test_a_dag_file_imports_the_same_module(tmp_path):
    folder = project(tmp_path, lone=toy("lone"))
    code = (
        "import sys, pathlib; from diurnal.experiment import find\n"
        "found = find('lone', pathlib.Path(sys.argv[1]))\n"
        "from experiments.lone import lone\nassert lone is found\n"
        "assert find('experiments.lone:lone', pathlib.Path(sys.argv[1])) is found"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("frist", "did you mean 'first'"),
        ("experiments/first.py:frist", "it has first; did you mean 'first'"),
        ("experiments/none.py:x", "there is no file"),
        ("no_such_module_at_all:x", "there is no module"),
    ],
)
def test_what_is_not_there_is_not_found(tmp_path, reference, said):
    with pytest.raises(NotFoundError, match=said) as caught:
        find(reference, project(tmp_path, first=toy("first")))
    assert "package.module:name" in caught.value.hint


def test_a_broken_file_does_not_hide_the_others(tmp_path):
    folder = project(
        tmp_path,
        good=toy("good"),
        syntax="def x(:\n",
        failing="import sys\n\nsys.exit(3)\n",
        wrong=toy("wrong", arguments=", tset_size=1"),
        _hidden="raise ValueError",
    )
    found, errors = discover(folder)
    assert list(found) == ["good"]
    said = " ".join(map(str, errors))
    assert len(errors) == 3
    for where in ("syntax.py:1", "failing.py:3", "wrong.py:4", "did you mean 'test_size'"):
        assert where in said
    with pytest.raises(ExperimentError, match="SyntaxError"):
        find("syntax", folder)
    with pytest.raises(NotFoundError, match=r"Not searched: .*syntax.py:1"):
        find("nothing", folder)


def test_two_experiments_of_one_name_are_refused(tmp_path):
    folder = project(tmp_path, one=toy("same"), two=toy("same"), three="from experiments.one import same\n")
    found, errors = discover(folder)
    assert list(found) == ["same"]
    assert [type(error) for error in errors] == [ExperimentError]
    with pytest.raises(ExperimentError, match="two experiments are named 'same'"):
        find("same", folder)


def test_a_missing_folder_is_said(tmp_path):
    found, errors = discover(tmp_path / "experiments")
    assert not found
    assert "diurnal init" in str(errors[0])


def test_importing_loads_nothing_heavy(tmp_path):
    folder = project(tmp_path, toy=toy(extra="from diurnal.sources import SklearnDataset", arguments=", window='30d'"))
    code = (
        "import sys, pathlib, diurnal, diurnal.experiment, diurnal.runtime\n"
        "from diurnal.experiment import discover\nfound, errors = discover(pathlib.Path(sys.argv[1]))\n"
        "assert list(found) == ['toy'], errors\nfound['toy'].code_digest\n"
        f"print(*sorted(set('{HEAVY}'.split()) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_what_is_promised_is_there():
    frames = [
        "candidates",
        "evaluation",
        "live_scores",
        "predictions",
        "profiles",
        "promotions",
        "runs",
        "trace",
        "versions",
    ]
    assert set(diurnal.__all__) == {"DataInterval", "DiurnalError", "Limits", "experiment", "load_model", *frames}
    assert all(callable(getattr(diurnal, name)) for name in diurnal.__all__)
    assert set(diurnal.__all__) <= set(dir(diurnal))
    assert diurnal.__version__
    with pytest.raises(AttributeError, match="no attribute 'experimnt'"):
        diurnal.experimnt  # noqa: B018 - asking is the test


@pytest.mark.parametrize("name", ["breast_cancer", "turbines"])
def test_the_examples_learn(name):
    from diurnal.sources import record_batches

    folder = Path(__file__).parents[2] / "examples" / name / "experiments"
    found, errors = discover(folder)
    assert not errors
    made = found[name]
    import pyarrow as pa

    days = [made.calendar.interval_on(day) for day in ("2026-01-01", "2026-01-02")]
    frames = [pa.Table.from_batches(record_batches(made.source, day, {})).to_pandas() for day in days]
    again = pa.Table.from_batches(record_batches(made.source, days[0], {})).to_pandas()
    assert frames[0].equals(again), "the same date has the same rows"
    assert frames[0].equals(frames[1]) == (name == "breast_cancer")
    X, y = frames[0].drop(columns=[made.target, *made.key, *made.drop]), frames[0][made.target]
    search = made.build()
    key = max(search.param_grid, key=lambda key: len(list(search.param_grid[key])))
    search.param_grid = {**search.param_grid, key: list(search.param_grid[key])[-1:]}
    assert search.fit(X, y).best_score_ > 0.75
