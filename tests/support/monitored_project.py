"""A project with everything that the page, plots, reports and alarms show: each kind of result once, made by real runs.

==========  ==========================================================================================================
clinic      classification: promotions, a rejected batch and its quarantine, a missing file, drift, a change of the
            contract, a change of the code, a rollback
flats       regression, two tuned parameters, a window of two batches
archive     runs of an earlier release: without profiles, evaluation data and drift
dormant     an experiment without a run
hostile     texts that would run a script if a page showed them unescaped: see :func:`payload`
==========  ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

from diurnal.errors import DiurnalError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import contract_acceptance
from diurnal.pipeline.local_run import run
from diurnal.pipeline.scored_batches import score_batch
from diurnal.storage.stores import Stores
from diurnal.storage.warehouse.tables import experiments, profiles
from diurnal.types import DataInterval
from projects import Project, day, patients

FIRST = "2026-11-01"
CLINIC = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target="ill", key="patient", start_date="2026-11-01")
def clinic():
    """Predict which patients are ill, from age and blood pressure.

    The second paragraph is not part of the first line.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (StandardScaler(), {numbers}), (OneHotEncoder(handle_unknown="ignore"), ["ward"])
    )
    return GridSearchCV(
        make_pipeline(columns, LogisticRegression()), {{"logisticregression__C": {grid}}}, cv=3, scoring="roc_auc"
    )
'''
FLATS = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target="price", key="flat", start_date="2026-11-01", window=2)
def flats():
    """Predict the price of flats."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import ElasticNet
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (StandardScaler(), ["area", "rooms"]), (OneHotEncoder(handle_unknown="ignore"), ["district"])
    )
    candidates = {{"elasticnet__alpha": [0.01, 0.1, 1.0], "elasticnet__l1_ratio": [0.1, 0.5, 0.9]}}
    return GridSearchCV(make_pipeline(columns, ElasticNet()), candidates, cv=3, scoring="r2")
'''
ARCHIVE = CLINIC.replace("def clinic()", "def archive()")
DORMANT = CLINIC.replace("def clinic()", "def dormant()").replace("2026-11-01", "2026-12-01")
HOSTILE = """
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target={target!r}, start_date="2026-11-01", tags=({tag!r},), owner={owner!r})
def hostile():
    {docstring!r}
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer(
        (SimpleImputer(), [{number!r}]), (OneHotEncoder(handle_unknown="ignore"), [{category!r}])
    )
    pipeline = Pipeline([("columns", columns), ({step!r}, LogisticRegression())])
    candidates = {{
        "columns__onehotencoder__handle_unknown": ["ignore", "infrequent_if_exist"],
        {step!r} + "__C": [0.1, 1.0],
        {step!r} + "__class_weight": [None, {{{label_a!r}: 1, {label_b!r}: 2}}],
    }}
    scoring = {{"accuracy": "accuracy", {scorer!r}: "f1_macro"}}
    return GridSearchCV(pipeline, candidates, cv=3, scoring=scoring, refit="accuracy")
"""
BOTH_NUMBERS = {"numbers": '["age", "pressure"]', "grid": "[0.01, 0.1, 1.0, 10.0]"}


def payload(place: str) -> str:
    """Return a text that leaves an element ``[data-xss]`` or the name ``xss`` in a page that does not escape it.

    It breaks out of an element, a script, an attribute in either quotes, a template, an expression of Vega, and
    Markdown. A column's name has up to 63 bytes, so it is short.
    """
    return f"""</script>"'><img src=x data-xss={place} onerror=xss()>{{{{7*7}}}}"""


def other_payload(place: str) -> str:
    """Return a text that breaks other parsers: field names of Vega-Lite, template literals, attributes and URLs."""
    return f"""{place}.b[0]:Q ${{xss()}} `'\\' onfocus=xss() javascript:xss()"""


COLUMN_NUMBER, COLUMN_CATEGORY, TARGET = payload("number"), other_payload("category"), payload("target")
LABELS = (payload("label_a"), other_payload("label_b"))
CATEGORIES = (payload("value_a"), other_payload("value_b"), "plain")


class MonitoredProject(Project):
    """A project whose experiments have each kind of result; :meth:`fill` makes them."""

    @classmethod
    def make(cls, folder: Path, warehouse_url: str, declared: str = "") -> MonitoredProject:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "experiments").mkdir()
        (folder / "diurnal.toml").write_text("[diurnal]\n")
        project = cls(folder, warehouse_url)
        project.write("clinic", CLINIC, **BOTH_NUMBERS)
        project.write("flats", FLATS)
        project.write("archive", ARCHIVE, **BOTH_NUMBERS)
        project.write("dormant", DORMANT, **BOTH_NUMBERS)
        project.write("hostile", HOSTILE, **hostile_texts())
        return project

    def write(self, name: str, text: str, **values: str) -> None:
        """Write the file of an experiment."""
        pattern = self.folder / "incoming" / name / "{start:%Y-%m-%d}*.csv"
        pattern.parent.mkdir(parents=True, exist_ok=True)
        text = text.format(pattern=str(pattern), **values)
        (self.folder / "experiments" / f"{name}.py").write_text(text, encoding="utf-8")

    def put(self, name: str, date: str, rows: pd.DataFrame, suffix: str = "") -> None:
        """Put a day's file where the source of an experiment looks."""
        rows.to_csv(self.folder / "incoming" / name / f"{date}{suffix}.csv", index=False)

    def context(self, name: str, date: str, stores: Stores) -> RunContext:
        return RunContext(self.experiment(name), day(date), stores, requested_by="anna")

    def try_run(self, name: str, date: str, stores: Stores) -> bool:
        """Run a data interval; return whether it has a result. An error is what is to be shown."""
        with suppress(DiurnalError):
            run(self.context(name, date, stores))
            return True
        return False

    def fill(self, stores: Stores, names: tuple[str, ...] = ("clinic", "flats", "archive", "hostile")) -> None:
        """Make the results of some experiments."""
        makers: dict[str, Callable[[MonitoredProject, Stores], None]] = {
            "clinic": fill_clinic,
            "flats": fill_flats,
            "archive": fill_archive,
            "hostile": fill_hostile,
        }
        for name in names:
            makers[name](self, stores)


def fill_clinic(project: MonitoredProject, stores: Stores) -> None:
    """Ten days, from 2026-11-01 to 2026-11-10."""
    for number in (1, 2):
        date = f"2026-11-{number:02}"
        project.put("clinic", date, patients(date))
        assert project.try_run("clinic", date, stores)
    project.put("clinic", "2026-11-03", patients("2026-11-03").drop(columns="pressure"))
    assert not project.try_run("clinic", "2026-11-03", stores), "a column is missing"
    project.put("clinic", "2026-11-04", older_patients("2026-11-04"))
    assert project.try_run("clinic", "2026-11-04", stores)
    assert not project.try_run("clinic", "2026-11-05", stores), "there is no file"
    project.put("clinic", "2026-11-06", older_patients("2026-11-06").assign(weight=70.5))
    assert not project.try_run("clinic", "2026-11-06", stores), "a column is new"
    contract_acceptance.accept_changes(project.context("clinic", "2026-11-06", stores), {}, "the scales are connected")
    assert project.try_run("clinic", "2026-11-06", stores)
    stores.warehouse.set_champion("clinic", 1, requested_by="anna", reason="the new ones disappoint", action="rollback")
    changes = {
        "2026-11-07": {"numbers": "['pressure']"},
        "2026-11-08": {"grid": "[0.001, 0.01, 0.1, 1.0, 10.0, 100.0]"},
    }
    for date, change in changes.items():  # the first one forgets the best feature, and is not promoted
        project.write("clinic", CLINIC, **BOTH_NUMBERS | change)
        project.put("clinic", date, older_patients(date).assign(weight=71.5))
        assert project.try_run("clinic", date, stores)
    project.put("clinic", "2026-11-10", older_patients("2026-11-10").assign(weight="unknown"))
    assert not project.try_run("clinic", "2026-11-10", stores), "a number is a text"


def fill_flats(project: MonitoredProject, stores: Stores) -> None:
    """Four days, from 2026-11-01 to 2026-11-04; the last one is dearer and has other districts.

    The last two are predicted before their run, which scores the predictions.
    """
    for number in (1, 2, 3, 4):
        date = f"2026-11-{number:02}"
        project.put("flats", date, flats(date, dearer=number == 4))
        if number >= 3:
            score_batch(project.context("flats", date, stores))
        assert project.try_run("flats", date, stores)


def fill_archive(project: MonitoredProject, stores: Stores) -> None:
    """Two days, whose rows are as an earlier release left them."""
    for date in ("2026-11-01", "2026-11-02"):
        project.put("archive", date, patients(date))
        assert project.try_run("archive", date, stores)
    nothing = dict.fromkeys(("evaluation", "evaluation_sample", "drift", "contract_version"), sa.null())
    with stores.warehouse.transaction("tests", "archive") as connection:
        connection.execute(sa.update(experiments).where(experiments.c.experiment == "archive").values(nothing))
        connection.execute(sa.delete(profiles).where(profiles.c.experiment == "archive"))


def fill_hostile(project: MonitoredProject, stores: Stores) -> None:
    """Days whose every text would run a script: columns, values, labels, file names, reasons, users, errors."""
    for number in (1, 2):
        date = f"2026-11-{number:02}"
        project.put("hostile", date, hostile_rows(date))
        assert project.try_run("hostile", date, stores)
    project.put("hostile", "2026-11-03", hostile_rows("2026-11-03").drop(columns=COLUMN_NUMBER), "<b data-xss=file>")
    assert not project.try_run("hostile", "2026-11-03", stores)
    new = hostile_rows("2026-11-04").assign(**{payload("new"): 1.5})
    project.put("hostile", "2026-11-04", new)
    assert not project.try_run("hostile", "2026-11-04", stores)
    context = replace(project.context("hostile", "2026-11-04", stores), requested_by=payload("accepted_by"))
    contract_acceptance.accept_changes(context, {}, payload("why"))
    assert project.try_run("hostile", "2026-11-04", stores)
    for action, version in (("promote", 2), ("rollback", 1)):
        stores.warehouse.set_champion(
            "hostile", version, requested_by=payload(f"{action}d_by"), reason=payload(action), action=action
        )
    error = {"type": payload("type"), "message": payload("message"), "hint": payload("hint"), "location": payload("at")}
    start = datetime(2026, 11, 5, tzinfo=UTC)
    interval = DataInterval(start, start + timedelta(days=1))
    stores.warehouse.add_failure("hostile", interval, "fetch", error, quarantine=f"file:///{payload('quarantine')}")


def hostile_texts() -> dict[str, str]:
    return {
        "target": TARGET,
        "number": COLUMN_NUMBER,
        "category": COLUMN_CATEGORY,
        "label_a": LABELS[0],
        "label_b": LABELS[1],
        "tag": "a tag",
        "owner": payload("owner"),
        "docstring": payload("docstring"),
        "step": payload("step").replace("__", ""),
        "scorer": payload("scorer"),
    }


def hostile_rows(date: str, n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(int(date.replace("-", "")))
    number = rng.normal(0, 1, n).round(3)
    return pd.DataFrame(
        {
            COLUMN_NUMBER: number,
            COLUMN_CATEGORY: rng.choice(CATEGORIES, n),
            TARGET: np.where(number + rng.normal(0, 0.5, n) > 0, *LABELS),
        }
    )


def older_patients(date: str) -> pd.DataFrame:
    """Give patients of another population: older, and some in another ward."""
    rows = patients(date)
    return rows.assign(age=rows["age"] + 15, ward=np.where(rows.index % 4 == 0, "east", rows["ward"]))


def flats(date: str, n: int = 200, *, dearer: bool = False) -> pd.DataFrame:
    """Give one day's flats."""
    rng = np.random.default_rng(int(date.replace("-", "")))
    area, rooms = rng.gamma(6, 12, n).round(1), rng.integers(1, 6, n)
    district = rng.choice(["north", "south", "west"], n, p=[0.2, 0.2, 0.6] if dearer else [0.5, 0.4, 0.1])
    rent = 3.0 * area + 10 * rooms + np.where(district == "west", 40, 0)
    price = (rent * (1.3 if dearer else 1.0) + rng.normal(0, 15, n)).round(1)
    flat = [f"{date}-{i:04d}" for i in range(n)]
    return pd.DataFrame({"flat": flat, "area": area, "rooms": rooms, "district": district, "price": price})
