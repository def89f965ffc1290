"""The login of `diurnal page`: links, cookies, and the command itself."""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar

import pytest
from fastapi.testclient import TestClient

from diurnal.page.app import create_app
from diurnal.page.local_login import LocalLogin
from diurnal.page.page_stores import PageStores
from diurnal.runtime import Settings


@pytest.fixture
def tokens():
    return []


@pytest.fixture
def login(tokens):
    login = LocalLogin("ada", False, tokens.append, cookie="page_8787")
    login.new_link()
    return login


@pytest.fixture
def app(login, tmp_path):
    (tmp_path / "diurnal.toml").write_text("[diurnal]\n")
    stores = PageStores(lambda: Settings.load(tmp_path, {}))
    return create_app(stores, login.authenticate, public_routes=[login.route])


def browser(app) -> TestClient:
    return TestClient(app, base_url="http://localhost:8787")


def test_a_link_gives_a_cookie_once(app, tokens):
    first, second = browser(app), browser(app)
    assert first.get("/").status_code == 401
    response = first.get(f"/login?token={tokens[0]}")
    assert response.status_code == 200
    cookie = response.headers["set-cookie"]
    assert re.fullmatch(r"page_8787=[\w-]{43}; HttpOnly; Max-Age=604800; Path=/; SameSite=strict", cookie)
    assert first.get("/").status_code == 200
    assert second.get(f"/login?token={tokens[0]}").status_code == 401
    assert second.get("/").status_code == 401
    assert second.get(f"/login?token={tokens[1]}").status_code == 200, "the terminal shows another link"
    assert second.get("/").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "ä", "%00"])
def test_another_token_is_rejected(app, tokens, token):
    assert browser(app).get(f"/login?token={token}").status_code == 401
    assert browser(app).get("/login").status_code == 401
    assert browser(app).get("/", headers={"cookie": "page_8787=x"}).status_code == 401
    assert browser(app).get("/", headers={"cookie": f"page_8787={tokens[0]}"}).status_code == 401
    assert len(tokens) == 1


def test_an_expired_link_is_replaced(app, login, tokens):
    login._expires = 0.0
    assert browser(app).get(f"/login?token={tokens[0]}").status_code == 401
    assert len(tokens) == 2
    assert browser(app).get(f"/login?token={tokens[1]}").status_code == 200


def test_sessions_are_limited(app, login, tokens):
    first = browser(app)
    first.get(f"/login?token={tokens[-1]}")
    for _ in range(100):
        browser(app).get(f"/login?token={tokens[-1]}")
    assert len(login._sessions) == 100
    assert first.get("/").status_code == 401, "the oldest session ends"


def page_command(folder, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "diurnal", "page", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_serves_the_page_of_the_project(tmp_path):
    (tmp_path / "diurnal.toml").write_text("[diurnal]\n")
    process = page_command(tmp_path, "--port", "0")
    try:
        assert "read-only" in process.stdout.readline()
        link = process.stdout.readline().strip()
        assert link.startswith("http://127.0.0.1:")
        assert "valid once" in process.stdout.readline()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert "Logged in" in opener.open(link, timeout=30).read().decode()
        root = link.partition("/login")[0]
        assert "Nothing has run yet" in opener.open(root, timeout=30).read().decode()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(root, timeout=30)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            opener.open(urllib.request.Request(root, headers={"Host": "evil.example"}), timeout=30)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert "Traceback" not in errors


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_for_other_machines_needs_a_host_name(project, host):
    done = project.command("page", "--host", host)
    assert done.returncode == 2
    assert "--allow-host NAME" in done.stderr
