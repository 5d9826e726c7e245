"""What the use cases need of traces: a port, and what stands behind it where there are none."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

Facts = Mapping[str, str | int | float | bool]
"""Attributes of a span, by OpenTelemetry's names. Never an address, a token or a link."""

Kind = Literal["internal", "server", "client", "consumer", "producer"]

NOTHING: Facts = {}

FLUSH_S = 1.0
"""How long a process that ends may wait for the last spans to be taken."""


class Span(Protocol):
    """A step that is under way."""

    @property
    def traceparent(self) -> str | None:
        """What to hand on so that others continue the trace (W3C Trace Context)."""

    def rename(self, name: str) -> None:
        """Name it by what is known only now."""

    def add(self, facts: Facts) -> None:
        """Add what is known only now."""

    def fail(self, code: str) -> None:
        """Mark it as failed; ``code`` says why and names nobody."""


class Tracer(Protocol):
    """Measures steps as spans; never fails and never waits for whoever collects them."""

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

    def step(
        self, name: str, facts: Facts = NOTHING, *, kind: Kind = "internal"
    ) -> AbstractContextManager[Span]:
        """Open a span below the one that is open around it; nothing where none is."""

    def past(self, name: str, started_at: datetime, ended_at: datetime) -> None:
        """Add a span that is over below the one that is open; nothing where none is."""


@dataclass(frozen=True)
class NoSpan:
    """A step that nobody measures; it hands on the trace it was given."""

    traceparent: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        return

    def rename(self, name: str) -> None:
        """Do nothing."""

    def add(self, facts: Facts) -> None:
        """Do nothing."""

    def fail(self, code: str) -> None:
        """Do nothing."""


UNMEASURED = NoSpan()


class NoTracer:
    """Stands where traces are not exported."""

    def begin(
        self,
        name: str,
        traceparent: str | None,
        facts: Facts = NOTHING,
        *,
        kind: Kind = "internal",
        started_at: datetime | None = None,
    ) -> NoSpan:
        """Hand on the trace."""
        return NoSpan(traceparent)

    def step(self, name: str, facts: Facts = NOTHING, *, kind: Kind = "internal") -> NoSpan:
        """Measure nothing."""
        return UNMEASURED

    def past(self, name: str, started_at: datetime, ended_at: datetime) -> None:
        """Do nothing."""


UNTRACED: Tracer = NoTracer()
