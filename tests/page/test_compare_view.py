"""Two runs beside each other: what differs is marked, and their curves are in one chart."""

import pytest
from fastapi.testclient import TestClient

from diurnal.page.app import create_app
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings
from page_texts import section_text

COMPARE = "/experiments/clinic/compare"

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def client(filled):
    settings = Settings.load(filled.folder, {"DIURNAL_WAREHOUSE": filled.warehouse_url})
    stores = PageStores(lambda: settings)
    yield TestClient(create_app(stores, lambda: Viewer("ada", "session")), base_url="http://localhost:8787")
    stores.close()


@pytest.fixture(scope="module")
def ids(filled_stores):
    rows = filled_stores.warehouse.runs()
    return {f"{row['experiment']} {row['data_interval_start']:%d}": row["run_id"] for row in rows}


def show(client, first: str, second: str, path: str = COMPARE) -> str:
    response = client.get(path, params={"a": first, "b": second})
    assert response.status_code == 200, response.text
    return response.text


def test_what_differs_is_marked(client, ids):
    page = show(client, ids["clinic 07"], ids["clinic 08"])
    assert "logisticregression__C differs 0.1 0.001" in section_text(page, "parameters")
    assert "n_candidates differs 4 6" in section_text(page, "conditions")
    assert "scikit-learn differs" not in section_text(page, "libraries")
    assert "0 batches in both windows, 1 only in that of 2026-11-07, 1 only in that of 2026-11-08" in page
    code = section_text(page, "code")
    removed, added = (
        "(StandardScaler(), [&#39;pressure&#39;])",
        "(StandardScaler(), [&#34;age&#34;, &#34;pressure&#34;])",
    )
    assert f"\N{MINUS SIGN} {removed}" in code
    assert f"+ {added}" in code


def test_what_is_equal_is_said(client, ids):
    page = show(client, ids["clinic 01"], ids["clinic 02"])
    assert section_text(page, "code").startswith("Code The same")
    assert "Both are the same run" in show(client, ids["clinic 01"], ids["clinic 01"])


def test_windows_share_batches(client, ids):
    page = show(client, ids["flats 02"], ids["flats 03"], "/experiments/flats/compare")
    assert "1 batch in both windows, 1 only in that of 2026-11-02, 1 only in that of 2026-11-03" in page


def test_curves_of_both_are_in_one_chart(client, ids):
    query = {"a": ids["clinic 07"], "b": ids["clinic 08"]}
    spec = client.get(f"{COMPARE}/charts/roc.json", params=query).json()
    assert "2026-11-07" in str(spec)
    assert "2026-11-08" in str(spec)
    assert client.get(f"{COMPARE}/charts/residuals.json", params=query).status_code == 404


def test_an_older_run_has_no_curves(client, ids):
    page = show(client, ids["archive 01"], ids["archive 02"], "/experiments/archive/compare")
    assert "2026-11-01 has no evaluation data" in page


def test_without_two_runs_it_shows_what_to_do(client, ids):
    assert "Two runs to compare" in client.get(COMPARE).text
    assert "Two runs to compare" in client.get(COMPARE, params={"a": ids["clinic 01"]}).text


def test_runs_of_other_experiments_do_not_exist(client, ids):
    for first, second in (("clinic 01", "archive 01"), ("archive 01", "clinic 01")):
        query = {"a": ids[first], "b": ids[second]}
        assert client.get(COMPARE, params=query).status_code == 404
        assert client.get(f"{COMPARE}/charts/roc.json", params=query).status_code == 404
