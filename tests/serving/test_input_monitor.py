"""Statistics of the columns that clients send: bounded, right, and beside those of the training."""

import asyncio
import re
from types import SimpleNamespace

import httpx
import numpy as np
import pyarrow as pa
import pytest

from diurnal.serving import input_monitor
from diurnal.serving.input_monitor import InputMonitor
from diurnal.serving.model_inputs import ModelInputs
from serving_projects import serving, wait_until

COLUMNS = [{"name": "age", "kind": "int"}, {"name": "weight", "kind": "float"}]
RANGES = {"age": {"n": 100, "mean": 50.0, "std": 10.0, "min": 20.0, "max": 80.0}}


class Model(SimpleNamespace):
    __hash__ = object.__hash__


def model_of(columns, ranges=RANGES):
    return Model(experiment="clinic", inputs=ModelInputs(columns, [True] * len(columns)), training_ranges=ranges)


def observe(model, *requests, reports=None):
    """Return the counts of some requests."""
    found = [] if reports is None else reports

    async def run():
        monitor = InputMonitor(lambda name, columns: found.append(columns))
        for rows in requests:
            monitor.observe(model, rows)
        monitor.flush()

    asyncio.run(run())
    return found[-1]


def test_cells_are_counted_beside_the_training():
    counts = observe(model_of(COLUMNS), np.array([[40, np.nan], [90, 1.5]]), np.array([[50, 2.0]]))
    age, weight = counts["age"], counts["weight"]
    assert (age.n_values, age.n_missing, age.n_outside) == (3, 0, 1)
    assert (age.above, age.below) == (4.0, 1.0)
    assert (weight.n_values, weight.n_missing, weight.n_outside, weight.above) == (2, 1, 0, 0.0)


def test_tables_and_constant_columns():
    columns = [*COLUMNS, {"name": "ward", "kind": "text"}]
    table = pa.table({"age": [50, None], "weight": [1.0, np.inf], "ward": [None, "north"]})
    table = table.set_column(0, "age", table["age"].cast(pa.int64()))
    counts = observe(model_of(columns, {"weight": {**RANGES["age"], "std": 0.0}}), table)
    assert [(one.n_values, one.n_missing) for one in counts.values()] == [(1, 1), (2, 0), (1, 1)]
    assert (counts["weight"].n_outside, counts["weight"].above, counts["weight"].below) == (2, 0.0, 0.0)


def test_one_value_does_not_hide_the_others():
    counts = observe(model_of(COLUMNS), np.array([[1e300, 0.0]]))
    assert counts["age"].above == input_monitor._MAX_DEVIATION


@pytest.mark.parametrize("sizes", [(5_000,), (1_000, 1_000), (0, 1), (1_023, 1, 7)])
def test_rows_of_a_second_are_bounded_and_from_the_whole_request(sizes):
    model, taken = model_of(COLUMNS), sum(sizes)
    requests = [np.column_stack([np.linspace(20, 80, size), np.zeros(size)]) for size in sizes]
    age = observe(model, *requests)["age"]
    assert min(taken, input_monitor.MAX_ROWS) * 0.6 <= age.n_values <= input_monitor.MAX_ROWS
    if len(sizes) == 1:
        assert age.above == pytest.approx(age.below, rel=0.01)


def test_metrics_show_the_columns_of_requests(clinic):
    with serving(clinic) as (url, *_):
        metric = r'diurnal_serving_input_{}_total\{{column="age",experiment="clinic"{}\}} (\S+)'

        def read(name, labels=""):
            found = re.search(metric.format(name, labels), httpx.get(f"{url}/metrics").text)
            return float(found[1]) if found else 0.0

        rows = [{"age": age, "pressure": 120} for age in (50, 51, 1000)]
        assert httpx.post(f"{url}/experiments/clinic/predict", json=rows).status_code == 200
        assert (read("values"), read("missing"), read("outside")) == (3, 0, 1)
        assert read("deviation", ',side="above"') > 50
        httpx.post(f"{url}/experiments/clinic/predict", json=rows[:1])
        wait_until(lambda: read("values") == 4)
