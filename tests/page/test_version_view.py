"""View 4, a model version: its card, without loading it, and its file, which is verified before it is sent."""

import hashlib
import json
import re

import pytest
from fastapi.testclient import TestClient

from diurnal.page.app import create_app
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings
from page_texts import section_text

UNSEEN = ["clinic/versions/7", "clinic/versions/0", "clinic/versions/9999999999", "flats/versions/1"]

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def client(filled):
    settings = Settings.load(filled.folder, {"DIURNAL_WAREHOUSE": filled.warehouse_url})
    stores = PageStores(lambda: settings)
    app = create_app(stores, lambda: Viewer("ada", "session", can_read=lambda name: name != "flats"))
    yield TestClient(app, base_url="http://localhost:8787", raise_server_exceptions=False)
    stores.close()


def show(client, name: str, version: int) -> str:
    response = client.get(f"/experiments/{name}/versions/{version}")
    assert response.status_code == 200, response.text
    return response.text


def test_the_card_shows_the_structure_of_the_estimator(client):
    text = section_text(show(client, "clinic", 6), "estimator")
    assert "Pipeline columntransformer ColumnTransformer standardscaler age, pressure StandardScaler" in text
    assert "onehotencoder ward OneHotEncoder handle_unknown = &#39;ignore&#39;" in text
    assert "logisticregression LogisticRegression C = 0.001" in text


def test_the_card_shows_signature_and_golden_rows(client, filled_stores):
    page = show(client, "clinic", 6)
    signature = filled_stores.warehouse.version("clinic", 6)["signature"]
    assert "age float no pressure float no ward text no east, north, south weight float yes" in section_text(
        page, "signature"
    )
    golden = section_text(page, "golden")
    assert " ".join(map(str, signature["golden"]["rows"][0])) in golden
    assert f"{signature['golden']['probabilities'][0][1]:.4f}" in golden


def test_the_code_of_the_card_runs(client, filled, monkeypatch):
    """The code that a user copies loads the version and predicts its golden rows."""
    import pandas as pd

    code = re.search(r'data-copy="(import diurnal[^"]*)"', show(client, "clinic", 6))[1]
    for entity, sign in (("&#39;", "'"), ("&#34;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        code = code.replace(entity, sign)
    monkeypatch.setenv("DIURNAL_PROJECT", str(filled.folder))
    monkeypatch.setenv("DIURNAL_WAREHOUSE", filled.warehouse_url)
    *statements, last = code.splitlines()
    names: dict[str, object] = {}
    exec("\n".join(statements), names)
    assert isinstance(names["X"], pd.DataFrame)
    assert eval(last, names).shape == (2, 2)


def test_periods_of_service(client):
    first, champion, never = (section_text(show(client, "clinic", version), "service") for version in (1, 6, 5))
    assert first.count("anna") == 2, "promoted, and rolled back to"
    assert "rollback the new ones disappoint" in first
    assert "serves now" not in first
    assert "serves now" in champion
    assert "This version was never the champion" in never
    assert "diurnal promote clinic 5" in never


def test_live_scores_of_a_version(filled, filled_stores):
    settings = Settings.load(filled.folder, {"DIURNAL_WAREHOUSE": filled.warehouse_url})
    stores = PageStores(lambda: settings)
    client = TestClient(create_app(stores, lambda: Viewer("ada", "session")), base_url="http://localhost:8787")
    newest = filled_stores.warehouse.live_scores("flats")[-1]
    text = section_text(show(client, "flats", newest["version"]), "live")
    assert f"{newest['n_predictions']} {newest['n_labelled']} \N{EN DASH} {newest['score']:.4f}" in text
    assert "version" not in text.partition("In-sample rows")[0]
    page = client.get("/experiments/flats").text
    assert f"version {newest['version']} {newest['n_predictions']}" in section_text(page, "live")
    spec = client.get("/experiments/flats/charts/live_scores.json").json()
    assert [row["l"] for row in spec["datasets"]["rows"]] == ["2026-11-03", "2026-11-04"]
    assert "This version has predicted no batch. diurnal score clinic" in section_text(
        show(client, "clinic", 6), "live"
    )
    stores.close()


def test_neighbours_are_linked(client):
    assert 'rel="prev"' not in show(client, "clinic", 1)
    assert 'rel="next"' in show(client, "clinic", 1)
    assert 'rel="next"' not in show(client, "clinic", 6)


def test_the_file_of_the_model_is_sent(client, filled_stores):
    response = client.get("/experiments/clinic/versions/6/model")
    assert response.status_code == 200
    assert hashlib.sha256(response.content).hexdigest() == filled_stores.warehouse.version("clinic", 6)["digest"]
    assert response.headers["content-disposition"] == 'attachment; filename="clinic-6.skops"'


def test_a_changed_file_is_not_sent(client, filled_stores):
    version = filled_stores.warehouse.version("clinic", 5)
    path = f"{filled_stores.models.url(version['path'])}/model.skops"
    content = filled_stores.models.fs.cat_file(path)
    filled_stores.models.fs.pipe_file(path, content + b"0")
    try:
        response = client.get("/experiments/clinic/versions/5/model")
    finally:
        filled_stores.models.fs.pipe_file(path, content)
    assert response.status_code == 400
    assert "the digest differs" in response.text


def test_model_json_is_sent(client):
    response = client.get("/experiments/clinic/versions/6/model.json")
    assert response.json()["structure"]["title"] == "Pipeline"


def test_a_version_of_an_earlier_release_has_no_structure(client, filled_stores):
    version = filled_stores.warehouse.version("archive", 2)
    path = f"{filled_stores.models.url(version['path'])}/model.json"
    content = filled_stores.models.fs.cat_file(path)
    card = json.loads(content)
    del card["structure"]
    filled_stores.models.fs.pipe_file(path, json.dumps(card).encode())
    try:
        page = show(client, "archive", 2)
        filled_stores.models.fs.pipe_file(path, b'{"structure": {"parts": [1, {"title": []}], "params": 3}}')
        tampered = show(client, "archive", 2)
    finally:
        filled_stores.models.fs.pipe_file(path, content)
    assert "logisticregression__C" in section_text(page, "estimator")
    assert "Estimator" in section_text(tampered, "estimator"), "a card of any form is shown"


def test_a_lost_file_is_named(client, filled_stores):
    version = filled_stores.warehouse.version("clinic", 3)
    path = f"{filled_stores.models.url(version['path'])}/model.skops"
    filled_stores.models.fs.mv(path, f"{path}.away")
    try:
        page = show(client, "clinic", 3)
        response = client.get("/experiments/clinic/versions/3/model")
    finally:
        filled_stores.models.fs.mv(f"{path}.away", path)
    assert "is missing" in page
    assert response.status_code == 400


@pytest.mark.parametrize(
    "path", ["clinic/versions/7", "clinic/versions/0", "clinic/versions/9999999999", "flats/versions/1"]
)
def test_what_does_not_exist_or_may_not_be_seen(client, path):
    for suffix in ("", "/model", "/model.json"):
        assert client.get(f"/experiments/{path}{suffix}").status_code == 404


def test_nothing_of_a_hostile_version_is_markup(client):
    page = show(client, "hostile", 3)
    assert "data-xss" in page, "the texts are shown"
    assert not re.search(r"<[^>]*\sdata-xss", re.sub(r'"[^"]*"', '""', page)), "and none of them is an element"
