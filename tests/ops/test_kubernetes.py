"""The manifests: valid by Kubernetes' own schemas, and true to the service they run."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]  # it brings no types
from fastapi.routing import APIRoute

from app.api.routers import health
from app.config import Settings
from app.main import create_app
from app.readiness import CHECK_TIMEOUT_S
from devstack.service_processes import ROOT
from tests.adapters.settings import settings_with
from tests.ops.known_metrics import known_metrics
from workers.__main__ import POLL_INTERVAL_S, RELEASE_TIMEOUT_S

FOLDER = ROOT / "ops" / "kubernetes"
NO_RESOURCES = {"kustomization.yaml", "prometheus-adapter.example.yaml"}
VERSIONS = ("1.34", kubernetes_validate.latest_version())

OLDEST_MINOR = 24
"""The first minor version of kubectl 1 with kustomize 4.5, which knows these replacements."""

Manifest = dict[str, Any]


def parsed(path: Path) -> list[Manifest]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


MANIFESTS: dict[str, Manifest] = {
    f"{manifest['kind']}/{manifest['metadata']['name']}": manifest
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name not in NO_RESOURCES
    for manifest in parsed(path)
}


(KUSTOMIZATION,) = parsed(FOLDER / "kustomization.yaml")
REPLACEMENTS: list[Manifest] = KUSTOMIZATION["replacements"]
VALUES: dict[str, str] = MANIFESTS["ConfigMap/values"]["data"]


def pods() -> Iterator[tuple[str, Manifest]]:
    """Yield the pod templates, by what makes pods of them."""
    for name, manifest in MANIFESTS.items():
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield name, spec["template"]


PODS = dict(pods())


def container(pod: str) -> Manifest:
    """Return a pod's one container."""
    (only,) = PODS[pod]["spec"]["containers"]
    found: Manifest = only
    return found


def environment() -> dict[str, str]:
    """Return what the example's pods find in their environment."""
    settings = MANIFESTS["ConfigMap/audience-export"]["data"]
    return {**settings, **MANIFESTS["Secret/audience-export"]["stringData"]}


def test_the_api_starts_with_the_image_s_command_and_trusts_some_proxies_only() -> None:
    api = container("Deployment/audience-export-api")
    assert not {"command", "args"} & api.keys()
    (trusted,) = (each["value"] for each in api["env"] if each["name"] == "FORWARDED_ALLOW_IPS")
    assert "*" not in trusted


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_the_manifest(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_everything_is_applied_but_examples() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml") if not path.name.endswith(".example.yaml")}
    assert set(KUSTOMIZATION["resources"]) == files - {"kustomization.yaml"}
    assert KUSTOMIZATION["namespace"] == MANIFESTS["Namespace/audience-export"]["metadata"]["name"]


def fields(node: Any, path: list[str]) -> Iterator[Any]:
    """Yield the values at a path of a replacement: ``*`` is every item, ``[name=x]`` those."""
    if not path:
        yield node
        return
    step, *rest = path
    if step == "*":
        chosen = node
    elif "=" in step:
        name, _, value = step.strip("[]").partition("=")
        chosen = [item for item in node if item.get(name) == value]
    else:
        chosen = [node[int(step) if step.isdecimal() else step.strip("[]")]]
    for each in chosen:
        yield from fields(each, rest)


def targets(replacement: Manifest) -> Iterator[str]:
    """Yield the texts in the manifests that a replacement changes."""
    for target in replacement["targets"]:
        wanted = target["select"]
        options = target.get("options", {})
        for manifest in MANIFESTS.values():
            if manifest["kind"] != wanted["kind"]:
                continue
            if wanted.get("name", manifest["metadata"]["name"]) != manifest["metadata"]["name"]:
                continue
            for path in target["fieldPaths"]:
                for text in fields(manifest, re.findall(r"\[[^\]]+\]|[^.\[\]]+", path)):
                    yield text.split(options["delimiter"])[options["index"]] if options else text


def test_each_value_of_the_values_file_has_its_places() -> None:
    """With the shipped values the manifests are applied as they stand, but for the image."""
    names = [each["source"]["fieldPath"].removeprefix("data.") for each in REPLACEMENTS]
    assert sorted(names) == sorted(VALUES)
    for name, replacement in zip(names, REPLACEMENTS, strict=True):
        assert replacement["source"].items() >= {"kind": "ConfigMap", "name": "values"}.items()
        shipped = "audience-export" if name == "image" else VALUES[name]
        assert set(targets(replacement)) == {shipped}


def test_no_pod_and_no_host_is_left_out_of_the_values() -> None:
    counted = {
        each["source"]["fieldPath"].removeprefix("data."): len(list(targets(each)))
        for each in REPLACEMENTS
    }
    assert counted["image"] == counted["secret"] == len(PODS)
    everything = yaml.safe_dump([MANIFESTS[name] for name in MANIFESTS if "values" not in name])
    assert counted["host"] == everything.count(VALUES["host"])
    assert counted["monitoring_namespace"] == everything.count(
        f": {VALUES['monitoring_namespace']}"
    )


@pytest.mark.kubectl
def test_kustomize_writes_the_values_into_the_manifests(tmp_path: Path) -> None:
    version = json.loads(kubectl("version", "--client", "--output", "json"))["clientVersion"]
    if int(version["minor"].rstrip("+")) < OLDEST_MINOR:
        pytest.skip(f"this kubectl is {version['gitVersion']}: it knows no replacements")
    own = {name: f"v{number}.test" for number, name in enumerate(VALUES)}
    folder = shutil.copytree(FOLDER, tmp_path / "kubernetes")
    local, *others = parsed(FOLDER / "values.yaml")
    (folder / "values.yaml").write_text(yaml.safe_dump_all([local | {"data": own}, *others]))
    text = kubectl("kustomize", str(folder))
    applied = {
        f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(text)
    }
    assert applied.keys() == MANIFESTS.keys() - {"ConfigMap/values", "Secret/audience-export"}
    for name, value in own.items():
        assert value in text, name
    left = {value for name, value in VALUES.items() if name != "secret" and value in text}
    assert left <= {"nginx"}, "a part of the annotation's name"
    settings = applied["ConfigMap/audience-export"]["data"]
    assert settings["PUBLIC_URL"] == f"https://{own['host']}"
    for manifest in applied.values():
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def kubectl(*arguments: str) -> str:
    """Run kubectl and return its output."""
    return subprocess.run(
        ["kubectl", *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_the_ingress_serves_all_but_what_is_for_monitoring() -> None:
    spec = MANIFESTS["Ingress/audience-export"]["spec"]
    (rule,) = spec["rules"]
    services = {
        (path["path"], path["pathType"]): path["backend"]["service"]["name"]
        for path in rule["http"]["paths"]
    }
    assert services == {
        ("/", "Prefix"): "audience-export-api",
        ("/metrics", "Exact"): "audience-export-closed",
        ("/readyz", "Exact"): "audience-export-closed",
    }
    assert {path for path, _ in services} - {"/"} <= {
        route.path for route in health.router.routes if isinstance(route, APIRoute)
    }
    assert "selector" not in MANIFESTS["Service/audience-export-closed"]["spec"]
    assert MANIFESTS["ConfigMap/audience-export"]["data"]["PUBLIC_URL"] == f"https://{rule['host']}"


def test_settings_and_secrets_are_fit_to_start_with() -> None:
    own = {name: value for name, value in environment().items() if not name.startswith("AWS_")}
    assert {name.lower() for name in own} <= Settings.model_fields.keys()
    Settings.model_validate({name.lower(): value for name, value in own.items()})
    for pod in PODS:
        references = [next(iter(source)) for source in container(pod)["envFrom"]]
        assert references == ["configMapRef", "secretRef"]
        names = {next(iter(source.values()))["name"] for source in container(pod)["envFrom"]}
        assert names == {"audience-export"}


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_write_nothing_and_become_nobody_else(pod: str) -> None:
    spec = PODS[pod]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_says_what_it_needs_and_may_have(pod: str) -> None:
    resources = container(pod)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert _mebibytes(resources["limits"]["memory"]) >= 1.5 * 146


def _mebibytes(quantity: str) -> int:
    return int(quantity.removesuffix("Mi"))


def probes(pod: str) -> dict[str, Manifest]:
    """Return a container's probes by name."""
    return {name: value for name, value in container(pod).items() if name.endswith("Probe")}


def test_probes_ask_for_routes_that_there_are_on_ports_that_there_are() -> None:
    expected: dict[str, set[str]] = {
        "Deployment/audience-export-api": set(create_app(settings_with()).openapi()["paths"]),
        "Deployment/audience-export-worker": {
            route.path for route in health.router.routes if isinstance(route, APIRoute)
        },
    }
    for pod, paths in expected.items():
        ports = {port["name"] for port in container(pod)["ports"]}
        assert probes(pod).keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
        for probe in probes(pod).values():
            assert probe["httpGet"]["path"] in paths
            assert probe["httpGet"]["port"] in ports


def test_the_answer_about_readiness_comes_before_the_probe_s_limit() -> None:
    probe = probes("Deployment/audience-export-worker")["readinessProbe"]
    assert probe["httpGet"]["path"] == "/readyz"
    assert probe["timeoutSeconds"] > CHECK_TIMEOUT_S


def test_no_probe_takes_the_api_away_because_something_else_is_unavailable() -> None:
    for probe in probes("Deployment/audience-export-api").values():
        assert probe["httpGet"]["path"] == "/healthz"
    assert (
        probes("Deployment/audience-export-worker")["livenessProbe"]["httpGet"]["path"]
        == "/healthz"
    )


def test_ports_are_the_images() -> None:
    image = (ROOT / "Dockerfile").read_text()
    ports = {port["containerPort"] for pod in PODS for port in container(pod).get("ports", [])}
    assert ports == {int(port) for port in re.findall(r"^EXPOSE (.+)$", image, re.M)[0].split()}
    assert "WORKER_METRICS_PORT=8001" in image


def test_commands_are_there_to_be_run() -> None:
    commands = {pod: container(pod).get("command") for pod in PODS}
    assert commands == {
        "Deployment/audience-export-api": None,
        "Deployment/audience-export-worker": ["python", "-m", "workers"],
        "Deployment/audience-export-worker-large": ["python", "-m", "workers"],
        "Job/audience-export-migrate": ["alembic", "upgrade", "head"],
        "CronJob/audience-export-verify": ["audience-export", "verify"],
    }
    assert find_spec("workers.__main__")


def test_pods_are_given_the_time_that_they_may_take_to_stop() -> None:
    shutdown_timeout_s = float(
        environment().get("SHUTDOWN_TIMEOUT_S", Settings.model_fields["shutdown_timeout_s"].default)
    )
    worker = PODS["Deployment/audience-export-worker"]["spec"]
    assert (
        worker["terminationGracePeriodSeconds"]
        > shutdown_timeout_s + POLL_INTERVAL_S + RELEASE_TIMEOUT_S
    )
    api = PODS["Deployment/audience-export-api"]["spec"]
    pause_s = container("Deployment/audience-export-api")["lifecycle"]["preStop"]["sleep"][
        "seconds"
    ]
    assert api["terminationGracePeriodSeconds"] >= pause_s + 30


def test_selectors_choose_the_pods_they_are_meant_for() -> None:
    for name, manifest in MANIFESTS.items():
        spec = manifest.get("spec", {})
        component = manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        if manifest["kind"] in ("Deployment", "PodDisruptionBudget"):
            chosen = spec["selector"]["matchLabels"]
            template = PODS[f"Deployment/{manifest['metadata']['name']}"]
            assert chosen == template["metadata"]["labels"], name
            assert chosen["app.kubernetes.io/component"] == component
    service = MANIFESTS["Service/audience-export-api"]["spec"]
    assert service["selector"] == PODS["Deployment/audience-export-api"]["metadata"]["labels"]


def test_the_network_lets_in_to_ports_that_there_are() -> None:
    for component in ("api", "worker"):
        policy = MANIFESTS[f"NetworkPolicy/audience-export-{component}"]["spec"]
        pod = f"Deployment/audience-export-{component}"
        chosen = policy["podSelector"]["matchLabels"]
        assert chosen.items() <= PODS[pod]["metadata"]["labels"].items()
        assert chosen["app.kubernetes.io/component"] == component
        let_in = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert let_in == {port["name"] for port in container(pod)["ports"]}
    closed = MANIFESTS["NetworkPolicy/audience-export-closed"]["spec"]
    assert "ingress" not in closed


def test_each_lane_has_workers() -> None:
    deployments = {
        name: container(name).get("env")
        for name in PODS
        if "worker" in name and name.startswith("Deployment/")
    }
    assert deployments == {
        "Deployment/audience-export-worker": [{"name": "WORKER_LANES", "value": "small"}],
        "Deployment/audience-export-worker-large": [{"name": "WORKER_LANES", "value": "large"}],
    }


def test_workers_are_scaled_by_a_metric_that_there_is() -> None:
    scaler = MANIFESTS["HorizontalPodAutoscaler/audience-export-worker"]["spec"]
    (metric,) = scaler["metrics"]
    name = metric["external"]["metric"]["name"]
    assert name == "audience_export_oldest_waiting_seconds"
    assert name in known_metrics()
    (adapter,) = parsed(FOLDER / "prometheus-adapter.example.yaml")
    (rule,) = adapter["rules"]["external"]
    assert {rule["seriesQuery"], rule["name"]["as"]} == {name}
    assert name in rule["metricsQuery"]


def test_what_is_scaled_has_no_number_of_its_own() -> None:
    for name, manifest in MANIFESTS.items():
        if manifest["kind"] == "HorizontalPodAutoscaler":
            target = manifest["spec"]["scaleTargetRef"]
            deployment = MANIFESTS[f"{target['kind']}/{target['name']}"]
            assert "replicas" not in deployment["spec"], name
            assert manifest["spec"]["minReplicas"] >= 2
