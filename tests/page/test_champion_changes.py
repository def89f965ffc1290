"""Promotion, rollback and acceptance of a contract on the page: the same results as by the commands."""

import re

import pytest
from fastapi.testclient import TestClient

from diurnal.page.app import create_app
from diurnal.page.contract_process import ContractProcess
from diurnal.page.orchestrator import NoOrchestrator
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings
from projects import patients

SAME_ORIGIN = {"origin": "http://localhost:8787"}


class Page:
    """The page of a project, for a viewer who may change it."""

    def __init__(self, project) -> None:
        self.announced = []
        settings = Settings.load(project.folder, {"DIURNAL_WAREHOUSE": project.warehouse_url})
        self.stores = PageStores(lambda: settings)
        viewer = Viewer("anna", "session", can_change=lambda _: True)
        app = create_app(
            self.stores,
            lambda: viewer,
            allowed_hosts=["localhost"],
            orchestrator=NoOrchestrator(self.announced.append),
            contracts=ContractProcess(project.folder),
        )
        self.client = TestClient(app, base_url="http://localhost:8787")

    def get(self, path: str) -> str:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.text

    def send(self, path: str, *, shown_at: str | None = None, **fields: str):
        """Send the form that a page shows, with its hidden fields."""
        page = self.get(shown_at or path)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
        return self.client.post(path, data={**hidden, **fields}, headers=SAME_ORIGIN, follow_redirects=False)


@pytest.fixture
def page(project, stores):
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        project.run(date, stores)
    page = Page(project)
    yield page
    page.stores.close()


def test_a_promotion_and_a_rollback_are_rows_of_the_history(page, stores):
    other = 1 if stores.warehouse.champion("clinic").version == 2 else 2
    path = f"/experiments/clinic/versions/{other}/promote"
    response = page.send(path, reason="  the newer one disappoints  ")
    assert response.status_code == 303
    assert response.headers["location"] == "../../../../experiments/clinic?done=promote#versions"
    newest = stores.warehouse.promotions("clinic")[0]
    assert (newest["version"], newest["kind"], newest["promoted_by"], newest["reason"]) == (
        other,
        "promote",
        "anna",
        "the newer one disappoints",
    )
    assert page.announced == ["clinic"]
    assert "The version is the champion now." in page.get("/experiments/clinic?done=promote")

    back = f"/experiments/clinic/versions/{3 - other}/rollback"
    response = page.send(back, shown_at="/experiments/clinic/rollback", reason="back")
    assert response.status_code == 303
    assert stores.warehouse.promotions("clinic")[0]["kind"] == "rollback"
    assert stores.warehouse.champion("clinic").version == 3 - other
    assert page.announced == ["clinic", "clinic"]


def test_a_promotion_needs_a_reason_and_the_champion_that_was_shown(page, stores):
    champion = stores.warehouse.champion("clinic").version
    other = 3 - champion
    path = f"/experiments/clinic/versions/{other}/promote"
    before = stores.warehouse.promotions("clinic")
    assert "Write a reason" in page.send(path, reason=" ").text
    stale = page.send(path, reason="mine", champion=str(other))
    assert stale.status_code == 409
    assert "has changed since" in stale.text
    assert ">mine</textarea>" in stale.text, "what was written is not lost"
    same = page.send(f"/experiments/clinic/versions/{champion}/promote", shown_at=path, reason="again")
    assert same.status_code == 409
    assert "already the champion" in same.text
    assert stores.warehouse.promotions("clinic") == before
    assert page.announced == []


def test_a_damaged_model_is_not_promoted(page, project, stores):
    champion = stores.warehouse.champion("clinic").version
    row = stores.warehouse.version("clinic", 3 - champion)
    file = next(path for path in (project.folder / "models").rglob("*.skops") if row["digest"][:8] in str(path))
    file.chmod(0o644)
    file.write_bytes(b"damaged" + file.read_bytes())
    response = page.send(f"/experiments/clinic/versions/{3 - champion}/promote", reason="x")
    assert response.status_code == 400
    assert stores.warehouse.champion("clinic").version == champion


@pytest.mark.system
def test_a_rejected_batch_is_accepted(page, project, stores, monkeypatch):
    monkeypatch.setenv("DIURNAL_WAREHOUSE", project.warehouse_url)
    project.bring("2026-11-03", patients("2026-11-03").assign(weight=70.5))
    assert project.command("run", "clinic", "--date", "2026-11-03").returncode == 65
    shown = page.get("/experiments/clinic")
    path = "/" + re.search(r'href="\.\./(experiments/clinic/contract/accept[^"]+)"', shown)[1]
    assert "extra-column" in page.get(path)
    difference = page.get(path.replace("accept", "difference"))
    assert "can be accepted" in difference
    assert "weight" in difference
    assert "Write a reason" in page.send(path, why="").text
    response = page.send(path, why="the scales are connected")
    assert response.status_code == 303, response.text
    newest = stores.warehouse.contracts("clinic")[-1]
    assert (newest["version"], newest["why"]) == (2, "the scales are connected")
    assert project.command("run", "clinic", "--date", "2026-11-03").returncode == 0
    assert "resolved" in page.get("/experiments/clinic")
