"""Tracing with the OpenTelemetry API. ``app.adapters.otel`` sets up the SDK that records spans."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Literal

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    NoOpTracer,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace import Span as Span
from opentelemetry.trace import Tracer as ApiTracer

SpanAttributes = Mapping[str, str | int | float | bool]
"""Attributes of a span, by OpenTelemetry's names. Never an address, a token or a link."""

Kind = Literal["internal", "server", "client", "consumer", "producer"]

NO_ATTRIBUTES: SpanAttributes = {}

FLUSH_S = 1.0
"""How long a process that ends waits for the collector to take the last spans."""


class Tracer:
    """Starts spans; never raises and never waits for the collector.

    ``tracer`` is the SDK's, or the API's no-op tracer.
    """

    def __init__(self, tracer: ApiTracer) -> None:
        self._tracer = tracer

    def start_span(
        self,
        name: str,
        traceparent: str | None,
        attributes: SpanAttributes = NO_ATTRIBUTES,
        *,
        kind: Kind = "internal",
        started_at: datetime | None = None,
    ) -> AbstractContextManager[Span]:
        """Start a span that continues the trace of ``traceparent``, or a new trace for ``None``."""
        started_ns = None if started_at is None else _nanoseconds(started_at)
        return _open(
            self._tracer.start_span(
                name,
                _remote_context(traceparent),
                SpanKind[kind.upper()],
                attributes=attributes,
                start_time=started_ns,
            )
        )

    def start_child_span(
        self, name: str, attributes: SpanAttributes = NO_ATTRIBUTES, *, kind: Kind = "internal"
    ) -> AbstractContextManager[Span]:
        """Start a child of the current span; a no-op span where none is being recorded."""
        if not get_current_span().is_recording():
            return nullcontext(INVALID_SPAN)
        return _open(
            self._tracer.start_span(name, kind=SpanKind[kind.upper()], attributes=attributes)
        )

    def record_span(self, name: str, started_at: datetime, ended_at: datetime) -> None:
        """Add a child of the current span that has already ended, where one is being recorded."""
        if get_current_span().is_recording():
            started_ns, ended_ns = _nanoseconds(started_at), _nanoseconds(ended_at)
            # The instants may come from two clocks: a span must not end before it starts.
            self._tracer.start_span(name, start_time=started_ns).end(max(started_ns, ended_ns))


NOOP_TRACER = Tracer(NoOpTracer())
"""Passes the caller's trace on and records nothing."""


def traceparent_of(span: Span) -> str | None:
    """Return the header that continues the trace (W3C Trace Context), ``None`` without one."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def set_error(span: Span, code: str) -> None:
    """Mark a span as failed; ``code`` is the reason, without personal data."""
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR))


def _open(span: Span) -> AbstractContextManager[Span]:
    """Return a context manager for a span; only a recorded one becomes the current span."""
    return _current(span) if span.is_recording() else nullcontext(span)


@contextmanager
def _current(span: Span) -> Iterator[Span]:
    """Make ``span`` the current one and end it on exit.

    An exception's message and trace are not recorded: they may hold personal
    data. Its code or class name becomes ``error.type``.
    """
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            set_error(span, getattr(error, "code", type(error).__name__))
            raise


def _remote_context(traceparent: str | None) -> Context:
    """Return the parent context in a valid ``traceparent``; for ``None``, that of a new trace."""
    if traceparent is None:
        # Not None, which means the current context: a new trace would become part of another.
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _nanoseconds(instant: datetime) -> int:
    # Rounded to microseconds, datetime's precision: a float cannot hold nanoseconds since 1970.
    return round(instant.timestamp() * 1e6) * 1000
