"""The functions of diurnal.plots, on a project with finished days."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import vl_convert

import diurnal
from diurnal.errors import ConfigurationError, NotFoundError, UsageError

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.xdist_group("page")  # one worker makes the filled project


@pytest.fixture
def folder(filled, monkeypatch):
    monkeypatch.setenv("DIURNAL_WAREHOUSE", filled.warehouse_url)
    return filled.folder


def test_a_timeline_has_each_kind_of_event(folder):
    spec = diurnal.plots.timeline("clinic", project=folder).to_dict()
    assert {mark["kind"] for mark in spec["datasets"]["marks"]} == {
        "promotion",
        "rollback",
        "rejected batch",
        "failure",
        "code change",
        "contract change",
    }
    frame = diurnal.runs("clinic", project=folder)
    assert [row["t"] for row in spec["datasets"]["rows"]] == pytest.approx(frame["test_score"].tolist(), abs=1e-4)


def test_tuning_is_a_curve_of_one_parameter_and_a_table_of_two(folder):
    curve = diurnal.plots.tuning("clinic@1", project=folder).to_dict()
    assert [row["p0"] for row in curve["datasets"]["candidates"]] == [0.01, 0.1, 1.0, 10.0]
    table = diurnal.plots.tuning("flats@1", project=folder, theme="dark").to_dict()
    assert len(table["datasets"]["candidates"]) == 9
    assert any(layer["mark"]["type"] == "rect" for layer in table["vconcat"][0]["layer"])


def test_what_does_not_exist_is_an_error_that_names_what_does(folder):
    with pytest.raises(NotFoundError, match="did you mean 'clinic'"):
        diurnal.plots.timeline("clinik", project=folder)
    with pytest.raises(UsageError, match=r"no metric 'accuracy'\n.*metrics are score"):
        diurnal.plots.tuning("clinic@1", metric="accuracy", project=folder)
    with pytest.raises(UsageError, match="theme is 'blue'"):
        diurnal.plots.timeline("clinic", project=folder, theme="blue")


@pytest.mark.parametrize(
    ("name", "theme"), [("clinic", "dark"), ("flats", "light"), ("archive", "light"), ("hostile", "light")]
)
def test_each_function_draws_what_each_experiment_has(folder, name, theme):
    """`archive` is of an earlier release, and the texts of `hostile` break out of what does not escape them."""
    charts = [diurnal.plots.timeline(name, project=folder, theme=theme)]
    charts += [
        plot(f"{name}@1", project=folder, theme=theme) for plot in (diurnal.plots.tuning, diurnal.plots.evaluation)
    ]
    charts.append(diurnal.plots.compare(f"{name}@1", f"{name}@2", project=folder, theme=theme))
    if name == "archive":
        with pytest.raises(NotFoundError, match="no batch of archive has a profile"):
            diurnal.plots.drift(name, project=folder)
    else:
        charts.append(diurnal.plots.drift(name, project=folder, theme=theme))
    for chart in charts:
        spec = chart.to_dict()  # it validates
        svg = vl_convert.vegalite_to_svg(spec)
        document = ET.fromstring(svg)
        assert not [
            element for element in document.iter() if element.tag.endswith(("}script", "}img", "}foreignObject"))
        ]
        assert not [key for element in document.iter() for key in element.attrib if key.startswith(("on", "data-xss"))]


def test_an_old_run_shows_its_scores_and_says_what_is_missing(folder):
    spec = diurnal.plots.evaluation("archive@1", project=folder).to_dict()
    assert "recorded by an earlier release" in str(spec["title"]["subtitle"])
    assert "roc_auc" in str(spec["vconcat"])


def test_a_column_without_a_profile_is_an_error(folder):
    with pytest.raises(NotFoundError, match="did you mean 'pressure'"):
        diurnal.plots.drift("clinic", columns=["presure"], project=folder)


def test_without_altair_it_names_the_extra_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'diurnal\[page\]'"):
        diurnal.plots.timeline("clinic", project=folder)


def test_the_module_is_an_attribute_that_loads_no_heavy_library():
    heavy = "{'altair', 'pandas', 'pyarrow', 'sklearn'}"
    code = f"import sys, diurnal; diurnal.plots.timeline; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_examples_of_docstrings_and_of_the_page_run(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("DIURNAL_PROJECT", str(folder))
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "plots.md").read_text(encoding="utf-8")
    (calls,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(calls.replace("turbines", "clinic"), {})
    examples = [getattr(diurnal.plots, name).__doc__ for name in diurnal.plots.__all__]
    for text in [*examples, *re.findall(r"```pycon\n(.*?)```", page, re.S)]:
        runnable = (
            text.replace("breast_cancer", "clinic").replace("mean radius", "pressure").replace("  # doctest: +SKIP", "")
        )
        example = doctest.DocTestParser().get_doctest(runnable, {"diurnal": diurnal}, "example", None, None)
        assert example.examples
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"timeline.html", "candidates.svg", "comparison.html"}
