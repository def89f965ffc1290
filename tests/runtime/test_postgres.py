import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import psycopg
import pytest

from diurnal.errors import ConfigurationError
from diurnal.runtime.postgres import EmbeddedServer

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
USE = """
import sys
from pathlib import Path
from diurnal.runtime.postgres import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.start(), flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach; pytest's own are root's alone when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-") as parent:
        Path(parent).chmod(0o711)
        yield Path(parent) / "warehouse"


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT current_database()").fetchone() == ("warehouse",)
    except psycopg.OperationalError:
        return False


def postmaster(server: EmbeddedServer) -> int:
    return int((server.folder / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def use(folder: Path, then: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USE + then, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_last_user_stops_it(folder):
    first, second = EmbeddedServer(folder), EmbeddedServer(folder)
    url = first.start()
    assert second.start() == url
    first.close()
    assert answers(url)
    second.close()
    assert not answers(url)


def test_processes_that_start_it_at_once_share_one_and_a_killed_one_does_not_keep_it(folder):
    waiting = "input()"
    users = [use(folder, waiting) for _ in range(3)]
    urls = {user.stdout.readline().strip() for user in users}
    assert len(urls) == 1
    url = urls.pop()
    users[0].kill()
    users[0].communicate()
    users[1].communicate("\n")
    assert answers(url)
    users[2].communicate("\n")
    assert not answers(url)


def test_forked_child_does_not_stop_it(folder):
    fork = "import os; child = os.fork(); child or sys.exit(); os.waitpid(child, 0); input()"
    user = use(folder, fork)
    url = user.stdout.readline().strip()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_sleep(0.3)")  # the child has ended by now
        assert answers(url)
    user.communicate("\n")
    assert not answers(url)


def test_start_after_kill_9_of_server_whose_pid_is_used_again(folder):
    with EmbeddedServer(folder) as server:
        with psycopg.connect(server.start(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(postmaster(server), signal.SIGKILL)
        left = server.folder / "cluster" / "postmaster.pid"
        left.write_text(re.sub(r"\A\d+", str(os.getpid()), left.read_text()))
        (server.folder / "new-half").mkdir()
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
        assert not (server.folder / "new-half").exists()


def test_server_that_is_frozen_is_waited_for(folder):
    with EmbeddedServer(folder) as server:
        frozen = postmaster(server)
        os.kill(frozen, signal.SIGSTOP)
        thaw = Timer(2.5, os.kill, (frozen, signal.SIGCONT))
        thaw.start()
        server.start()
        assert postmaster(server) == frozen
        thaw.join()


def test_keep_lets_it_run_until_stop(folder):
    server = EmbeddedServer(folder)
    url = server.start(keep=True)
    server.close()
    assert answers(url)
    server.stop()
    assert not answers(url)


def test_only_owner_reaches_socket(folder):
    with EmbeddedServer(folder) as server:
        assert server.folder.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(server.url("warehouse")) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_path_too_long_for_a_socket(folder):
    deep = folder / ("x" * 60) / ("y" * 60) / "warehouse"
    with EmbeddedServer(deep) as server:
        sockets = Path(re.search(r"host=([^&]*)", server.url("warehouse"))[1])
        assert answers(server.url("warehouse"))
        assert sockets.stat().st_mode & 0o777 == 0o700
    sockets.rmdir()


def test_failure_shows_last_words_of_log(folder):
    with EmbeddedServer(folder) as server:
        settings = server.folder / "cluster" / "postgresql.conf"
    with settings.open("a") as lines:
        lines.write("port = 'north'\n")
    with pytest.raises(ConfigurationError, match="north") as caught:
        server.start()
    assert caught.value.hint
    server.close()


def test_path_that_a_shell_would_read_is_refused(folder):
    with pytest.raises(ConfigurationError, match="quote"):
        EmbeddedServer(folder / "$(date)").start()


@as_root
def test_root_runs_it_as_own_account_and_opens_no_folder(folder):
    private = folder.parent / "private"
    private.mkdir(mode=0o700)
    with EmbeddedServer(private / "warehouse") as server:
        assert server.folder.parts[:4] == ("/", "var", "lib", "diurnal")
        assert Path(f"/proc/{postmaster(server)}").stat().st_uid == server.folder.stat().st_uid != 0
        assert answers(server.url("warehouse"))
    assert private.stat().st_mode & 0o777 == 0o700
    assert list(private.iterdir()) == []
    shutil.rmtree(server.folder.parent)


@as_root
def test_root_finds_its_data_again_when_a_parent_is_opened(folder):
    private = folder.parent / "private"
    private.mkdir(mode=0o700)
    with EmbeddedServer(private / "warehouse") as server, psycopg.connect(server.url("warehouse")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    assert (server.folder.parent / "project").read_text().strip() == str(private / "warehouse")
    private.chmod(0o711)
    with EmbeddedServer(private / "warehouse") as again, psycopg.connect(again.url("warehouse")) as connection:
        assert again.folder == server.folder
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    (private / "warehouse" / "cluster").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="there are two warehouses"):
        EmbeddedServer(private / "warehouse").start()
    shutil.rmtree(server.folder.parent)


@as_root
def test_root_starts_no_other_when_a_parent_is_closed(folder):
    folder.parent.joinpath("open").mkdir(mode=0o755)
    place = folder.parent / "open" / "warehouse"
    with EmbeddedServer(place) as server:
        assert server.folder == place
    place.parent.chmod(0o700)
    with pytest.raises(ConfigurationError, match=r"can no longer reach .*open/warehouse"):
        EmbeddedServer(place).start()


@as_root
def test_root_runs_it_as_owner_of_the_data(folder):
    folder.mkdir()
    os.chown(folder, 1, 1)
    with EmbeddedServer(folder) as server:
        assert Path(f"/proc/{postmaster(server)}").stat().st_uid == 1


@as_root
def test_folder_of_somebody_else_is_refused(folder):
    folder.mkdir()
    os.chown(folder, 1, 1)
    code = USE.replace("print(", "os.setuid(2); print(").replace("import sys", "import os, sys")
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert "PermissionDeniedError" in done.stderr


@as_root
def test_processes_that_need_the_account_at_the_same_time_get_the_same_one():
    name = f"diurnal-{os.getpid()}"
    create = f"os_user._NAME = {name!r}; print(os_user._create_account().pw_uid)"
    code = f"from diurnal.runtime.postgres import os_user; {create}"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        seen = {process.communicate(timeout=60)[0].strip() for process in started}
        assert seen == {str(pwd.getpwnam(name).pw_uid)}
    finally:
        subprocess.run(["userdel", name], check=True)
