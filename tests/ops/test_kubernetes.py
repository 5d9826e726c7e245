"""The manifests: valid by Kubernetes' own schemas, and true to the service they run."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]  # it brings no types
from fastapi.routing import APIRoute

from app.api import operations
from app.config import Settings
from app.main import create_app
from devstack.service import ROOT
from tests.adapters.settings import settings_with
from tests.ops.known_metrics import known_metrics
from workers.__main__ import HAND_BACK_S, QUIET_S

FOLDER = ROOT / "ops" / "kubernetes"
NO_RESOURCES = {"kustomization.yaml", "prometheus-adapter.example.yaml"}
VERSIONS = ("1.34", kubernetes_validate.latest_version())

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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_the_manifest(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_everything_is_applied_but_examples() -> None:
    (kustomization,) = parsed(FOLDER / "kustomization.yaml")
    files = {path.name for path in FOLDER.glob("*.yaml") if not path.name.endswith(".example.yaml")}
    assert set(kustomization["resources"]) == files - {"kustomization.yaml"}
    assert kustomization["namespace"] == MANIFESTS["Namespace/audience-export"]["metadata"]["name"]
    used = {container(pod)["image"] for pod in PODS}
    assert used == {image["name"] for image in kustomization["images"]}


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
    known: dict[str, set[str]] = {
        "Deployment/audience-export-api": set(create_app(settings_with()).openapi()["paths"]),
        "Deployment/audience-export-worker": {
            route.path for route in operations.router.routes if isinstance(route, APIRoute)
        },
    }
    for pod, paths in known.items():
        ports = {port["name"] for port in container(pod)["ports"]}
        assert probes(pod).keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
        for probe in probes(pod).values():
            assert probe["httpGet"]["path"] in paths
            assert probe["httpGet"]["port"] in ports


def test_no_probe_takes_the_api_away_because_something_else_is_away() -> None:
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
        "Job/audience-export-migrate": ["alembic", "upgrade", "head"],
        "CronJob/audience-export-verify": ["audience-export", "verify"],
    }
    assert find_spec("workers.__main__")


def test_pods_are_given_the_time_that_they_may_take_to_stop() -> None:
    shutdown_s = float(environment().get("SHUTDOWN_S", Settings.model_fields["shutdown_s"].default))
    worker = PODS["Deployment/audience-export-worker"]["spec"]
    assert worker["terminationGracePeriodSeconds"] > shutdown_s + QUIET_S + HAND_BACK_S
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
            template = PODS[f"Deployment/audience-export-{component}"]
            assert chosen == template["metadata"]["labels"], name
    service = MANIFESTS["Service/audience-export-api"]["spec"]
    assert service["selector"] == PODS["Deployment/audience-export-api"]["metadata"]["labels"]


def test_the_network_lets_in_to_ports_that_there_are() -> None:
    for component in ("api", "worker"):
        policy = MANIFESTS[f"NetworkPolicy/audience-export-{component}"]["spec"]
        pod = f"Deployment/audience-export-{component}"
        assert policy["podSelector"]["matchLabels"] == PODS[pod]["metadata"]["labels"]
        let_in = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert let_in == {port["name"] for port in container(pod)["ports"]}
    closed = MANIFESTS["NetworkPolicy/audience-export-closed"]["spec"]
    assert "ingress" not in closed


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
