"""Kubernetes: what manifests and values hold, who may speak to whom, and the pod that each step gets."""

import configparser
import copy
import ipaddress
import json
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from airflow_home import tell
from diurnal.runtime import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VALUES = yaml.safe_load((FOLDER / "values.yaml").read_text())
TEMPLATE = yaml.safe_load((FOLDER / "pod-template.yaml").read_text())
POLICIES = list(yaml.safe_load_all((FOLDER / "network-policy.yaml").read_text()))
SERVING = list(yaml.safe_load_all((FOLDER / "serving.yaml").read_text()))
COMPONENTS = ("scheduler", "apiServer", "dagProcessor", "triggerer", "migrateDatabaseJob", "createUserJob")
SERVICES = COMPONENTS[:4]
YOURS = {
    "METASTORE_URL": "postgresql://airflow:canary-1@db/airflow",
    "WAREHOUSE_URL": "postgresql://diurnal:canary-2@db/warehouse",
    "AWS_ACCESS_KEY_ID": "canary-3",
    "AWS_SECRET_ACCESS_KEY": "canary-4",
    "AWS_ENDPOINT_URL": "http://minio:9000",
}

# Of the chart 1.22.0: what is set here is there. What is below a name that ends in a star belongs to Kubernetes,
# Airflow or us.
CHART = """
fullnameOverride executor airflowVersion uid gid allowPodLaunching fernetKeySecretName apiSecretKeySecretName
jwtSecretName secret* config* volumes* volumeMounts* extraConfigMaps* securityContexts.pod* securityContexts.containers*
images.airflow.repository images.airflow.tag images.airflow.pullPolicy data.metadataSecretName logs.emptyDirConfig*
enableBuiltInSecretEnvVars.AIRFLOW_CONN_AIRFLOW_DB workers.serviceAccount.automountServiceAccountToken
postgresql.enabled redis.enabled pgbouncer.enabled statsd.enabled flower.enabled networkPolicies.enabled
scheduler.serviceAccount.automountServiceAccountToken scheduler.resources* scheduler.terminationGracePeriodSeconds
scheduler.livenessProbe.command scheduler.livenessProbe.periodSeconds scheduler.livenessProbe.timeoutSeconds
scheduler.startupProbe.command scheduler.startupProbe.periodSeconds scheduler.startupProbe.timeoutSeconds
scheduler.startupProbe.failureThreshold scheduler.logGroomerSidecar.enabled
apiServer.serviceAccount.automountServiceAccountToken apiServer.resources* apiServer.env* apiServer.allowPodLogReading
apiServer.startupProbe.periodSeconds apiServer.startupProbe.timeoutSeconds apiServer.startupProbe.failureThreshold
dagProcessor.serviceAccount.automountServiceAccountToken dagProcessor.resources* dagProcessor.logGroomerSidecar.enabled
dagProcessor.livenessProbe.command dagProcessor.livenessProbe.initialDelaySeconds
dagProcessor.livenessProbe.periodSeconds dagProcessor.livenessProbe.timeoutSeconds
triggerer.serviceAccount.automountServiceAccountToken triggerer.resources* triggerer.env* triggerer.persistence.enabled
triggerer.livenessProbe.command triggerer.livenessProbe.initialDelaySeconds triggerer.livenessProbe.periodSeconds
triggerer.livenessProbe.timeoutSeconds triggerer.logGroomerSidecar.enabled
migrateDatabaseJob.serviceAccount.automountServiceAccountToken migrateDatabaseJob.resources* migrateDatabaseJob.args*
createUserJob.serviceAccount.automountServiceAccountToken createUserJob.resources* createUserJob.env*
createUserJob.args* createUserJob.defaultUser.password
"""

PODS = """
import json, sys
from pathlib import Path
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization
folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
def pod(task):
    made = PodGenerator.construct_pod(
        dag_id=task.dag_id, task_id=task.task_id, pod_id="p", try_number=1, kube_image="registry/diurnal:1", date=None,
        args=["python"], pod_override_object=PodGenerator.from_obj(task.executor_config), namespace="diurnal",
        base_worker_pod=PodGenerator.deserialize_model_file(sys.argv[1]), scheduler_job_id="1", run_id="r")
    return PodGenerator.serialize_pod(made)
stored = {name: DagSerialization.from_dict(DagSerialization.to_dict(dag)) for name, dag in bag.dags.items()}
answer = {"errors": bag.import_errors,
          "pods": {name: {task.task_id: pod(task) for task in dag.tasks} for name, dag in stored.items()},
          "known": {section: list(words["options"]) for section, words in conf.configuration_description.items()}}
"""

EXPERIMENT = '''
from diurnal import experiment

@experiment(source=lambda interval: None, target="y"{declared})
def {name}():
    """Tell one from the other."""
    from sklearn.dummy import DummyClassifier
    return DummyClassifier()
'''


def as_pod(component, values=VALUES):
    """Give the pod that the chart makes of a component, as far as our rules look."""
    ours = values[component]
    container = {
        "name": component,
        "securityContext": values["securityContexts"]["containers"],
        "resources": ours.get("resources"),
        "volumeMounts": values["volumeMounts"],
        "env": [*ours.get("env", []), *values.get("env", [])],
    }
    return {
        "securityContext": values["securityContexts"]["pod"],
        "automountServiceAccountToken": ours["serviceAccount"]["automountServiceAccountToken"],
        "containers": [container],
        "volumes": values["volumes"],
    }


def complaints(pod):
    """Say what is wrong with a pod, in our rules' words."""
    context = pod.get("securityContext", {})
    yield from (word for word, wrong in {
        "a token": pod.get("automountServiceAccountToken") is not False,
        "root": not context.get("runAsNonRoot") or context.get("runAsUser") != 50000 or context.get("runAsGroup") != 0,
        "seccomp": context.get("seccompProfile") != {"type": "RuntimeDefault"},
        "endless": any("sizeLimit" not in volume.get("emptyDir", {"sizeLimit": 0}) for volume in pod["volumes"]),
    }.items() if wrong)  # fmt: skip
    for container in pod["containers"]:
        own, resources = container.get("securityContext", {}), container.get("resources") or {}
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        secret = re.compile("PASSWORD|SECRET|KEY|CONN")
        yield from (word for word, wrong in {
            "root": not own.get("runAsNonRoot"),
            "writable": own.get("readOnlyRootFilesystem") is not True,
            "capabilities": own.get("capabilities") != {"drop": ["ALL"]},
            "escalation": own.get("allowPrivilegeEscalation") is not False,
            "limits": {*resources.get("limits", {})} < {"cpu", "memory"},
            "requests": {*resources.get("requests", {})} < {"cpu", "memory"},
            "/tmp": "/tmp" not in mounted,
            "in clear": any("value" in word and secret.search(word["name"]) for word in container.get("env", [])),
        }.items() if wrong)  # fmt: skip


def changed(thing, path, value):
    """Give a copy with one value changed; None takes it out."""
    thing = inner = copy.deepcopy(thing)
    *way, last = path
    for key in way:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return thing


def leaves(values, way=()):
    for key, value in values.items():
        yield ".".join((*way, key))
        if isinstance(value, dict):
            yield from leaves(value, (*way, key))


def chart_has(name):
    """Tell whether it is a name of the chart, above one, or below one whose content is free."""
    return any(
        known.removesuffix("*") == name
        or known.startswith(f"{name}.")
        or (known.endswith("*") and name.startswith(f"{known[:-1]}."))
        for known in CHART.split()
    )


def credentials(**environment):
    program = [sys.executable, str(FOLDER / "credentials.py")]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def secrets():
    made = credentials(**YOURS)
    assert made.returncode == 0, made.stderr
    return {item["metadata"]["name"]: item for item in json.loads(made.stdout)["items"]}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_are_what_kubernetes_takes(version, secrets):
    for manifest in (TEMPLATE, *POLICIES, *SERVING, *secrets.values()):
        kubernetes_validate.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(changed(TEMPLATE, ["spec", "automountToken"], False), version, strict=True)


def test_values_are_words_of_the_chart():
    assert [name for name in leaves(VALUES) if not chart_has(name)] == []
    assert not chart_has("scheduler.livenessProbe.comand")
    assert not chart_has("webserver")


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_are_kept_short(component):
    assert list(complaints(as_pod(component))) == (["a token"] if component == "scheduler" else [])


def test_pod_of_a_task_is_kept_short():
    spec = TEMPLATE["spec"]
    assert list(complaints(spec)) == []
    assert [container["name"] for container in spec["containers"]] == ["base"]
    assert spec["restartPolicy"] == "Never"
    # It would make a Dag that names the executor fail to load in the pod; airflow.cfg says which there is.
    assert "AIRFLOW__CORE__EXECUTOR" not in str(spec)
    named = {
        VALUES["data"]["metadataSecretName"],
        *(VALUES[f"{key}SecretName"] for key in ("fernetKey", "apiSecretKey")),
    }
    assert not [name for name in (*named, VALUES["jwtSecretName"], "diurnal-admin") if name in str(spec)]


def test_servers_of_predictions_are_kept_short(secrets):
    deployment, service, budget, policy = SERVING
    spec = deployment["spec"]["template"]["spec"]
    assert list(complaints(spec)) == []
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (service["spec"]["selector"], budget["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert VALUES["jwtSecretName"] not in str(spec), "it knows no key of Airflow"
    (container,) = spec["containers"]
    assert "--tokens" in container["command"]
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["name"] in secrets
    drain = int(container["lifecycle"]["preStop"]["exec"]["command"][1]) + 20  # the default of --drain
    assert spec["terminationGracePeriodSeconds"] > drain


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["automountServiceAccountToken"], None, "a token"),
        (["securityContext", "runAsNonRoot"], False, "root"),
        (["securityContext", "runAsUser"], 0, "root"),
        (["securityContext", "seccompProfile"], {"type": "Unconfined"}, "seccomp"),
        (["volumes", 0, "emptyDir", "sizeLimit"], None, "endless"),
        (["containers", 0, "securityContext", "runAsNonRoot"], None, "root"),
        (["containers", 0, "securityContext", "readOnlyRootFilesystem"], False, "writable"),
        (["containers", 0, "securityContext", "capabilities", "add"], ["NET_RAW"], "capabilities"),
        (["containers", 0, "securityContext", "allowPrivilegeEscalation"], None, "escalation"),
        (["containers", 0, "resources", "limits", "memory"], None, "limits"),
        (["containers", 0, "resources", "requests"], None, "requests"),
        (["containers", 0, "volumeMounts", 0], {"name": "tmp", "mountPath": "/temp"}, "/tmp"),
        (["containers", 0, "env", 0], {"name": "AIRFLOW_CONN_X", "value": "postgresql://a:b@c/d"}, "in clear"),
    ],
)
def test_every_rule_can_fail(path, value, complaint):
    assert list(complaints(changed(TEMPLATE["spec"], path, value))) == [complaint]


def test_probes_and_sidecars_need_nothing_that_the_image_lacks():
    for component in SERVICES[:1] + SERVICES[2:]:  # that of the API server is a request
        assert VALUES[component]["livenessProbe"]["command"][0] in ("health", "airflow")
        assert VALUES[component]["logGroomerSidecar"]["enabled"] is False  # a script of Airflow's own image
    assert VALUES["config"]["scheduler"]["enable_health_check"] == "True"  # what `health scheduler` asks


def test_secrets_hold_every_key_that_is_named(secrets):
    named = {("diurnal-metastore", "connection"), ("diurnal-fernet", "fernet-key"), ("diurnal-api", "api-secret-key")}
    named |= {("diurnal-jwt", "jwt-secret")} | {(one["secretName"], one["secretKey"]) for one in VALUES["secret"]}
    for pod in (TEMPLATE["spec"], *map(as_pod, COMPONENTS)):
        for container in pod["containers"]:
            references = [word["valueFrom"].get("secretKeyRef") for word in container.get("env", [])]
            named |= {(reference["name"], reference["key"]) for reference in references if reference}
    assert {(name, key) for name, item in secrets.items() for key in item["stringData"]} >= named
    loaded = {source["secretRef"]["name"] for source in TEMPLATE["spec"]["containers"][0]["envFrom"][1:]}
    assert loaded | {name for name, _ in named} == set(secrets)


def test_credentials_are_fresh_and_never_shown_when_refused(secrets):
    again = {item["metadata"]["name"]: item for item in json.loads(credentials(**YOURS).stdout)["items"]}
    for name in ("diurnal-fernet", "diurnal-api", "diurnal-jwt", "diurnal-admin"):
        assert again[name] != secrets[name]
        assert min(map(len, again[name]["stringData"].values())) >= 32
    refused = credentials(**YOURS | {"WAREHOUSE_URL": "mysql://diurnal:canary-2@db/warehouse"})
    assert refused.returncode == 1
    assert "WAREHOUSE_URL must start with postgresql://" in refused.stderr
    assert "canary" not in refused.stderr
    assert "AWS_ACCESS_KEY_ID" in credentials(METASTORE_URL="postgresql://a").stderr


def test_names_of_the_chart_are_those_of_the_template():
    base = TEMPLATE["spec"]["containers"][0]
    assert base["envFrom"][0]["configMapRef"]["name"] in VALUES["extraConfigMaps"]
    assert f"{VALUES['fullnameOverride']}-config" in [v["configMap"]["name"] for v in TEMPLATE["spec"]["volumes"][2:]]


def test_the_api_server_has_the_stores_of_the_page():
    named = {word["name"]: word["valueFrom"] for word in VALUES["apiServer"]["env"]}
    stores = yaml.safe_load(VALUES["extraConfigMaps"]["diurnal-stores"]["data"])
    for name in ("DIURNAL_LAKE", "DIURNAL_MODELS"):
        assert named[name]["configMapKeyRef"] == {"name": "diurnal-stores", "key": name}
        assert name in stores
    task = {word["name"]: word["valueFrom"] for word in TEMPLATE["spec"]["containers"][0]["env"]}
    assert named["AIRFLOW_CONN_DIURNAL_WAREHOUSE"] == task["AIRFLOW_CONN_DIURNAL_WAREHOUSE"]


def test_stores_are_settings_of_ours(tmp_path):
    stores = yaml.safe_load(VALUES["extraConfigMaps"]["diurnal-stores"]["data"])
    settings = Settings.load(tmp_path, stores)
    assert settings.lake.startswith("s3://")
    assert settings.models.startswith("s3://")


def test_airflow_is_configured_as_the_image_is():
    image = configparser.ConfigParser(interpolation=None)
    image.read(ROOT / "deploy" / "image" / "airflow.cfg")
    forking = {"mp_start_method", "mp_forkserver_preload"}  # of LocalExecutor
    wanted = {
        (section, key): value
        for section in image.sections()
        for key, value in image[section].items()
        if not section.startswith("celery") and key not in forking
    }
    ours = {(section, key): value for section, words in VALUES["config"].items() for key, value in words.items()}
    assert {key: ours.get(key) for key in wanted} == wanted


def matches(selector, labels):
    expressions = selector.get("matchExpressions", [])
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all((labels.get(e["key"]) in e["values"]) == (e["operator"] == "In") for e in expressions)


def at_peer(peer, other):
    if isinstance(other, dict):
        return "podSelector" in peer and "namespaceSelector" not in peer and matches(peer["podSelector"], other)
    block = peer.get("ipBlock", {"cidr": "255.255.255.255/32"})
    address = ipaddress.ip_address(other)
    inside = [address in ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", []))]
    return inside[0] and not any(inside[1:])


def allowed(way, one, other, port):
    """Tell whether the policies that select a pod let it send to, or hear from, another pod or address."""
    selecting = [p["spec"] for p in POLICIES if matches(p["spec"]["podSelector"], one)]
    assert any(way.title() in spec["policyTypes"] for spec in selecting), "nothing denies it"
    rules = [rule for spec in selecting for rule in spec.get(way, [])]
    peers = {"egress": "to", "ingress": "from"}[way]
    return any(
        any(at_peer(peer, other) for peer in rule[peers]) and any(p["port"] == port for p in rule["ports"])
        for rule in rules
    )


@pytest.mark.parametrize(
    ("who", "where", "port", "may"),
    [
        ("worker", "api-server", 8080, True),
        ("worker", "scheduler", 8974, False),
        ("worker", "192.0.2.10", 5432, True),  # the warehouse
        ("worker", "192.0.2.20", 5432, False),  # the metastore
        ("worker", "203.0.113.5", 443, True),  # a source, the object store
        ("worker", "203.0.113.5", 25, False),
        ("worker", "169.254.169.254", 443, False),  # who gives out the credentials of a cloud
        ("worker", "192.0.2.30", 443, False),  # Kubernetes
        ("scheduler", "192.0.2.30", 6443, True),
        ("scheduler", "203.0.113.5", 443, False),
        ("api-server", "203.0.113.5", 443, True),  # the logs, and the lake for the page
        ("api-server", "192.0.2.10", 5432, True),  # the warehouse, for the page
        ("scheduler", "192.0.2.10", 5432, False),
        ("api-server", "worker", 8793, False),
        ("dag-processor", "203.0.113.5", 443, False),
        ("stranger", "api-server", 8080, False),
        *((name, "192.0.2.20", 5432, True) for name in ("scheduler", "api-server", "run-airflow-migrations")),
    ],
)
def test_policies_let_through_what_is_needed(who, where, port, may):
    who = {"tier": "airflow", "component": who} if who != "stranger" else {"tier": "web"}
    if where[0].isdigit():
        assert allowed("egress", who, where, port) is may
    else:
        where = {"tier": "airflow", "component": where}
        assert (allowed("egress", who, where, port) and allowed("ingress", where, who, port)) is may


def test_each_step_gets_the_pod_that_is_asked_for(tmp_path):
    dags = {
        "plain": "{}",
        "large": "{'tune': pod_override(cpu=4, memory='8Gi'), 'score_shard': pod_override(cpu='1500m', memory='3Gi')}",
        "wrong": "{'tune': pod_override(cpu=4, memory='8GB')}",
    }
    project = tmp_path / "checkout"  # as a bundle lays a repository down, with the project above its Dags
    for kind in ("dags", "experiments"):
        (project / kind).mkdir(parents=True)
    (project / "diurnal.toml").write_text("[diurnal]\n")
    head = "from diurnal.airflow import build_dag\nfrom diurnal.airflow import pod_override\n"
    for name, words in dags.items():
        (project / "dags" / f"{name}.py").write_text(f"{head}dag = build_dag({name!r}, step_kwargs={words})\n")
        declared = ", n_tuning_shards=2" if name == "large" else ""
        (project / "experiments" / f"{name}.py").write_text(EXPERIMENT.format(name=name, declared=declared))
    empty = "import os; os.environ['DIURNAL_PROJECT'] = ''\n"  # over the image's own, as with a bundle
    seen = tell(tmp_path / "home", project / "dags", empty + PODS, str(FOLDER / "pod-template.yaml"))

    assert list(seen["errors"]) == ["wrong.py"]
    assert "memory='8GB' is not a Kubernetes quantity" in seen["errors"]["wrong.py"]
    sizes = {"large": {"tune": ("4", "8Gi"), "score_shard": ("1500m", "3Gi")}, "plain": {}}
    for dag, pods in seen["pods"].items():
        by_hand = dag.endswith(".champion")
        assert ({"change"} if by_hand else {"storage", "fetch", "tune", "promote"}) <= set(pods)
        for task, made in pods.items():
            kubernetes_validate.validate(made, "1.37", strict=True)
            assert list(complaints(made["spec"])) == []
            (base,) = made["spec"]["containers"]
            assert (base["name"], base["image"]) == ("base", "registry/diurnal:1")
            assert made["metadata"]["labels"]["component"] == "worker"  # what network-policy.yaml selects
            cpu, memory = sizes[dag.removesuffix(".champion")].get(task, (None, None))
            own = {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}
            assert base["resources"] == (own if cpu else TEMPLATE["spec"]["containers"][0]["resources"])
    unknown = {
        (section, key)
        for section, words in VALUES["config"].items()
        for key in words
        if key not in seen["known"].get(section, [])
    }
    assert unknown == set()
