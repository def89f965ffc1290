"""Reports: one file with everything inside, for each kind of run, and safe whatever texts a batch brings."""

import re
from html.parser import HTMLParser

import pytest

import monitored_project
from browser import needs_chromium
from diurnal.errors import NotFoundError
from diurnal.page import run_report
from diurnal.page.report_content import select_run
from diurnal.page.run_report import MAX_BYTES, build_report

pytestmark = pytest.mark.xdist_group("page")
EXPERIMENTS = ["clinic", "flats", "archive", "hostile"]
SECTIONS = {"scores", "timeline", "tuning", "evaluation", "drift", "data", "code", "warnings", "promotions", "model"}
ALLOWED_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "h1", "h2", "h3"),
    *("p", "a", "div", "span", "table", "thead", "tbody", "tr", "th", "td", "time", "code", "pre", "ul", "li"),
    *("figure", "img", "figcaption"),
}


class Elements(HTMLParser):
    """The elements of a document."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = set(), [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, *names):
        return [value for _, name, value in self.attributes if name in names]


@pytest.fixture(scope="module")
def reports(filled_stores):
    """The report of the newest run of each experiment."""
    return {name: build_report(filled_stores, select_run(filled_stores, name)) for name in EXPERIMENTS}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_report_needs_nothing_else_and_a_mail_carries_it(reports, name):
    elements = Elements(reports[name])
    assert elements.tags <= ALLOWED_TAGS, "no script, no frame, no form, and no SVG beside images"
    links = elements.values("src", "href", "action", "srcset", "poster", "xlink:href")
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in links)
    assert not [name for _, name, _ in elements.attributes if name.startswith("on") or name == "style"]
    assert len(reports[name].encode()) < MAX_BYTES
    assert set(elements.values("id")) >= SECTIONS
    assert any("default-src 'none'" in value for value in elements.values("content"))


def test_a_report_says_what_happened_and_why(filled_stores, reports):
    run = select_run(filled_stores, "clinic")
    text = re.sub(r"\s+", " ", "".join(Elements(reports["clinic"]).texts))
    assert f"Version {run['model_version']} became the champion." in text
    assert run["reason"] in text
    for part in ("Predict which patients are ill", run["run_id"], run["code_digest"], "make_column_transformer("):
        assert part in text
    assert f'diurnal.load_model("clinic@{run["model_version"]}")' in text
    assert "weight has the same value in every row" in text, "its warning"
    assert "the new ones disappoint" in text, "the reason of the rollback"
    kept = select_run(filled_stores, "clinic", "2026-11-07")
    assert not kept["promoted"]
    text = "".join(Elements(build_report(filled_stores, kept)).texts)
    assert "was published and not promoted. Version 1 stayed the champion." in text
    assert "worse than the champion by more than chance" in text


def test_the_table_of_drift_has_small_distributions(filled_stores, reports):
    elements = Elements(reports["flats"])
    described = [text for tag, name, text in elements.attributes if tag == "img" and name == "alt"]
    columns = [one["column"] for one in select_run(filled_stores, "flats")["drift"]["columns"]]
    profiled = [column for column in columns if f"Distribution of {column}: the batch blue" in " ".join(described)]
    assert {"district", "area", "rooms", "price"} <= set(profiled)


def test_a_report_has_metrics_of_the_predicted_classes(filled_stores, reports):
    text = " ".join("".join(Elements(reports["clinic"]).texts).split())
    assert "precision, mean of the classes" in text
    assert "Metrics of the predicted classes" not in reports["flats"], "a regression has none"


def test_a_run_of_an_earlier_release_has_a_report(reports):
    text = "".join(Elements(reports["archive"]).texts)
    assert "No evaluation data are stored for this run." in text
    assert "No drift is stored for this run" in text
    assert "The batch has no profile." in text


def test_a_lost_file_is_a_note_in_the_report(filled_stores):
    run = select_run(filled_stores, "flats")
    lost = {**run, "candidates": "flats/candidates/20261104T000000Z/gone.parquet", "evaluation": "flats/gone.json"}
    text = "".join(Elements(build_report(filled_stores, lost)).texts)
    for what, path in (("table of candidates", lost["candidates"]), ("evaluation", lost["evaluation"])):
        assert f"The {what} cannot be read: the file {path} of the lake is missing or damaged." in text


def test_every_hostile_text_is_shown_as_text(reports):
    elements = Elements(reports["hostile"])
    assert not [value for _, name, value in elements.attributes if name == "data-xss"]
    assert all(
        value.startswith("data:image/svg+xml;base64,")
        for tag, name, value in elements.attributes
        if tag == "img" and name == "src"
    )
    text = "".join(elements.texts)
    for place in (
        "number",
        "target",
        "label_a",
        "value_a",
        "docstring",
        "scorer",
        "rollback",
        "promote",
        "promoted_by",
    ):
        assert monitored_project.payload(place) in text, place
    assert monitored_project.COLUMN_CATEGORY in text


def test_a_report_that_would_be_too_large_leaves_out_its_largest_charts(filled_stores, monkeypatch):
    run = select_run(filled_stores, "clinic")
    whole = build_report(filled_stores, run)
    monkeypatch.setattr(run_report, "MAX_BYTES", len(whole.encode()) - 1)
    smaller = build_report(filled_stores, run)
    assert len(smaller.encode()) < len(whole.encode())
    assert "The chart is left out" in smaller


def test_the_run_of_a_date_is_found_in_the_timezone_of_the_experiment(filled_stores):
    assert select_run(filled_stores, "flats")["run_id"].startswith("flats-20261104T")
    assert select_run(filled_stores, "flats", "2026-11-02")["run_id"].startswith("flats-20261102T")
    with pytest.raises(NotFoundError, match="no run of 2026-11-03; the nearest are 2026-11-01, 2026-11-02, 2026-11-04"):
        select_run(filled_stores, "clinic", "2026-11-03")
    with pytest.raises(NotFoundError, match="dormant has no run yet"):
        select_run(filled_stores, "dormant")


def test_the_command_writes_a_file_with_the_name_of_experiment_and_date(filled, tmp_path):
    done = filled.command("report", "flats", "--date", "2026-11-03", "-o", str(tmp_path / "a.html"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "flats, 2026-11-03" in (tmp_path / "a.html").read_text(encoding="utf-8")
    done = filled.command("report", "flats")
    assert done.stdout.startswith("flats-2026-11-04.html: the report of flats-20261104T000000Z-")
    written = filled.folder / "flats-2026-11-04.html"
    assert written.read_text(encoding="utf-8").startswith("<!doctype html>")
    written.unlink()
    done = filled.command("report", "flats", "-o", "-")
    assert done.stdout.startswith("<!doctype html>")
    done = filled.command("report", "flats", "--date", "2020-01-01")
    assert done.returncode == 2
    assert "flats has no run of 2020-01-01" in done.stderr


@needs_chromium
@pytest.mark.system
@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_a_browser_shows_the_file_without_a_request(reports, name, width, tmp_path, open_file):
    path = tmp_path / "report.html"
    path.write_text(reports[name], encoding="utf-8")
    tab = open_file(path, width=width)
    tab.check()
    assert [url for url in tab.requests if not url.startswith("data:")] == [path.as_uri()]
    assert tab.too_wide() == []
    assert tab.accessibility_problems() == []
    sizes = tab.page.eval_on_selector_all("img", "(all) => all.map((one) => one.naturalWidth)")
    assert all(sizes), "each chart is drawn"
