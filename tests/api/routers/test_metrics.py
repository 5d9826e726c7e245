"""/metrics over HTTP: open to everybody, by route template, with everything away too."""

import httpx
import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from app.models import ExportKey
from app.observability import shared_metrics as shared_metrics_module
from app.resources import Resources
from tests.api.conftest import Start
from tests.api.records import Records
from tests.api.routers.test_health import AWAY

BODY = {"follower": True}


@pytest.fixture(autouse=True)
def installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a scrape wait for its answers on a machine that is busy with other tests."""
    monkeypatch.setattr(shared_metrics_module, "TIMEOUT_S", 20.0)


async def scraped(client: AsyncClient) -> dict[str, float]:
    """Return every sample by its name and labels, as Prometheus writes them."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_prometheus_gets_its_text_format_and_nothing_is_kept(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await anonymous.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert "_created" not in answer.text


async def test_requests_are_counted_by_route_template(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("failed")
    for path in (f"/exports/{export.id}", f"/exports/{export.id}", "/exports/none", "/none"):
        await seller.get(path)
    await seller.head(f"/exports/{export.id}")
    await seller.request("BREW", "/exports")
    await seller.put("/healthz")
    samples = await scraped(seller)
    counted = {
        name.removeprefix("audience_export_http_requests_total"): value
        for name, value in samples.items()
        if name.startswith("audience_export_http_requests_total")
    }
    assert counted == {
        "{method=GET}{route=/exports/{id}}{status=200}": 2,
        "{method=GET}{route=/exports/{id}}{status=404}": 1,
        "{method=GET}{route=other}{status=404}": 1,
        "{method=HEAD}{route=/exports/{id}}{status=200}": 1,
        "{method=other}{route=/exports}{status=405}": 1,
        "{method=PUT}{route=/healthz}{status=405}": 1,
    }
    assert samples["audience_export_http_request_seconds_count{method=GET}{route=/exports/{id}}"]


async def test_an_accepted_request_is_counted_once_however_often_it_is_sent(
    seller: AsyncClient,
) -> None:
    for _ in range(3):
        assert (await seller.post("/exports", json=BODY)).is_success
    await seller.post("/exports", json={})
    samples = await scraped(seller)
    assert samples["audience_export_exports_requested_total"] == 1
    assert samples["audience_export_exports_active{status=queued}"] == 1
    assert samples["audience_export_exports_active{status=running}"] == 0
    assert 0 <= samples["audience_export_oldest_waiting_seconds"] < 60


async def test_a_cancel_is_counted_once_and_an_erasure_is_none(
    seller: AsyncClient, records: Records
) -> None:
    queued, succeeded = await records.add("queued"), await records.add("succeeded")
    for export in (queued, queued, succeeded):
        assert (await seller.delete(f"/exports/{export.id}")).is_success
    samples = await scraped(seller)
    finished = {name: value for name, value in samples.items() if "exports_finished" in name}
    assert finished == {"audience_export_exports_finished_total{code=}{status=cancelled}": 1}


async def test_opened_links_are_counted_by_what_became_of_them(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    for status in ("succeeded", "deleted", "running"):
        export = await records.add(status)
        await anonymous.get(f"/d/{resources.links.token(ExportKey(1, export.id))}")
    await anonymous.get("/d/tampered")
    samples = await scraped(anonymous)
    openings = {name: value for name, value in samples.items() if "link_openings" in name}
    assert openings == {
        f"audience_export_link_openings_total{{outcome={outcome}}}": 1
        for outcome in ("opened", "export_gone", "export_not_ready", "export_not_found")
    }


async def test_a_scrape_shows_pools_redis_and_the_build(anonymous: AsyncClient) -> None:
    samples = await scraped(anonymous)
    pool = "audience_export_database_pool_connections"
    assert samples[f"{pool}{{pool=primary}}{{state=idle}}"] >= 0
    assert samples[f"{pool}_max{{pool=primary}}"] == 20
    assert samples["audience_export_redis_memory_used_bytes"] > 0
    assert samples["audience_export_redis_persistence_ok"] == 1
    assert samples["audience_export_dependency_up{dependency=redis}"] == 1
    assert samples["process_resident_memory_bytes"] > 0
    assert any(name.startswith("audience_export_build_info{version=") for name in samples)
    assert "audience_export_projection_drift_rows" not in samples
    assert "audience_export_worker_heartbeat_timestamp_seconds" not in samples


async def test_a_scrape_works_while_everything_is_unavailable(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_metrics_module, "TIMEOUT_S", 0.5)
    away = {name: value for changes in AWAY.values() for name, value in changes.items()}
    async with start(**away) as (client, _):
        samples = await scraped(client)
    assert samples["audience_export_dependency_up{dependency=database}"] == 0
    assert samples["audience_export_dependency_up{dependency=redis}"] == 0
    assert "audience_export_exports_active{status=queued}" not in samples
    assert "audience_export_redis_memory_used_bytes" not in samples


async def test_an_answer_to_our_own_fault_is_counted(
    anonymous: AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = anonymous._transport
    assert isinstance(transport, httpx.ASGITransport)
    transport.raise_app_exceptions = False
    monkeypatch.setattr(type(resources.links), "verify", None)
    assert (await anonymous.get("/d/x")).status_code == 500
    samples = await scraped(anonymous)
    assert (
        samples["audience_export_http_requests_total{method=GET}{route=/d/{token}}{status=500}"]
        == 1
    )
