"""The page in a real Chromium: each view, light and dark, on a phone, by keyboard, and with hostile texts.

On no page may a script fail, a request leave the machine, the content security policy be violated, or a text of a user
become an element; :class:`browser.BrowserTab` keeps all of these.
"""

import re
from collections import Counter
from urllib.parse import urljoin, urlsplit

import pytest

from browser import WIDTHS, BrowserTab, PageServer, needs_chromium
from monitored_project import COLUMN_CATEGORY, MonitoredProject, older_patients, payload

pytestmark = [needs_chromium, pytest.mark.system, pytest.mark.xdist_group("page"), pytest.mark.timeout(600)]

EXPERIMENTS = ["clinic", "flats", "archive", "hostile"]
VIEWS = {
    "experiment": "/experiments/{name}",
    "run": "/experiments/{name}/runs/{run}",
    "version": "/experiments/{name}/versions/{version}",
    "data": "/experiments/{name}/data",
    "compare": "/experiments/{name}/compare?a={first}&b={run}",
}
CHARTS = {"experiment": 1, "run": 1, "version": 0, "data": 0, "compare": 0}  # at least, and with marks
_MAX_PAGES = 150


@pytest.fixture(scope="session")
def places(filled_stores):
    """What stands in the paths of an experiment's views."""
    found = {}
    for name in EXPERIMENTS:
        runs = filled_stores.warehouse.runs(name)
        newest = next(run for run in runs if run["model_version"])
        found[name] = {
            "name": name,
            "run": newest["run_id"],
            "version": newest["model_version"],
            "first": runs[-1]["run_id"],
        }
    return found


def path_of(view, name, places):
    return VIEWS[view].format(**places[name])


def marks_of_charts(tab):
    """Return the number of marks that each chart has drawn."""
    marks = ".mark-symbol path, .mark-rect path, .mark-line path, .mark-area path, .mark-rule line, .mark-text text"
    query = f"(all) => all.map((one) => one.querySelectorAll({marks!r}).length)"
    return tab.page.eval_on_selector_all("[data-chart]", query)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_drawn_and_accessible_in_light_and_dark_and_on_a_phone(view, name, places, open_tab):
    tab = open_tab()
    tab.open(path_of(view, name, places))
    assert tab.draw_all_charts() >= CHARTS[view]
    check_view(tab)
    tab.page.emulate_media(color_scheme="dark")
    tab.draw_all_charts()
    check_view(tab)
    tab.page.set_viewport_size({"width": WIDTHS["phone"], "height": 844})
    tab.draw_all_charts()
    check_view(tab)


def check_view(tab):
    tab.draw_all_charts()
    assert tab.page.locator("[data-chart][data-state=failed]").count() == 0
    assert all(marks_of_charts(tab)), "each chart has marks"
    assert not tab.too_wide(), "\n".join(tab.too_wide())
    tab.check()
    assert tab.accessibility_problems() == []


@pytest.mark.parametrize("options", [{}, {"dark": True}, {"width": "phone", "has_touch": True, "is_mobile": True}])
def test_all_experiments_are_one_page(options, open_tab):
    tab = open_tab(**options)
    tab.open("/")
    for name in EXPERIMENTS:
        assert tab.page.locator(f"a[href$='experiments/{name}']").count() >= 1
    check_view(tab)


def test_experiments_are_found_by_name(open_tab):
    tab = open_tab()
    page = tab.open("/")
    page.get_by_role("searchbox").fill("clin")
    page.wait_for_function("() => !document.querySelector(\"a[href$='experiments/flats']\")")
    assert page.locator("a[href$='experiments/clinic']").count() >= 1
    assert "clin" in page.url, "the filter is in the address"
    tab.check()
    tab.open("/" + "?" + urlsplit(page.url).query)
    assert tab.page.locator("a[href$='experiments/flats']").count() == 0, "a link to the filtered list shows it"


def test_the_keyboard_reaches_everything_and_focus_is_visible(places, open_tab):
    tab = open_tab()
    page = tab.open("/experiments/clinic")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == "#main", "the skip link is first"
    assert page.evaluate("() => document.activeElement.getBoundingClientRect().top") >= 0, "it is visible with focus"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.querySelector('main').contains(document.activeElement)")
    tab.open(path_of("run", "clinic", places))
    focusable = "a[href], button, summary, [tabindex='0'], input, select"
    query = f"() => [...document.querySelectorAll({focusable!r})].filter((one) => one.checkVisibility()).length"
    expected = page.evaluate(query)
    seen = set()
    for _ in range(expected + 5):
        page.keyboard.press("Tab")
        place, outline = page.evaluate(
            """() => {
              const one = document.activeElement, style = getComputedStyle(one);
              const visible = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
              return [[...document.querySelectorAll('*')].indexOf(one), visible || one === document.body];
            }"""
        )
        assert outline, page.evaluate("() => document.activeElement.outerHTML.slice(0, 200)")
        seen.add(place)
    assert len(seen) >= expected * 0.95, "each control is reached by Tab"


def test_a_viewer_without_the_link_sees_nothing(chromium, page_server):
    context = chromium.new_context()
    tab = BrowserTab(context, page_server.base)
    page = tab.open("/experiments/clinic", status=401)
    assert "clinic" not in page.locator("main").inner_text()
    assert "diurnal page" in page.locator("main").inner_text(), "it says where the link is"
    tab.check()
    assert tab.accessibility_problems() == []
    page.goto(page_server.base + "/login?token=wrong")
    assert page.get_by_role("heading", name="not valid").count() == 1
    context.close()


def test_the_link_logs_in_once_and_a_new_one_is_printed(chromium, page_server):
    link = page_server.newest_link()
    for use in ("first", "second"):
        context = chromium.new_context()
        tab = BrowserTab(context, page_server.base)
        page = tab.page
        page.goto(link)
        if use == "first":
            page.wait_for_url(re.compile(r"/$"))
            assert page.locator("a[href$='experiments/clinic']").count() >= 1
            tab.check()
            cookie = context.cookies()[0]
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        else:
            assert page.get_by_role("heading", name="not valid").count() == 1
        context.close()
    assert page_server.newest_link(after=link) != link


def test_an_experiment_without_a_run_and_an_absent_page_say_what_to_do(open_tab):
    tab = open_tab()
    for path in ("experiments/absent", "experiments/clinic/runs/absent", "experiments/clinic/versions/99", "nothing"):
        page = tab.open(f"/{path}", status=404)
        assert page.get_by_role("link", name="experiments").count() >= 1, path
        assert not tab.too_wide(), "\n".join(tab.too_wide())
        tab.check()
    assert tab.accessibility_problems() == []


def test_a_project_without_runs_says_what_to_do(chromium, tmp_path_factory, empty_url):
    project = MonitoredProject.make(tmp_path_factory.mktemp("empty") / "project", empty_url)
    server = PageServer(project)
    try:
        context = chromium.new_context()
        tab = BrowserTab(context, server.base)
        tab.page.goto(server.link)
        tab.page.wait_for_url(re.compile(r"/$"))
        tab.settle()
        assert "diurnal run" in tab.page.locator("main").inner_text()
        tab.check()
        assert tab.accessibility_problems() == []
        context.close()
    finally:
        server.close()


def links_of(page):
    """Return the addresses of a page's links, of its charts and of what htmx loads, without fragments."""
    found = page.evaluate(
        """() => [...document.querySelectorAll('a[href], [data-chart], [hx-get]')].map(
          (one) => one.getAttribute('href') || one.dataset.chart || one.getAttribute('hx-get'))"""
    )
    return {urljoin(page.url, link).partition("#")[0] for link in found}


def test_every_page_that_links_lead_to_shows_hostile_texts_as_text(open_tab, page_server):
    """Follow each link from the hostile experiment on; no text of it is an element, runs, or breaks a page."""
    tab = open_tab()
    waiting = [f"{page_server.base}/", f"{page_server.base}/experiments/hostile"]
    seen, shown, shapes = set(waiting), set(), Counter()
    expected = {
        **{
            place: payload(place) for place in ("number", "target", "label_a", "docstring", "scorer", "message", "hint")
        },
        **{place: payload(place) for place in ("rollback", "promote", "promoted_by", "why", "accepted_by", "new")},
        "category": COLUMN_CATEGORY,
    }
    while waiting:
        url = waiting.pop(0)
        assert url.startswith(f"{page_server.base}/"), f"a link leads to another machine: {url}"
        if urlsplit(url).path.endswith((".json", "/model")):  # what charts load, and a file
            continue
        tab.open(url.removeprefix(page_server.base))
        tab.draw_all_charts()
        tab.check()
        page_text = tab.page.locator("body").inner_text() + tab.page.content()
        text = tab.page.evaluate("() => document.body.textContent")
        shown |= {place for place, value in expected.items() if value in text}
        assert "{{7*7}}" in page_text or "49" not in tab.page.title()
        for link in sorted(links_of(tab.page) - seen):
            if "/experiments/" in link and "/experiments/hostile" not in link:
                continue
            shape = re.sub(r"=[^&]*", "=", re.sub(r"hostile-[^/?&]+|/\d+", "/X", link))
            shapes[shape] += 1
            if shapes[shape] <= 3 and len(seen) < _MAX_PAGES:
                seen.add(link)
                waiting.append(link)
    assert shown == set(expected), f"not shown anywhere: {set(expected) - shown}"


@pytest.fixture
def changing(chromium, server, tmp_path):
    """A tab of a server with --allow-changes, and its project, which tests may change."""
    from databases import open_database

    with open_database(server) as url:
        project = MonitoredProject.make(tmp_path / "project", url)
        stores = project.stores()
        project.fill(stores, ("clinic",))
        page_server = PageServer(project, "--allow-changes")
        context = chromium.new_context()
        tab = BrowserTab(context, page_server.base)
        tab.page.goto(page_server.link)
        tab.page.wait_for_url(re.compile(r"/$"))
        try:
            yield tab, project, stores
        finally:
            context.close()
            page_server.close()
            stores.warehouse.close()


def test_a_viewer_promotes_and_rolls_back_with_a_reason(changing):
    tab, _, stores = changing
    page = tab.open("/experiments/clinic")
    row = page.locator("#versions tr", has=page.get_by_role("link", name="version 2", exact=True))
    row.get_by_role("link", name="Promote").click()
    tab.settle()
    check_view(tab)
    reason = f"it is steadier {payload('reason')}"
    page.get_by_role("textbox").fill(reason)
    page.get_by_role("button", name="Promote").click()
    tab.settle()
    assert "The version is the champion now." in page.get_by_role("status").inner_text()
    check_view(tab)
    promotion = stores.warehouse.newest_promotion("clinic")
    assert (promotion["version"], promotion["kind"], promotion["reason"]) == (2, "promote", reason)
    page.get_by_role("link", name="Roll back").click()
    tab.settle()
    check_view(tab)
    page.get_by_role("textbox").fill("not steadier at all")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("done=rollback"))
    promotion = stores.warehouse.newest_promotion("clinic")
    assert (promotion["version"], promotion["kind"], promotion["reason"]) == (6, "rollback", "not steadier at all")
    check_view(tab)


def test_a_viewer_accepts_a_change_of_the_contract(changing):
    tab, project, stores = changing
    project.put("clinic", "2026-11-11", older_patients("2026-11-11").assign(weight=70.5, height=1.7))
    assert not project.try_run("clinic", "2026-11-11", stores), "a column is new"
    page = tab.open("/experiments/clinic")
    page.get_by_role("link", name="Compare with the contract").first.click()
    tab.settle()
    page.locator("main", has_text="height").first.wait_for()
    check_view(tab)
    page.get_by_role("textbox", name=re.compile("reason|why", re.IGNORECASE)).fill("a new measure")
    page.get_by_role("button", name=re.compile("Accept")).click()
    page.wait_for_url(re.compile("done=contract"))
    tab.settle()
    check_view(tab)
    newest = stores.warehouse.contracts("clinic")[-1]
    assert (newest["version"], newest["why"]) == (3, "a new measure")
    assert project.try_run("clinic", "2026-11-11", stores)


def test_a_viewer_who_may_not_change_anything_sees_the_commands(open_tab):
    tab = open_tab()
    page = tab.open("/experiments/clinic")
    assert page.get_by_role("link", name=re.compile("Promote|Roll back|Compare with the contract")).count() == 0
    assert "diurnal promote clinic VERSION" in page.locator("#versions").inner_text()
    tab.open("/experiments/clinic/versions/2/promote", status=403)
    tab.check()
