"""The functions of diurnal.plots, on a project with finished days."""

import pytest

import diurnal
from diurnal.errors import NotFoundError, UsageError
from monitored_project import MonitoredProject


@pytest.fixture
def folder(tmp_path, warehouse_url, monkeypatch):
    monkeypatch.setenv("DIURNAL_WAREHOUSE", warehouse_url)
    project = MonitoredProject.make(tmp_path / "project", warehouse_url)
    stores = project.stores()
    with stores.warehouse:
        project.fill(stores, ("clinic", "flats"))
    return project.folder


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
