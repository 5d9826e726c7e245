"""What Prometheus scrapes: as documented, by convention, and without unbounded labels."""

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from app.errors import DatabaseUnavailable
from app.observability import shared_metrics as shared_metrics_module
from app.observability.event_loop_lag import EventLoopLag
from app.observability.metrics import (
    PREFIX,
    PROCESS_METRICS,
    SHARED_METRICS,
    Metrics,
    MetricSpec,
    MetricValues,
    metric_families,
)
from app.observability.shared_metrics import SharedMetricsCollector

MONITOR = Path(__file__).parents[2] / "docs" / "monitor.md"
ROW = re.compile(r"^\| `(audience_export_\w+)` \| (\w+) \|(.*?)\| (.+) \|$", re.MULTILINE)
UNITS = ("_seconds", "_bytes", "_rows", "_total", "_info", "_ok", "_up", "_active", "_max")


def exposed() -> dict[str, Metric]:
    """Return every family of a worker that has read every fact, by its name in documents."""
    metrics = Metrics()
    metrics.worker_heartbeat()
    values: dict[str, float | dict[str, float]] = {
        each.name: {"some": 1.0} if each.labels else 1.0 for each in SHARED_METRICS
    }
    shown = [*metrics.registry.collect(), *metric_families(values)]
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in shown
        if family.name.startswith(PREFIX)
    }


def test_the_documented_metrics_are_those_there_are() -> None:
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in ROW.findall(MONITOR.read_text())
    }
    assert documented == {
        f"{PREFIX}_{each.name}": (each.kind, each.labels, each.meaning)
        for each in (*PROCESS_METRICS, *SHARED_METRICS)
    }


def test_what_is_described_is_what_is_exposed() -> None:
    shown = exposed()
    assert shown.keys() == {f"{PREFIX}_{each.name}" for each in (*PROCESS_METRICS, *SHARED_METRICS)}
    for each in (*PROCESS_METRICS, *SHARED_METRICS):
        assert shown[f"{PREFIX}_{each.name}"].type == each.kind


@pytest.mark.parametrize("each", [*PROCESS_METRICS, *SHARED_METRICS], ids=lambda each: each.name)
def test_names_end_in_their_unit_and_no_label_is_a_person(each: MetricSpec) -> None:
    assert each.name.endswith((*UNITS, "_connections"))
    assert (each.kind == "counter") == each.name.endswith("_total")
    assert not {"seller", "seller_id", "email", "recipient", "export_id"} & set(each.labels)


async def read() -> MetricValues:
    return {"oldest_waiting_seconds": 7.5, "exports_active": {"queued": 2, "running": 1}}


async def away() -> MetricValues:
    raise DatabaseUnavailable("away")


async def silent() -> MetricValues:
    await asyncio.Event().wait()
    return {}


async def shown_of(collector: SharedMetricsCollector) -> str:
    metrics = Metrics()
    metrics.registry.register(collector)
    await collector.refresh()
    return generate_latest(metrics.registry).decode()


async def test_shared_metrics_are_shown_with_their_labels() -> None:
    text = await shown_of(SharedMetricsCollector({"database": read}))
    assert "audience_export_oldest_waiting_seconds 7.5" in text
    assert 'audience_export_exports_active{status="queued"} 2.0' in text
    assert 'audience_export_dependency_up{dependency="database"} 1.0' in text


@pytest.mark.parametrize("reader", [away, silent])
async def test_what_does_not_answer_is_absent_and_says_so(
    reader: shared_metrics_module.Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_metrics_module, "TIMEOUT_S", 0.01)
    text = await shown_of(SharedMetricsCollector({"database": reader, "redis": read}))
    assert 'audience_export_dependency_up{dependency="database"} 0.0' in text
    assert 'audience_export_dependency_up{dependency="redis"} 1.0' in text
    assert "audience_export_redis_memory_used_bytes" not in text


async def test_a_crowd_of_scrapes_asks_once() -> None:
    reads = 0

    async def counted() -> MetricValues:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return {}

    collector = SharedMetricsCollector({"database": counted})
    await asyncio.gather(*(collector.refresh() for _ in range(20)))
    assert reads == 1


async def test_shared_metrics_do_not_outlive_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_metrics_module, "CACHE_TTL_S", 0.0)
    readers = {"database": read}
    collector = SharedMetricsCollector(readers)
    await collector.refresh()
    readers["database"] = away
    assert "oldest_waiting" not in await shown_of(collector)


def test_the_lag_shown_is_the_worst_of_the_last_minute() -> None:
    lag = EventLoopLag()
    assert lag.max_s == 0
    for now, late_s in ((0, 0.9), (30, 0.2), (59, 0.1)):
        lag.record(now, late_s)
    assert lag.max_s == 0.9
    lag.record(61, 0)
    assert lag.max_s == 0.2
