"""Traces by OpenTelemetry, exported over OTLP/HTTP: needs the extra ``otel``."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from datetime import datetime
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace import Span as ApiSpan

from app.tracing import FLUSH_S, NOTHING, UNMEASURED, Facts, Kind, Span

SERVICE = "audience-export"

KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
}


class OtelSpan:
    """A :class:`~app.tracing.Span` of OpenTelemetry's."""

    def __init__(self, span: ApiSpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What to hand on so that others continue the trace."""
        known_as = self._span.get_span_context()
        return f"00-{known_as.trace_id:032x}-{known_as.span_id:016x}-{known_as.trace_flags:02x}"

    def rename(self, name: str) -> None:
        """Name it by what is known only now."""
        self._span.update_name(name)

    def add(self, facts: Facts) -> None:
        """Add what is known only now."""
        self._span.set_attributes(facts)

    def fail(self, code: str) -> None:
        """Mark it as failed."""
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))


class OtelTracer:
    """A :class:`~app.tracing.Tracer` whose spans a thread exports in batches.

    A queue of 2,048 spans is all that an outage of the collector can fill:
    what comes then is dropped.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(SERVICE)

    def begin(
        self,
        name: str,
        traceparent: str | None,
        facts: Facts = NOTHING,
        *,
        kind: Kind = "internal",
        started_at: datetime | None = None,
    ) -> AbstractContextManager[Span]:
        """Open a span that continues the trace of ``traceparent``, or begins a new one."""
        return _opened(
            self._tracer.start_span(
                name,
                _remote(traceparent),
                KINDS[kind],
                attributes=facts,
                start_time=None if started_at is None else _nanoseconds(started_at),
            )
        )

    def step(
        self, name: str, facts: Facts = NOTHING, *, kind: Kind = "internal"
    ) -> AbstractContextManager[Span]:
        """Open a span below the one that is open around it; nothing where none is."""
        if not get_current_span().is_recording():
            return UNMEASURED
        return _opened(self._tracer.start_span(name, kind=KINDS[kind], attributes=facts))

    def past(self, name: str, started_at: datetime, ended_at: datetime) -> None:
        """Add a span that is over below the one that is open; nothing where none is."""
        if get_current_span().is_recording():
            begun_ns, ended_ns = _nanoseconds(started_at), _nanoseconds(ended_at)
            self._tracer.start_span(name, start_time=begun_ns).end(max(begun_ns, ended_ns))


@asynccontextmanager
async def open_tracer(endpoint: str) -> AsyncIterator[OtelTracer]:
    """Yield the tracer; the collector need not be up.

    ``endpoint`` is the base address of ``OTEL_EXPORTER_OTLP_ENDPOINT``; the
    SDK reads its other variables itself. At the end, what waits has
    ``FLUSH_S`` to be exported.
    """
    named = Resource({"service.name": SERVICE}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield OtelTracer(provider)
    finally:
        await _flush(provider)


async def _flush(provider: TracerProvider) -> None:
    """Export what waits, in a thread that does not keep the process from ending."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done.set)

    Thread(target=flush, daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_S):
            await done.wait()


@contextmanager
def _opened(span: ApiSpan) -> Iterator[OtelSpan]:
    """Make a span the current one and end it, without the words of any exception."""
    opened = OtelSpan(span)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield opened
        except BaseException as error:
            opened.fail(getattr(error, "code", type(error).__name__))
            raise


def _remote(traceparent: str | None) -> Context:
    """Return the context that a valid ``traceparent`` describes; without one, of no trace."""
    if traceparent is None:
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _nanoseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6) * 1000
