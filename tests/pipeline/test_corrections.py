"""One day whose batch is corrected, put back and corrected again, with runs that end anywhere: all stores agree."""

from datetime import date as date_type
from datetime import timedelta
from itertools import count, product

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from diurnal.errors import TransientError
from diurnal.pipeline import store_verification
from diurnal.runtime import fault_injection
from projects import POINTS, day, patients

BATCHES = {"A": slice(None), "B": slice(0, 200), "C": slice(30, 240)}
ENDS = [f"full@{point}:{side}" for point, side in product(POINTS, ["before", "after"])]
ACTION = st.tuples(st.sampled_from(sorted(BATCHES)), st.none() | st.sampled_from(ENDS))


def rows_of(batch, date):
    return patients(date).iloc[BATCHES[batch]]


def run(project, stores, batch, date, end=None):
    """Bring a batch and run the day; the run ends at one of its effects, before it or after it, if there is an end."""
    project.bring(date, rows_of(batch, date))
    fault_injection.arm_fault(end)
    try:
        return project.run(date, stores)
    except TransientError:
        return None
    finally:
        fault_injection.arm_fault(None)


def agree(project, stores, outcome, batch, date):
    """Assert that pointer, view, row, samples and lake are of the batch that came last."""
    interval = day(date)
    with psycopg.connect(project.warehouse_url) as connection:
        found = connection.execute(
            "select patient from batch_data_clinic where data_interval_start = %s", [interval.start]
        ).fetchall()
        pointer = connection.execute(
            "select batch_digest from heads where data_interval_start = %s", [interval.start]
        ).fetchone()[0]
        repeats = connection.execute(
            "select max(n) from (select count(*) n from experiments where data_interval_start = %s"
            " group by code_digest, window_digest) as counted",
            [interval.start],
        ).fetchone()[0]
    assert {patient for (patient,) in found} == set(rows_of(batch, date)["patient"])
    assert len(found) == len(rows_of(batch, date))
    assert outcome.run["batch_digest"] == pointer
    assert outcome.run["n_train"] + outcome.run["n_test"] == len(found)
    assert outcome.version == outcome.run["model_version"]
    assert repeats == 1


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a failing example takes a minute to make smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def days_are_corrected(project, stores, dates, data):
    actions = data.draw(st.lists(ACTION, min_size=3, max_size=6))
    date = (date_type(2026, 1, 1) + timedelta(days=next(dates))).isoformat()
    for batch, end in actions:
        outcome = run(project, stores, batch, date, end)
        if outcome is not None:
            agree(project, stores, outcome, batch, date)
    last = actions[-1][0]
    agree(project, stores, run(project, stores, last, date), last, date)
    assert run(project, stores, last, date).already


def test_whatever_the_order_of_corrections_all_stores_agree(project, stores):
    days_are_corrected(project, stores, count())
    assert {finding.state for finding in store_verification.verify_stores(stores)} == {"good"}
