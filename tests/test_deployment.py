"""The image and the composition: what can be credentials of them without Docker."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it brings no types

from app.config import Settings

ROOT = Path(__file__).parents[1]
LONGEST_IDLE_S = 60
"""For how long AWS' and other balancers reuse a connection that is idle."""

SERVICES = ("api", "worker", "migrate", "bucket")


@pytest.fixture
def composition() -> dict[str, Any]:
    """What compose.yaml says."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return parsed


@pytest.fixture
def image() -> str:
    """The last stage of the Dockerfile."""
    return (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]


def test_the_compositions_settings_are_fit_to_start_with(composition: dict[str, Any]) -> None:
    for name in SERVICES:
        environment = composition["services"][name]["environment"]
        own = {key: value for key, value in environment.items() if not key.startswith("AWS_")}
        assert {key.lower() for key in own} <= Settings.model_fields.keys()
        Settings.model_validate({key.lower(): value for key, value in own.items()})


def test_each_image_is_pinned_to_a_release(composition: dict[str, Any]) -> None:
    images = {service["image"] for service in composition["services"].values()}
    foreign = images - {"audience-export"}
    assert len(foreign) == 4
    for image in foreign:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?", image), image


def test_our_containers_may_write_nothing_and_become_nobody_else(
    composition: dict[str, Any],
) -> None:
    for name in SERVICES:
        service = composition["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_only_this_machine_reaches_the_composition(composition: dict[str, Any]) -> None:
    for service in composition["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_store_knows_the_services_keys(composition: dict[str, Any]) -> None:
    store = json.loads(composition["configs"]["s3"]["content"])
    (credentials,) = store["identities"][0]["credentials"]
    environment = composition["services"]["api"]["environment"]
    assert credentials["accessKey"] == environment["AWS_ACCESS_KEY_ID"]
    assert credentials["secretKey"] == environment["AWS_SECRET_ACCESS_KEY"]


def test_the_image_is_nobodys_and_hears_signals(image: str) -> None:
    assert re.search(r"^USER 10001:10001$", image, re.MULTILINE)
    command = json.loads(re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)[-1])
    assert command[:2] == ["uvicorn", "app.main:app"]
    assert "--no-server-header" in command
    assert int(command[command.index("--timeout-keep-alive") + 1]) > LONGEST_IDLE_S
    assert "HEALTHCHECK" in image
    assert "pip" not in image


def test_the_composition_starts_the_image_s_own_command(composition: dict[str, Any]) -> None:
    """So that its options are those of the Dockerfile; the manifests' is a test of theirs."""
    assert "command" not in composition["services"]["api"]


def test_everything_the_image_copies_reaches_the_build() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied - {"."} <= allowed
    assert {"pyproject.toml", "README.md", "LICENSE", "app", "workers"} <= allowed
    assert ".env" not in allowed
