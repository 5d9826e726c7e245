"""Spans: whose they are, what they tell, and that nobody waits for the collector."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from app.adapters.otel import open_tracer
from app.errors import StorageUnavailable
from app.observability.tracing import FLUSH_S, NOOP_TRACER, Tracer, set_error, traceparent_of
from tests.otlp_collector import Collector, Seen, open_collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"


@asynccontextmanager
async def collected() -> AsyncIterator[tuple[Tracer, Collector]]:
    """Yield a tracer and where its spans are when the context has ended."""
    with open_collector() as collector:
        async with open_tracer(collector.url) as tracer:
            yield tracer, collector


def only(collector: Collector, name: str) -> Seen:
    """Return the one span of a name."""
    (span,) = [span for span in collector.spans if span.name == name]
    return span


async def test_a_span_continues_the_trace_it_is_given() -> None:
    async with collected() as (tracer, collector):
        with tracer.start_span("request", SAMPLED) as span:
            handed_on = traceparent_of(span)
    seen = only(collector, "request")
    assert (seen.trace, seen.parent) == (TRACE, PARENT)
    assert handed_on == f"00-{TRACE}-{seen.id}-01"
    assert (collector.paths, seen.service) == ({"/v1/traces"}, "audience-export")


async def test_a_span_without_a_trace_begins_one_of_its_own() -> None:
    async with collected() as (tracer, collector):
        with tracer.start_span("outer", None), tracer.start_span("other", None):
            pass
    assert only(collector, "outer").parent == only(collector, "other").parent == ""
    assert only(collector, "outer").trace != only(collector, "other").trace


async def test_steps_are_below_the_span_that_is_open() -> None:
    begun_at = datetime.now(UTC)
    async with collected() as (tracer, collector):
        with tracer.start_span("export", SAMPLED):
            tracer.record_span("queue", begun_at - timedelta(seconds=2), begun_at)
            with (
                tracer.start_child_span("copy"),
                tracer.start_child_span("upload part", {"store.part": 1}),
            ):
                pass
    export, copy = only(collector, "export"), only(collector, "copy")
    queue, part = only(collector, "queue"), only(collector, "upload part")
    assert copy.parent == queue.parent == export.id
    assert part.parent == copy.id
    assert part.attributes == {"store.part": "1"}
    assert queue.seconds == pytest.approx(2, abs=0.001)


async def test_a_past_that_ends_before_it_began_has_no_length() -> None:
    now = datetime.now(UTC)
    async with collected() as (tracer, collector):
        with tracer.start_span("export", None):
            tracer.record_span("queue", now, now - timedelta(seconds=1))
    assert only(collector, "queue").seconds == 0


async def test_steps_outside_any_trace_are_not_measured() -> None:
    async with collected() as (tracer, collector):
        with tracer.start_child_span("delete"):
            tracer.record_span("queue", datetime.now(UTC), datetime.now(UTC))
    assert collector.spans == []


async def test_what_the_caller_does_not_sample_is_not_exported_but_handed_on() -> None:
    async with collected() as (tracer, collector):
        with tracer.start_span("request", UNSAMPLED) as span, tracer.start_child_span("copy"):
            handed_on = traceparent_of(span)
    assert handed_on is not None
    assert handed_on.startswith(f"00-{TRACE}-")
    assert handed_on.endswith("-00")
    assert collector.spans == []


async def test_a_failure_is_reported_by_its_code_and_never_in_its_words() -> None:
    async with collected() as (tracer, collector):
        with pytest.raises(StorageUnavailable), tracer.start_span("export", None):
            raise StorageUnavailable("ann@example.com")
        with pytest.raises(ZeroDivisionError), tracer.start_span("mail", None):
            raise ZeroDivisionError("ann@example.com")
    export, mail = only(collector, "export"), only(collector, "mail")
    assert export.is_failed
    assert export.attributes == {"error.type": "storage_unavailable"}
    assert mail.attributes == {"error.type": "ZeroDivisionError"}


@pytest.mark.parametrize("is_silent", [True, False])
async def test_nobody_waits_for_a_collector_that_is_unavailable(is_silent: bool) -> None:
    with open_collector(Event() if is_silent else None) as collector:
        url = collector.url if is_silent else "http://127.0.0.1:1"
        begun_at = time.monotonic()
        async with open_tracer(url) as tracer:
            for _ in range(5000):  # more than the queue holds
                with tracer.start_span("request", None):
                    pass
            working_s = time.monotonic() - begun_at
        ending_s = time.monotonic() - begun_at - working_s
    assert working_s < 10
    assert ending_s < FLUSH_S + 1


@pytest.fixture
def untraced() -> Tracer:
    """What stands where traces are not exported."""
    return NOOP_TRACER


def test_without_traces_the_callers_is_handed_on(untraced: Tracer) -> None:
    with untraced.start_span("request", SAMPLED) as span:
        span.update_name("GET /")
        span.set_attributes({"http.route": "/"})
        set_error(span, "500")
        assert traceparent_of(span) == SAMPLED
        with untraced.start_child_span("copy") as step:
            assert traceparent_of(step) is None
    untraced.record_span("queue", datetime.now(UTC), datetime.now(UTC))
