"""The OpenTelemetry SDK, exporting spans over OTLP/HTTP. Needs the extra ``otel``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from app.observability.tracing import FLUSH_S, Tracer

SERVICE = "audience-export"


@asynccontextmanager
async def open_tracer(endpoint: str) -> AsyncIterator[Tracer]:
    """Yield the tracer; the collector need not be up.

    A thread exports the spans in batches. During an outage of the collector a queue of 2,048
    spans fills, and further ones are dropped. At the end, the buffered spans have
    ``FLUSH_S`` seconds to be exported.

    ``endpoint`` is the base URL in ``OTEL_EXPORTER_OTLP_ENDPOINT``; the SDK reads its other
    variables itself.
    """
    resource = Resource({"service.name": SERVICE}).merge(OTELResourceDetector().detect())
    # Not set as the global provider: libraries would record spans that may hold links.
    # No handler at exit: it would wait in the main thread for a collector that hangs.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Tracer(provider.get_tracer(SERVICE))
    finally:
        await _flush(provider)


async def _flush(provider: TracerProvider) -> None:
    """Export the buffered spans, in a daemon thread: a hanging collector must not delay exit."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop was closed after the timeout below
            loop.call_soon_threadsafe(done.set)

    Thread(target=flush, daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_S):
            await done.wait()
