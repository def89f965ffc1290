"""Batches, changes of their contract, repeats, corrections, rollbacks and replays in any order: what must hold."""

import itertools
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from databases import open_database
from diurnal.backends.sample_reader import SampleReader
from diurnal.backends.sklearn import BACKEND
from diurnal.data import Schema
from diurnal.errors import BatchRejectedError, ExperimentError, NotEnoughDataError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import contract_acceptance, local_run, tuning_shards
from diurnal.pipeline.replay import replay_version
from diurnal.pipeline.store_verification import verify_stores
from diurnal.types import DataInterval, Package, TrainTestSplit
from projects import Project

EXPERIMENT = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target={target!r}, window="all", promotion="always", {identity})
def toy():
    """Learn little, quickly."""
    import numpy as np
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier

    impute = SimpleImputer(keep_empty_features=True)
    numbers = make_column_transformer((impute, make_column_selector(dtype_include=np.number)))
    return make_pipeline(numbers, DecisionTreeClassifier(max_depth=2, random_state=0))
'''
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
N_ROWS = 24


@dataclass(frozen=True)
class Form:
    """How the source writes its rows at a time: the name and the kind of each column that it has, by what it means."""

    names: dict = field(default_factory=lambda: {"x": "x", "count": "count", "place": "place", "label": "label"})
    fractions: int | None = None
    classes: tuple = ("no", "yes")

    def rows(self, ids):
        """Give rows whose cells depend on their id only, and how much of them is written on the form."""
        rng = [np.random.default_rng(int(i)) for i in ids]
        cells = {
            "x": [float(i) + 0.25 for i in ids],
            "count": [int(r.integers(0, 50)) for r in rng],
            "place": [("north", "south", "west")[int(i) % 3] for i in ids],
            "label": [self.classes[int(i * 7 % 11) % len(self.classes)] for i in ids],
        }
        if self.fractions is not None:  # of rows that are new since then: another cell would make it another row
            since = self.fractions
            cells["count"] = [n + 0.5 * (i >= since and i % 3 == 0) for i, n in zip(ids, cells["count"], strict=True)]
        had = {name: cells[what] for what, name in self.names.items() if what in cells}
        rows = pd.DataFrame({"row": list(ids), **had})
        for what, name in self.names.items():
            if what.startswith("extra"):
                rows[name] = [float(i) * 2 + 0.5 for i in ids]
        return rows


class Changing(RuleBasedStateMachine):
    """An experiment whose source changes; `server` and `folder` are given by the test, `keyed` by its subclasses."""

    server = None
    folder = None
    keyed = True

    @initialize()
    def begin(self):
        self.database = ExitStack()
        self.url = self.database.enter_context(open_database(self.server))
        self.project = Project.make(self.folder / uuid.uuid4().hex, self.url)
        (self.project.folder / "experiments" / "clinic.py").unlink()
        self.stores = self.project.stores()
        self.form, self.renames, self.numbers = Form(), {}, itertools.count()
        self.brought: dict[int, tuple[Form, list[int]]] = {}
        self.roles: dict[int, str] = {}
        self.loses_identity = False
        self.next_day(0)

    def experiment(self, target=None):
        """Declare the experiment, with the name that its target has now, and bring the files of all days."""
        identity = "key='row'" if self.keyed else "drop='row', duplicates='drop'"
        target = target or self.form.names["label"]
        pattern = str(self.project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
        text = EXPERIMENT.format(pattern=pattern, target=target, identity=identity)
        file = self.project.folder / "experiments" / "toy.py"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
        for number, (form, ids) in self.brought.items():
            self.project.bring(f"{BEGIN + timedelta(days=number):%Y-%m-%d}", form.rows(ids))
        return self.project.experiment("toy")

    def day(self, number):
        start = BEGIN + timedelta(days=number)
        return RunContext(
            self.experiment(), DataInterval(start, start + timedelta(days=1)), self.stores, requested_by="machine"
        )

    def run(self, number, *, force=False):
        try:
            return local_run.run(replace(self.day(number), force=force))
        except NotEnoughDataError:
            return None

    # What may happen

    @rule(again=st.integers(0, 8))
    def next_day(self, again):
        """A further day comes in the present form, some of its rows a second time; a change is accepted."""
        number = len(self.brought)
        earlier = [i for _, ids in self.brought.values() for i in ids][:again]
        ids = earlier + [next(self.numbers) for _ in range(N_ROWS)]
        self.brought[number] = self.form, ids
        try:
            outcome = self.run(number)
        except (BatchRejectedError, ExperimentError):  # the latter as it declares the new name of its target already
            before = len(self.stores.warehouse.contracts("toy"))
            assert (
                contract_acceptance.accept_changes(self.day(number), self.renames, "the source has changed").number
                == before + 1
            )
            again = contract_acceptance.accept_changes(self.day(number), self.renames, "once more")
            assert (again.number, again.changes) == (before + 1, ())
            outcome = self.run(number)
        self.renames = {}
        assert outcome is None or not outcome.already
        self.check(number)

    @precondition(lambda self: not self.renames and not self.is_pending)
    @rule(change=st.sampled_from(["new", "drop", "rename", "widen", "class", "restore"]))
    def change(self, change):
        """The source changes its form, from the next day on."""
        names = dict(self.form.names)
        if change == "new":
            name = f"extra{len(self.brought)}"
            self.form = replace(self.form, names={**names, name: name})
        elif change == "drop" and "place" in names:
            del names["place"]
            self.form, self.loses_identity = replace(self.form, names=names), True
        elif change == "restore" and "place" not in names:
            self.form = replace(self.form, names={**names, "place": "place"})
        elif change == "rename":
            what = [what for what in ("x", "label", "count") if what in names][len(self.brought) % 3]
            new = f"{what}_{len(self.brought)}"
            self.renames = {names[what]: new}
            self.form = replace(self.form, names={**names, what: new})
        elif change == "widen":
            newest = max(i for _, ids in self.brought.values() for i in ids)
            self.form = replace(self.form, fractions=self.form.fractions or newest + 1)
        elif change == "class":
            self.form = replace(self.form, classes=("maybe", "no", "yes"))

    @property
    def is_pending(self):
        """Whether the form has changed since the last batch."""
        return self.form != self.brought[len(self.brought) - 1][0]

    @precondition(lambda self: not self.renames)
    @rule(number=st.integers(0, 20))
    def repeat(self, number):
        """A day runs again: it was done, unless an earlier one of its window was corrected since."""
        number %= len(self.brought)
        n_contracts = len(self.stores.warehouse.contracts("toy"))
        self.run(number)
        outcome = self.run(number)
        assert outcome is None or outcome.already
        assert len(self.stores.warehouse.contracts("toy")) == n_contracts

    @precondition(lambda self: not self.renames)
    @rule(number=st.integers(0, 20))
    def correct(self, number):
        """The rows of a day are fewer, still in the form of their day."""
        number %= len(self.brought)
        form, ids = self.brought[number]
        if len(ids) > N_ROWS // 2:
            self.brought[number] = form, ids[:-1]
            outcome = self.run(number)
            assert outcome is None or not outcome.already
            self.check(number)

    @precondition(lambda self: not self.renames)
    @rule()
    def make_the_newest_once_more(self):
        """What is fitted again on the same rows through the same contract is the same model."""
        number = len(self.brought) - 1
        first, again = self.run(number, force=True), self.run(number, force=True)
        if first is not None:
            assert again.run["run_id"] != first.run["run_id"]
            digests = {row["run_id"]: row["digest"] for row in self.stores.warehouse.versions("toy")}
            assert digests[again.run["run_id"]] == digests[first.run["run_id"]]

    @rule(pick=st.integers(0, 20))
    def roll_back(self, pick):
        """An earlier version serves again."""
        versions = self.stores.warehouse.versions("toy")
        others = [row for row in versions if not row["champion"]]
        if others:
            chosen = others[pick % len(others)]["version"]
            self.stores.warehouse.set_champion("toy", chosen, requested_by="machine", reason="a try", action="rollback")
            assert self.stores.warehouse.champion("toy").version == chosen

    @rule(pick=st.integers(0, 20))
    def replay_one(self, pick):
        """A version is made again from its packages, through the contract of its time."""
        versions = self.stores.warehouse.versions("toy")
        if versions:
            chosen = versions[pick % len(versions)]
            row = self.stores.warehouse.run(chosen["run_id"])
            found = replay_version(self.stores, "toy", chosen["version"], lambda: self.experiment(row["target"]))
            assert found.equal, found.results

    # What must hold

    def check(self, number):
        """Hold packages, rows, versions and the view of the experiment against what the source gave."""
        self.check_roles()
        self.check_window(number)
        self.check_view()
        self.check_history()

    def check_roles(self):
        """A row has one role for life, through all versions of the contract."""
        for row in self.stores.warehouse.packages():
            if row["role"] == "batch":
                continue
            package = Package(row["path"], row["digest"], row["n_rows"])
            for i in self.stores.lake.read(package, ["row"])["row"].to_pylist():
                known = self.roles.setdefault(i, row["role"])
                assert known == row["role"] or (self.loses_identity and not self.keyed)

    def check_window(self, number):
        """The rows of the window are the newest of each key, as the newest contract has them; none is on both sides."""
        day = self.day(number)
        schema, warehouse = day.newest_schema, self.stores.warehouse
        window = warehouse.window("toy", day.interval)
        sides = [warehouse.find_split("toy", one, package.digest, 0.3) for one, package in window]
        if any(side is None for side in sides):
            return  # there was not enough data
        run = flow_run(day, window)
        samples = TrainTestSplit(run, tuple(window), tuple(t for t, _ in sides), tuple(t for _, t in sides))
        try:
            _, _, data = tuning_shards.load_training_data(day, samples)
        except NotEnoughDataError:
            return
        features = list(schema.features)
        train = set(map(tuple, data.X[features].fillna(-1).astype(str).to_numpy().tolist()))
        tested = BACKEND.read_training_data(SampleReader(day, schema), samples.test).X
        test = set(map(tuple, tested[features].fillna(-1).astype(str).to_numpy().tolist()))
        assert not train & test
        if self.keyed:
            got = pd.concat([data.X, tested], ignore_index=True)
            wanted = self.expected(number, schema).set_index(self.name_of(schema, "x"), drop=False).sort_index()
            got = got.set_index(self.name_of(schema, "x"), drop=False).sort_index()
            assert list(got.index) == list(wanted.index)
            for name in features:
                left, right = got[name].fillna(-1), wanted[name].fillna(-1)
                assert list(left) == list(right), name

    def expected(self, number, schema):
        """Put together what the source gave up to a day, under the names of the newest version."""
        known = {name: column.name for column in schema.all_columns for name in column.names}
        frames = [
            form.rows(ids).rename(columns=known) for day, (form, ids) in sorted(self.brought.items()) if day <= number
        ]
        frame = pd.concat(frames, ignore_index=True).drop_duplicates("row", keep="last")
        return frame.reindex(columns=["row", *schema.names]).loc[:, lambda f: ~f.columns.duplicated()]

    def name_of(self, schema, root):
        return next(column.name for column in schema.columns if column.root == root)

    def check_view(self):
        """The view shows all columns of the contract; those that a batch did not have are null in it."""
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute("SELECT * FROM batch_data_toy")
            shown = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
        schema = Schema.from_dict(self.stores.warehouse.schema("toy"))
        known = {name: column.name for column in schema.all_columns for name in column.names}
        for number, (form, ids) in self.brought.items():
            rows = shown[shown["data_interval_start"] == BEGIN + timedelta(days=number)]
            given = form.rows(ids).rename(columns=known).sort_values("row")
            assert len(rows) == len(given), number
            for column in schema.columns:
                if column.name in given and column.name in rows:
                    assert list(rows.sort_values("row")[column.name]) == list(given[column.name])
                elif column.name in rows:
                    assert rows[column.name].isna().all()

    def check_history(self):
        """There is one champion, and what ever served is in the history; contracts are counted without gaps."""
        promotions, versions = self.stores.warehouse.promotions("toy"), self.stores.warehouse.versions("toy")
        if promotions:
            assert [row["version"] for row in versions if row["champion"]] == [promotions[0]["version"]]
            assert all(row["evidence"] for row in promotions if row["kind"] == "promote")
        numbers = [row["version"] for row in self.stores.warehouse.contracts("toy")]
        assert numbers == list(range(1, len(numbers) + 1))
        identities = [
            (row["data_interval_start"], row["window_digest"], row["code_digest"], row["repeat"])
            for row in self.stores.warehouse.runs("toy")
        ]
        assert len(set(identities)) == len(identities)

    def teardown(self):
        if hasattr(self, "stores"):
            assert [finding for finding in verify_stores(self.stores) if finding.state != "good"] == []
            self.stores.warehouse.close()
            self.database.close()


def flow_run(day, window):
    from diurnal.types import Run

    return Run("check", "toy", day.interval, 1, window[-1][1].digest, "", "", 0)


@pytest.mark.system
@pytest.mark.parametrize("is_keyed", [True, False])
def test_any_order_of_batches_changes_corrections_rollbacks_and_replays(server, tmp_path, is_keyed):
    class Machine(Changing):
        keyed = is_keyed

    Machine.server, Machine.folder = server, tmp_path
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=3,
            stateful_step_count=10,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],  # an example takes seconds: shrinking it would take minutes
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
