"""What every container of the Compose files must hold to, whichever overlays are taken."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STACKS = [("compose.yaml",), ("compose.yaml", "compose.celery.yaml"), ("compose.yaml", "compose.spark.yaml")]
SECRETS = [
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "API_SECRET_KEY",
    "FERNET_KEY",
    "JWT_SECRET",
    "POSTGRES_PASSWORD",
    "WAREHOUSE_PASSWORD",
]
OURS = [
    "api-server",
    "dag-processor",
    "init",
    "page",
    "scheduler",
    "serving",
    "triggerer",
    "worker",
    "flower",
    "spark-master",
    "spark-worker",
]
PAGES = {
    "api-server": "8080",
    "page": "8787",
    "serving": "8088",
    "mlflow": "5000",
    "flower": "5555",
    "spark-master": "8080",
}


def _filled(text: str, values: dict[str, str]) -> str:
    """Fill in ${X:-default} and ${X:?advice} as Compose does; `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["name"] in values:
            return values[match["name"]]
        assert match["sign"] != ":?", f"{match['name']} {match['rest']}"
        return match["rest"] or ""

    return re.sub(r"(?P<dollar>\$\$)|\$\{(?P<name>\w+)(?:(?P<sign>:-|:\?)(?P<rest>[^}]*))?\}", value, text)


def _merged(below: object, above: object) -> object:
    """Lay an overlay above a file as Compose does: mappings are merged, `command` and scalars replaced, lists added."""
    if isinstance(below, dict) and isinstance(above, dict):
        same = {key: _merged(below[key], above[key]) for key in below.keys() & above.keys()}
        return {**below, **above, **same}
    return below + above if isinstance(below, list) and isinstance(above, list) else above


@cache
def rendered(stack: tuple[str, ...]) -> dict:
    values = {name: f"secret-{name}" for name in [*SECRETS, "REDIS_PASSWORD", "SPARK_SECRET"]}
    document: object = {}
    for name in stack:
        document = _merged(document, yaml.safe_load(_filled((ROOT / name).read_text(), values)))
    assert isinstance(document, dict)
    return document


def _limits(service: dict) -> dict:
    return service["deploy"]["resources"]["limits"]


def _mounts(service: dict) -> dict[str, tuple[str, str]]:
    """Give, by the place inside, what is mounted there and how."""
    cut = [(*mount.split(":"), "rw")[:3] for mount in service.get("volumes", [])]
    return {inside: (outside, how) for outside, inside, how in cut}


def _bytes(size: str) -> float:
    return float(size[:-1]) * {"m": 2**20, "g": 2**30}[size[-1]]


def _waits_for(service: dict, other: str, condition: str) -> bool:
    return service.get("depends_on", {}).get(other, {}).get("condition") == condition


# Of every container.
EVERYWHERE = {
    "root is read-only": lambda s: s["read_only"] is True,
    "no capability is kept": lambda s: s["cap_drop"] == ["ALL"],
    "none is added": lambda s: "cap_add" not in s,
    "nobody gains privileges": lambda s: "no-new-privileges:true" in s["security_opt"],
    "seccomp stays on": lambda s: not any("unconfined" in option for option in s["security_opt"]),
    "it is not privileged": lambda s: not s.get("privileged"),
    "its user is set, and is not root": lambda s: s["user"].split(":")[0] not in ("", "0", "root"),
    "it has a /tmp in memory": lambda s: any(place.split(":")[0] == "/tmp" for place in s["tmpfs"]),
    "memory is limited": lambda s: 0 < _bytes(_limits(s)["memory"]) <= 4 * 2**30,
    "cores are limited": lambda s: 0 < float(_limits(s)["cpus"]) <= 2,
    "processes are limited": lambda s: 0 < _limits(s)["pids"] <= 1024,
    "its log is rotated": lambda s: {"max-size", "max-file"} <= s["logging"]["options"].keys(),
    "it says when it is started again": lambda s: s["restart"] in ("unless-stopped", "no"),
    "its networks are named": lambda s: set(s["networks"]) <= {"stores", "outside"},
    "it has no network of the host": lambda s: "network_mode" not in s,
    "it shares no namespace of the host": lambda s: not {"pid", "ipc", "userns_mode", "uts"} & s.keys(),
    "it does not see the engine": lambda s: "docker.sock" not in str(s.get("volumes")),
    "it mounts nothing of the system": lambda s: not any(m.startswith("/") for m, _ in _mounts(s).values()),
    "its image has a tag": lambda s: ":" in s["image"],
    "no secret stands in its command": lambda s: "secret-" not in str(s.get("command")),
    "no secret stands in its health check": lambda s: "secret-" not in str(s.get("healthcheck")),
    "no secret is a build argument": lambda s: "secret-" not in str(s.get("build")),
    "its name is left to Compose, so that it scales": lambda s: "container_name" not in s,
}
# Of every container that stays.
STAYING = {
    "it has a health check": lambda s: s["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"),
    "which ends": lambda s: s["healthcheck"]["timeout"].endswith("s"),
    "is asked often at the start": lambda s: s["healthcheck"]["start_interval"] in ("1s", "2s", "3s"),
    "and gives it time": lambda s: int(s["healthcheck"]["start_period"][:-1]) >= 30,
    "and is cheap": lambda s: "jobs check" not in str(s["healthcheck"]) and "inspect" not in str(s["healthcheck"]),
    "it is started again": lambda s: s["restart"] == "unless-stopped",
}
# Of every container of our image.
OF_OURS = {
    "nothing is fetched at a start": lambda s: s["pull_policy"] == "never",
    "its user belongs to group 0, as the image's folders do": lambda s: s["user"].endswith(":0"),
    "Dags cannot be changed from within": lambda s: _mounts(s).get("/opt/airflow/dags", ("", "ro"))[1] == "ro",
    "nor can experiments": lambda s: _mounts(s).get("/opt/airflow/experiments", ("", "ro"))[1] == "ro",
    "it does not bring its own airflow.cfg": lambda s: "/opt/airflow/airflow.cfg" not in _mounts(s),
    "it knows no superuser": lambda s: "secret-POSTGRES_PASSWORD" not in str(s["environment"]),
}


@pytest.mark.parametrize("stack", STACKS, ids=["local", "celery", "spark"])
@pytest.mark.parametrize("rule", [*EVERYWHERE, *STAYING, *OF_OURS])
def test_containers_hold_to(rule, stack):
    services = rendered(stack)["services"]
    if rule in STAYING:
        services = {name: service for name, service in services.items() if name != "init"}
    if rule in OF_OURS:
        services = {name: service for name, service in services.items() if name in OURS}
    test = {**EVERYWHERE, **STAYING, **OF_OURS}[rule]
    assert [name for name, service in services.items() if not test(service)] == []


@pytest.mark.parametrize("stack", STACKS, ids=["local", "celery", "spark"])
class TestStack:
    def test_pages_are_for_this_machine_only(self, stack):
        services = rendered(stack)["services"]
        published = {name: service["ports"] for name, service in services.items() if "ports" in service}
        assert published.keys() == PAGES.keys() & services.keys()
        for name, ports in published.items():
            assert all(port.startswith("127.0.0.1:") and port.endswith(f":{PAGES[name]}") for port in ports)

    def test_stores_are_reached_from_within_only(self, stack):
        document = rendered(stack)
        assert document["networks"]["stores"]["internal"] is True
        for name in {"postgres", "redis"} & document["services"].keys():
            assert document["services"][name]["networks"] == ["stores"]

    def test_init_comes_first_and_is_waited_for(self, stack):
        services = rendered(stack)["services"]
        assert _waits_for(services["init"], "postgres", "service_healthy")
        for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
            assert _waits_for(services[name], "init", "service_completed_successfully")
            assert _waits_for(services[name], "postgres", "service_healthy")

    def test_tasks_wait_for_the_api(self, stack):
        services = rendered(stack)["services"]
        for name in {"scheduler", "worker"} & services.keys():
            assert _waits_for(services[name], "api-server", "service_healthy")

    def test_one_image_is_built_once(self, stack):
        services = rendered(stack)["services"]
        assert [name for name, service in services.items() if "build" in service] == ["init", "mlflow"]
        assert len({services[name]["image"] for name in OURS if name in services}) == 1

    def test_the_warehouse_is_not_the_metastore(self, stack):
        environment = rendered(stack)["services"]["scheduler"]["environment"]
        assert environment["AIRFLOW_CONN_DIURNAL_WAREHOUSE"].endswith("@postgres/warehouse")
        assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].endswith("@postgres/airflow")
        assert "diurnal:" in environment["AIRFLOW_CONN_DIURNAL_WAREHOUSE"]
        assert "airflow:" in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]

    def test_who_runs_tasks_keeps_data_and_models(self, stack):
        services = rendered(stack)["services"]
        mounts = _mounts(services["worker" if "worker" in services else "scheduler"])
        assert {inside: mounts[f"/opt/airflow/{inside}"] for inside in ("data", "models", "logs")} == {
            "data": ("./data", "rw"),
            "models": ("./models", "rw"),
            "logs": ("./logs", "rw"),
        }

    def test_databases_are_kept_in_volumes(self, stack):
        document = rendered(stack)
        kept = {
            name: next(iter(_mounts(document["services"][name]).values()))[0]
            for name in {"postgres", "redis", "mlflow"} & document["services"].keys()
        }
        assert set(kept.values()) == document["volumes"].keys()

    @pytest.mark.parametrize("secret", SECRETS)
    def test_no_secret_has_a_default(self, stack, secret):
        for name in stack:
            for found in re.findall(r"\$\{" + secret + r"([^}]*)\}", (ROOT / name).read_text()):
                assert not found or found.startswith(":?is not set; run make compose-env"), found

    def test_only_init_knows_the_first_user(self, stack):
        services = rendered(stack)["services"]
        knowing = {n for n, s in services.items() if "secret-AIRFLOW_ADMIN_PASSWORD" in str(s["environment"])}
        assert knowing <= {"init", "flower"}


def test_a_worker_knows_no_key_of_the_metastore():
    environment = str(rendered(STACKS[1])["services"]["worker"]["environment"])
    for secret in ("FERNET_KEY", "JWT_SECRET", "AIRFLOW_DB_PASSWORD", "POSTGRES_PASSWORD", "AIRFLOW_ADMIN_PASSWORD"):
        assert f"secret-{secret}" not in environment


@pytest.mark.parametrize("stack", STACKS, ids=["local", "celery", "spark"])
def test_the_page_alone_reads_and_knows_no_key_of_airflow(stack):
    service = rendered(stack)["services"]["page"]
    for secret in set(SECRETS) - {"WAREHOUSE_PASSWORD"}:
        assert f"secret-{secret}" not in str(service["environment"])
    assert {how for _, how in _mounts(service).values()} == {"ro"}
    assert "--allow-changes" not in service["command"]
    assert service["profiles"] == ["page"], "it asks for no account of Airflow, so nobody starts it by chance"
    port = service["command"][service["command"].index("--port") + 1]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"], "the link in its log has the port of the address bar"
    assert str(service["environment"]["PAGE_PORT"]) == port


@pytest.mark.parametrize("stack", STACKS, ids=["local", "celery", "spark"])
def test_serving_reads_and_knows_no_key_of_airflow(stack):
    service = rendered(stack)["services"]["serving"]
    for secret in set(SECRETS) - {"WAREHOUSE_PASSWORD"}:
        assert f"secret-{secret}" not in str(service["environment"])
    written = [place for place, (_, how) in _mounts(service).items() if how == "rw"]
    assert written == ["/opt/airflow/serving"]
    assert service["profiles"] == ["serving"], "it asks for no token, so nobody starts it by chance"


@pytest.mark.parametrize("stack", STACKS, ids=["local", "celery", "spark"])
def test_mlflow_knows_no_secret_and_reaches_no_store(stack):
    services = rendered(stack)["services"]
    assert "secret-" not in str(services["mlflow"])
    assert services["mlflow"]["networks"] == ["outside"]
    assert services["mlflow"]["profiles"] == ["mlflow"]
    runs_tasks = services["worker" if "worker" in services else "scheduler"]
    assert "MLFLOW_TRACKING_URI" in runs_tasks["environment"]
    assert "outside" in runs_tasks["networks"]


@pytest.mark.parametrize("extra", ["page", "serving", "mlflow"])
def test_the_image_has_what_its_services_need(extra):
    assert re.search(rf"uv pip install .*?--extra {extra}\b", (ROOT / "Dockerfile").read_text(), re.DOTALL)


def test_all_components_know_the_executor():
    services = rendered(STACKS[1])["services"]
    told = {
        services[name]["environment"]["AIRFLOW__CORE__EXECUTOR"]
        for name in OURS
        if name in services and name not in ("init", "page", "serving")
    }
    assert told == {"CeleryExecutor"}


def test_a_rule_can_fail():
    with pytest.raises(AssertionError, match="run make compose-env"):
        _filled("${X:?is not set; run make compose-env}", {})
    assert not EVERYWHERE["its user is set, and is not root"]({"user": "0:0"})
    assert not EVERYWHERE["memory is limited"]({"deploy": {"resources": {"limits": {"memory": "64g"}}}})
    assert not STAYING["and is cheap"]({"healthcheck": {"test": ["CMD", "airflow"], "x": "jobs check"}})


def _has_compose() -> bool:
    """Whether the plugin is there as well: Debian's `docker.io` comes without."""
    found = shutil.which("docker")
    if found is None:
        return False
    return subprocess.run([found, "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("stack", STACKS, ids=["local", "celery", "spark"])
def test_compose_itself_takes_the_files(stack, tmp_path):
    if not _has_compose():
        pytest.skip("there is no Docker Compose here; the files are rendered by the test's own reader")
    environment = tmp_path / "env"
    environment.write_text("".join(f"{name}=x\n" for name in [*SECRETS, "REDIS_PASSWORD", "SPARK_SECRET"]))
    words = ["docker", "compose", "--env-file", str(environment), *(w for name in stack for w in ("-f", name))]
    done = subprocess.run([*words, "config", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_environment_is_written_once_for_its_owner_only(tmp_path):
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "environment.py", tmp_path / "deploy")
    run = [sys.executable, str(tmp_path / "deploy" / "environment.py")]
    subprocess.run(run, check=True, capture_output=True)
    first = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in first.splitlines() if not line.startswith("#"))
    assert {*SECRETS, "REDIS_PASSWORD"} <= values.keys()
    assert len(set(values.values())) == len(values), "no secret is used twice"
    assert all((tmp_path / folder).is_dir() for folder in ("data", "models", "logs"))
    kept = [line for line in first.splitlines() if not line.startswith("JWT_SECRET")]
    (tmp_path / ".env").write_text("\n".join(kept))
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert "wrote JWT_SECRET to" in said
    assert (tmp_path / ".env").read_text().startswith("\n".join(kept))
