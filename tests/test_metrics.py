"""What Prometheus is told: as documented, by convention, and without unbounded labels."""

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from app import facts as facts_module
from app.errors import DatabaseUnavailable
from app.facts import SharedFacts
from app.lag import Lag
from app.metrics import COUNTED, PREFIX, SHARED, Described, Facts, Metrics, families

OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"
ROW = re.compile(r"^\| `(audience_export_\w+)` \| (\w+) \|(.*?)\| (.+) \|$", re.MULTILINE)
UNITS = ("_seconds", "_bytes", "_rows", "_total", "_info", "_ok", "_up", "_active", "_max")


def exposed() -> dict[str, Metric]:
    """Return every family of a worker that has read every fact, by its name in documents."""
    metrics = Metrics()
    metrics.watch_worker()
    known: dict[str, float | dict[str, float]] = {
        each.name: {"some": 1.0} if each.labels else 1.0 for each in SHARED
    }
    shown = [*metrics.registry.collect(), *families(known)]
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in shown
        if family.name.startswith(PREFIX)
    }


def test_the_documented_metrics_are_those_there_are() -> None:
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in ROW.findall(OPERATIONS.read_text())
    }
    assert documented == {
        f"{PREFIX}_{each.name}": (each.kind, each.labels, each.meaning)
        for each in (*COUNTED, *SHARED)
    }


def test_what_is_described_is_what_is_exposed() -> None:
    shown = exposed()
    assert shown.keys() == {f"{PREFIX}_{each.name}" for each in (*COUNTED, *SHARED)}
    for each in (*COUNTED, *SHARED):
        assert shown[f"{PREFIX}_{each.name}"].type == each.kind


@pytest.mark.parametrize("each", [*COUNTED, *SHARED], ids=lambda each: each.name)
def test_names_end_in_their_unit_and_no_label_is_a_person(each: Described) -> None:
    assert each.name.endswith((*UNITS, "_connections"))
    assert (each.kind == "counter") == each.name.endswith("_total")
    assert not {"seller", "seller_id", "email", "recipient", "export_id"} & set(each.labels)


async def read() -> Facts:
    return {"oldest_waiting_seconds": 7.5, "exports_active": {"queued": 2, "running": 1}}


async def away() -> Facts:
    raise DatabaseUnavailable("away")


async def silent() -> Facts:
    await asyncio.Event().wait()
    return {}


async def shown_of(facts: SharedFacts) -> str:
    metrics = Metrics()
    metrics.registry.register(facts)
    await facts.refresh()
    return generate_latest(metrics.registry).decode()


async def test_shared_facts_are_shown_with_their_labels() -> None:
    text = await shown_of(SharedFacts({"database": read}))
    assert "audience_export_oldest_waiting_seconds 7.5" in text
    assert 'audience_export_exports_active{status="queued"} 2.0' in text
    assert 'audience_export_dependency_up{dependency="database"} 1.0' in text


@pytest.mark.parametrize("reader", [away, silent])
async def test_what_does_not_answer_is_absent_and_says_so(
    reader: facts_module.Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_module, "TIMEOUT_S", 0.01)
    text = await shown_of(SharedFacts({"database": reader, "redis": read}))
    assert 'audience_export_dependency_up{dependency="database"} 0.0' in text
    assert 'audience_export_dependency_up{dependency="redis"} 1.0' in text
    assert "audience_export_redis_memory_used_bytes" not in text


async def test_a_crowd_of_scrapes_asks_once() -> None:
    asked = 0

    async def counted() -> Facts:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {}

    facts = SharedFacts({"database": counted})
    await asyncio.gather(*(facts.refresh() for _ in range(20)))
    assert asked == 1


async def test_facts_do_not_outlive_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "KEPT_S", 0.0)
    readers = {"database": read}
    facts = SharedFacts(readers)
    await facts.refresh()
    readers["database"] = away
    assert "oldest_waiting" not in await shown_of(facts)


def test_the_lag_shown_is_the_worst_of_the_last_minute() -> None:
    lag = Lag()
    assert lag.worst_s == 0
    for now, late_s in ((0, 0.9), (30, 0.2), (59, 0.1)):
        lag.note(now, late_s)
    assert lag.worst_s == 0.9
    lag.note(61, 0)
    assert lag.worst_s == 0.2
