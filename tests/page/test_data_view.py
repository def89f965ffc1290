"""View 5, the data: columns over time with their drift, and the distributions of one day beside the reference."""

import re
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from diurnal.page.app import create_app
from diurnal.page.drift_strips import drift_strips
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings
from page_texts import section_text

DATA = "/experiments/clinic/data"

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def client(filled):
    settings = Settings.load(filled.folder, {"DIURNAL_WAREHOUSE": filled.warehouse_url})
    stores = PageStores(lambda: settings)
    app = create_app(stores, lambda: Viewer("ada", "session", can_read=lambda name: name != "flats"))
    yield TestClient(app, base_url="http://localhost:8787", raise_server_exceptions=False)
    stores.close()


def show(client, path: str = DATA, **query) -> str:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.text


def chart(client, name: str, **query) -> dict:
    response = client.get(f"{DATA}/charts/{name}.json", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_columns_are_listed_with_the_strongest_drift_first(client):
    text = section_text(show(client), "columns")
    places = [text.index(f" {column} ") for column in ("age", "ward", "pressure", "ill", "weight", "patient")]
    assert places == sorted(places)
    assert re.search(r"age 1\d\.\d . drifted", text), "15 years are more than ten times the threshold"


def test_the_values_are_those_of_the_batches(client, filled_stores):
    profile = filled_stores.warehouse.profiles("clinic")[0]["summary"]["columns"]["age"]
    text = section_text(show(client, column="age"), "column")
    assert f"mean {profile['mean']:.2f}, median {profile['q50']:.2f}" in text
    assert "2026-11-08 240 0.0 % mean" in text


def test_a_category_has_shares_and_new_ones_are_named(client):
    text = section_text(show(client, column="ward"), "column")
    assert re.search(r"2026-11-02 240 0.0 % (north|south) \d\d.\d %, (north|south) \d\d.\d %", text)
    assert "new: east" in text


def test_the_address_selects_day_column_and_period(client):
    page = show(client, date="2026-11-04", column="ward", last="30")
    assert "clinic, data of 2026-11-04" in page
    assert re.search(r'rel="prev" href="[^"]*date=2026-11-02&amp;column=ward&amp;last=30"', page)
    assert re.search(r'rel="next" href="[^"]*date=2026-11-06&amp;column=ward&amp;last=30"', page)
    assert re.search(r'<a href="[^"]*last=30"\s+aria-current="true">last 30', page)
    assert re.search(r'<tr aria-current="true"><th scope="row"><a [^>]*>ward', page)
    between = show(client, date="2026-11-05")
    assert "clinic, data of 2026-11-04" in between, "the batch before a day without one"


@pytest.mark.parametrize(
    ("query", "status"), [({"date": "yesterday"}, 400), ({"last": "7"}, 400), ({"column": "absent"}, 200)]
)
def test_what_an_address_may_have(client, query, status):
    response = client.get(DATA, params=query)
    assert response.status_code == status
    if status == 200:
        assert "No profile of this period has a column absent" in response.text


def test_the_distribution_is_beside_that_of_the_reference(client, filled_stores):
    run = filled_stores.warehouse.newest_drift("clinic", datetime(2026, 11, 8, tzinfo=UTC))
    page = show(client, f"{DATA}/distribution", column="age", date="2026-11-08")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    profiles = {
        row["data_interval_start"].day: row["summary"]["columns"]["age"]
        for row in filled_stores.warehouse.profiles("clinic")
    }
    assert run["drift"]["reference"]["version"] == 1
    assert f"mean {profiles[8]['mean']:.2f} {profiles[1]['mean']:.2f}" in text
    assert f"median {profiles[8]['q50']:.2f} {profiles[1]['q50']:.2f}" in text
    assert "training window of version 1" in text


def test_a_part_of_the_page_is_no_page(client):
    query = {"column": "age", "date": "2026-11-08"}
    assert "<html" in client.get(f"{DATA}/distribution", params=query).text
    part = client.get(f"{DATA}/distribution", params=query, headers={"hx-request": "true"}).text
    assert "<html" not in part
    assert 'charts/distribution.json?column=age&amp;date=2026-11-08"' in part


def test_charts(client):
    assert "age" in chart(client, "column", column="age")["description"]
    effects = chart(client, "effect", column="age")["datasets"]["effects"]
    assert [round(one["f"] / one["h"] > 1) for one in effects] == [0, 1, 1, 1, 1]
    assert chart(client, "distribution", column="ward", date="2026-11-08")["data"]["values"]
    for name in ("column", "effect", "distribution"):
        query = {"column": "absent", "date": "2026-11-08"}
        assert client.get(f"{DATA}/charts/{name}.json", params=query).status_code == 404


def test_batches_without_profiles(client):
    page = show(client, "/experiments/archive/data")
    assert "diurnal profile archive" in page
    assert "archive, data of 2026-11-02" in page


def test_experiments_without_a_batch_or_a_right_are_absent(client):
    for name in ("dormant", "absent", "flats"):
        for path in ("", "/distribution?column=a&date=2026-11-01", "/charts/column.json?column=a"):
            assert client.get(f"/experiments/{name}/data{path}").status_code == 404


def test_nothing_of_hostile_data_is_markup(client, filled_stores):
    columns = filled_stores.warehouse.profiled_columns("hostile")
    for column in columns:
        page = show(client, "/experiments/hostile/data", column=column)
        part = show(client, "/experiments/hostile/data/distribution", column=column, date="2026-11-04")
        for text in (page, part):
            assert not re.search(r"<[^>]*\sdata-xss", re.sub(r'"[^"]*"', '""', text))
        path = "/experiments/hostile/data/charts/column.json"
        assert client.get(path, params={"column": column}).status_code == 200


def test_a_strip_merges_days_and_equal_neighbours(client, filled_stores):
    starts = [row["data_interval_start"] for row in filled_stores.warehouse.batch_rows_over_time("clinic")]
    days = {strip.column: strip for strip in drift_strips(filled_stores.warehouse.drift_cells("clinic", starts, 1))}
    pairs = {strip.column: strip for strip in drift_strips(filled_stores.warehouse.drift_cells("clinic", starts, 2))}
    age = filled_stores.warehouse.drift_over_time("clinic", starts[0], "age")
    ratios = [row["effect"] / row["threshold"] for row in age]
    assert [ratio > 2 for ratio in ratios] == [False, True, True, True, True], "older patients from the fourth day on"
    assert days["age"].paths[-1] == (4, "M2 0h4v1h-4z")
    assert pairs["age"].paths[-1] == (4, "M1 0h2v1h-2z")
    assert (days["age"].newest, days["age"].largest) == pytest.approx((ratios[-1], max(ratios)))
    assert days["age"].n_drifted == pairs["age"].n_drifted == 4
