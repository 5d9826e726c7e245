"""The snippets for nginx, HAProxy and Caddy, run with these programs in front of a real API."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from devstack import settings as stack_settings
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import ROOT, start_api, start_worker
from devstack.smtp import SmtpServer
from devstack.tokens import demo_tokens
from tests.browser.service import frozen
from tests.ops.proxies import FOLDER, PREFIX, proxied

MIB = 1024 * 1024
BATCH_MAX = 8 * MIB
LINES = 128
FORGED = "203.0.113.9"
REQUEST = {"follower": True}
KINDS = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("nginx", "haproxy")]
KINDS.append(pytest.param("caddy", marks=pytest.mark.caddy))


@dataclass(frozen=True)
class Service:
    """An API at the root, one that is reached under a path, their worker, and tokens."""

    port: int
    port_under_path: int
    worker: Process
    seller: dict[str, str]
    feeder: dict[str, str]


@pytest.fixture(scope="module")
def service(
    sandbox: Sandbox,
    postgres: PostgresServer,
    migrated_template: str,
    redis_server: RedisServer,
    moto: MotoServer,
    session_smtp_server: SmtpServer,
) -> Iterator[Service]:
    """The service for this module, started with the options of the image."""
    servers = {
        "DATABASE_URL": postgres.create_database("proxies", template=migrated_template),
        "REDIS_URL": redis_server.empty(63),
        "SMTP_URL": session_smtp_server.url,
        "PUBLIC_URL": "https://exports.example.com",
    }
    own = stack_settings.service_settings() | servers | stack_settings.store_settings(moto.store())
    settings = stack_settings.with_defaults(own, {})
    tokens = demo_tokens(settings)
    image = (ROOT / "Dockerfile").read_text()
    command = json.loads(re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)[-1])
    options = command[command.index("--timeout-keep-alive") :]
    ports = free_port(), free_port()
    under_path = [*options, "--root-path", PREFIX]
    apis = [
        start_api(sandbox, settings, ports[0], name="proxied-api", options=options),
        start_api(sandbox, settings, ports[1], name="prefixed-api", options=under_path),
    ]
    worker = start_worker(sandbox, settings, name="proxied-worker")
    seller, feeder = (
        {"Authorization": f"Bearer {tokens[name]}"} for name in ("SELLER_TOKEN", "SERVICE_TOKEN")
    )
    yield Service(*ports, worker, seller, feeder)
    for process in (worker, *apis):
        process.stop()
    postgres.drop_database("proxies")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each proxy in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def client(sandbox: Sandbox, service: Service, kind: str) -> Iterator[httpx.Client]:
    """A client of the API at the root."""
    with proxied(sandbox, kind, service.port) as client:
        yield client


def finished(client: httpx.Client, service: Service, **headers: str) -> dict[str, object]:
    """Request an export, wait until it is finished, and return it."""
    made = client.post("/exports", json=REQUEST, headers=service.seller | headers)
    assert made.status_code in (200, 202), made.text
    path = f"/exports/{made.json()['id']}"
    export: dict[str, object] = client.get(path, params={"wait": 30}, headers=service.seller).json()
    assert export["status"] == "succeeded"
    return export


def link(export: dict[str, object]) -> str:
    """Return the path of an export's mailed link."""
    token = re.fullmatch(r"https://exports\.example\.com(/d/.+)", str(export["download_url"]))
    assert token is not None
    return token[1]


def test_a_mailed_link_is_looked_at_and_opened_over_one_connection(
    client: httpx.Client, service: Service
) -> None:
    path = link(finished(client, service))
    for _ in range(3):
        head = client.head(path)
        assert head.status_code == 200
        assert head.content == b""
        opened = client.get(path)
        assert opened.status_code == 302


def test_a_batch_of_eight_mebibytes_passes_and_a_larger_one_is_refused_by_the_api(
    client: httpx.Client, service: Service
) -> None:
    events = (
        {
            "source": "follower",
            "key": f"k{number}",
            "version": 1,
            "seller_id": 7,
            "row": {"email": f"p{number}@x.co", "created_at": "2026-01-01T00:00:00Z"},
        }
        for number in range(LINES)
    )
    lines = (json.dumps(event).ljust(BATCH_MAX // LINES - 1) + "\n" for event in events)
    body = "".join(lines).encode()
    assert len(body) == BATCH_MAX
    headers = service.feeder | {"Content-Type": "application/x-ndjson"}
    taken = client.post("/audience/events", content=body, headers=headers)
    assert taken.status_code == 200, taken.text
    assert taken.json()["applied"] + taken.json()["ignored"] == LINES
    refused = client.post("/audience/events", content=body + b" ", headers=headers)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"


def test_events_arrive_when_they_happen(client: httpx.Client, service: Service) -> None:
    with ExitStack() as streaming:
        with frozen(service.worker):
            body = REQUEST | {"columns": ["email"]}
            made = client.post("/exports", json=body, headers=service.seller).json()
            url = f"/exports/{made['id']}/events"
            stream = client.stream("GET", url, headers=service.seller)
            lines = streaming.enter_context(stream).iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: progress"
        assert "event: finished" in lines


def test_a_forged_address_does_not_reach_the_audit(client: httpx.Client, service: Service) -> None:
    export = finished(client, service, **{"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"})
    audit = client.get(f"/exports/{export['id']}/audit", headers=service.feeder).json()
    addresses = {item["client_address"] for item in audit["items"]}
    assert addresses - {None} == {"127.0.0.1"}


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_what_is_for_monitoring_is_not_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_api_knows_that_it_is_reached_over_tls(client: httpx.Client) -> None:
    assert "max-age" in client.get("/healthz").headers["strict-transport-security"]


def test_under_a_path_every_address_has_it(sandbox: Sandbox, service: Service, kind: str) -> None:
    with proxied(sandbox, kind, service.port_under_path, PREFIX) as client:
        made = client.post("/exports", json=REQUEST, headers=service.seller)
        assert made.headers["location"] == f"{PREFIX}/exports/{made.json()['id']}"
        export = finished(client, service)
        assert client.head(link(export)).status_code == 200
        assert f"{PREFIX}/openapi.json" in client.get("/docs").text
        assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("name", ["nginx.conf", "haproxy.cfg", "Caddyfile"])
def test_idle_connections_end_before_the_api_closes_them(name: str) -> None:
    text = (FOLDER / name).read_text()
    found = re.findall(r"keep-?_?alive(?:_timeout)? (\d+)s", text)
    assert found == ["60"]
