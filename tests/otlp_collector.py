"""A small OTLP collector: stores the spans that it receives over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A received span; ids are hexadecimal, ``parent`` is empty for a root."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    seconds: float
    attributes: dict[str, str]
    is_failed: bool


class Collector:
    """The received spans."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.paths: set[str] = set()
        self.spans: list[Seen] = []

    def names(self) -> set[str]:
        """Return the names of all spans."""
        return {span.name for span in self.spans}

    def trace_of(self, export_id: str) -> list[Seen]:
        """Return every span of the trace that ran an export."""
        traces = {
            span.trace for span in self.spans if span.attributes.get("export.id") == export_id
        }
        return [span for span in self.spans if span.trace in traces]

    def take(self, path: str, body: bytes) -> None:
        """Store the spans of one request."""
        self.paths.add(path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            self.spans += [
                Seen(
                    service=named["service.name"],
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    attributes={pair.key: _text(pair.value) for pair in span.attributes},
                    is_failed=span.status.code == span.status.STATUS_CODE_ERROR,
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]


def _text(value: object) -> str:
    """Return an attribute's value without its type: ``int_value: 1`` is ``1``."""
    return str(value).strip().partition(": ")[2].strip('"')


@contextmanager
def open_collector(answering: Event | None = None) -> Iterator[Collector]:
    """Yield a collector; with an event, it responds once that is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if answering is not None:
                answering.wait(30)
            collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(server.server_port)
    serving = Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield collector
    finally:
        if answering is not None:
            answering.set()
        server.shutdown()
        serving.join()
        server.server_close()
