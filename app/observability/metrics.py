"""The Prometheus metrics: every name, unit and label in one place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import Metric
from sqlalchemy.pool import QueuePool

PREFIX = "audience_export"

EXPORT_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class MetricSpec:
    """The definition of a metric.

    ``name`` includes the unit but not the prefix; ``meaning`` is its help text. Tests compare
    the dashboard, the alerts and the documents with these definitions.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


PROCESS_METRICS = (
    MetricSpec(
        "exports_requested_total", "counter", (), "Exports that were requested and accepted."
    ),
    MetricSpec(
        "exports_finished_total",
        "counter",
        ("status", "code"),
        "Exports that ended: succeeded, failed (with the error's code) or cancelled.",
    ),
    MetricSpec(
        "processing_seconds",
        "histogram",
        (),
        "From the last claim to the end, of exports that succeeded.",
    ),
    MetricSpec(
        "queue_seconds",
        "histogram",
        (),
        "From when an export was due to its last claim, of exports that succeeded.",
    ),
    MetricSpec("rows_total", "counter", (), "Rows in the files of exports that succeeded."),
    MetricSpec("bytes_total", "counter", (), "Bytes of those files."),
    MetricSpec(
        "retries_total",
        "counter",
        ("code",),
        "Failed attempts that are retried, by the error's code.",
    ),
    MetricSpec(
        "leases_reclaimed_total",
        "counter",
        (),
        "Leases that expired and were reclaimed.",
    ),
    MetricSpec(
        "periodic_task_runs_total",
        "counter",
        ("task", "outcome"),
        "Runs of periodic tasks: succeeded, deferred by an outage, or failed unexpectedly.",
    ),
    MetricSpec(
        "unexpected_errors_total",
        "counter",
        ("component",),
        "Unexpected errors that were logged with their trace and survived, by component.",
    ),
    MetricSpec(
        "mails_total",
        "counter",
        ("kind", "outcome"),
        "Tries to send a mail (ready, failed or notice): "
        "sent, deferred, unanswered, refused or given_up.",
    ),
    MetricSpec(
        "webhooks_total",
        "counter",
        ("outcome",),
        "Webhook calls: delivered, deferred or given_up.",
    ),
    MetricSpec(
        "events_lines_total",
        "counter",
        ("outcome",),
        "Lines of events: applied, ignored (old or repeated) or rejected (with their batch).",
    ),
    MetricSpec(
        "link_openings_total",
        "counter",
        ("outcome",),
        "Mailed links that were followed: opened, or the error's code.",
    ),
    MetricSpec(
        "http_requests_total",
        "counter",
        ("method", "route", "status"),
        "Responses, by route template.",
    ),
    MetricSpec(
        "http_request_seconds",
        "histogram",
        ("method", "route"),
        "Time to the start of the response; long polls wait on purpose.",
    ),
    MetricSpec(
        "database_pool_connections",
        "gauge",
        ("pool", "state"),
        "Connections of this process: idle or in_use, of the pool primary or audience.",
    ),
    MetricSpec(
        "database_pool_connections_max", "gauge", ("pool",), "The pool's maximum of connections."
    ),
    MetricSpec(
        "event_loop_lag_seconds",
        "gauge",
        (),
        "The longest that the event loop was late in the last minute.",
    ),
    MetricSpec(
        "worker_heartbeat_timestamp_seconds",
        "gauge",
        (),
        "When this worker last completed a periodic task; workers only.",
    ),
    MetricSpec("build_info", "gauge", ("version",), "Always 1."),
)
"""The metrics that each process counts itself: sum them over all processes."""

SHARED_METRICS = (
    MetricSpec(
        "dependency_up",
        "gauge",
        ("dependency",),
        "1 if database or redis answered this scrape; at 0, its metrics are absent.",
    ),
    MetricSpec("exports_active", "gauge", ("status",), "Exports that are queued or running."),
    MetricSpec(
        "oldest_waiting_seconds",
        "gauge",
        (),
        "How long the longest-waiting export has been due for a worker; 0 if none is waiting.",
    ),
    MetricSpec(
        "oldest_active_seconds",
        "gauge",
        (),
        "The age of the oldest unfinished export; 0 if there is none.",
    ),
    MetricSpec(
        "oldest_remaining_file_seconds",
        "gauge",
        (),
        "How long the oldest file due for deletion has been overdue; 0 if there is none.",
    ),
    MetricSpec(
        "projection_drift_rows",
        "gauge",
        (),
        "Wrong audience members found by the last verify of all sellers; absent before the first.",
    ),
    MetricSpec(
        "projection_verified_timestamp_seconds",
        "gauge",
        (),
        "When the last verify of all sellers ended; absent before the first.",
    ),
    MetricSpec(
        "imported_rows_total",
        "counter",
        ("outcome",),
        "Rows of all imports so far: added, changed or rejected; absent before the first.",
    ),
    MetricSpec("redis_memory_used_bytes", "gauge", (), "The memory that Redis uses."),
    MetricSpec("redis_memory_max_bytes", "gauge", (), "Redis' maxmemory; 0 if it has none."),
    MetricSpec(
        "redis_persistence_ok",
        "gauge",
        (),
        "1 while Redis' last snapshot and last append to disk went well.",
    ),
)
"""The metrics that every process reports alike, read at scrape time: do not sum them."""

MetricValues = Mapping[str, float | Mapping[str, float]]
"""Values by metric name; for a metric with a label, values by the label's value."""


class Metrics:
    """The metrics of one process and their registry.

    Labels have few values: never a seller, an address or anything else unbounded.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's gap
        self.registry = CollectorRegistry(auto_describe=True)
        self._specs = {spec.name: spec for spec in PROCESS_METRICS}
        self.exports_requested = self._counter("exports_requested_total")
        self.exports_finished = self._counter("exports_finished_total")
        self.processing = self._histogram("processing_seconds", EXPORT_S)
        self.queueing = self._histogram("queue_seconds", EXPORT_S)
        self.rows = self._counter("rows_total")
        self.bytes = self._counter("bytes_total")
        self.retries = self._counter("retries_total")
        self.leases_reclaimed = self._counter("leases_reclaimed_total")
        self.periodic_task_runs = self._counter("periodic_task_runs_total")
        self.unexpected_errors = self._counter("unexpected_errors_total")
        self.mails = self._counter("mails_total")
        self.webhooks = self._counter("webhooks_total")
        self.events_lines = self._counter("events_lines_total")
        self.link_openings = self._counter("link_openings_total")
        self.http_requests = self._counter("http_requests_total")
        self.http_seconds = self._histogram("http_request_seconds", REQUEST_S)
        self.loop_lag = self._gauge("event_loop_lag_seconds")
        self._pool_connections = self._gauge("database_pool_connections")
        self._pool_max = self._gauge("database_pool_connections_max")
        self._gauge("build_info").labels(version("audience-export")).set(1)
        ProcessCollector(registry=self.registry)

    def track_pool(self, name: str, pool: QueuePool) -> None:
        """Report the pool's connections at each scrape, under the label ``name``."""
        self._pool_connections.labels(name, "in_use").set_function(pool.checkedout)
        self._pool_connections.labels(name, "idle").set_function(pool.checkedin)
        self._pool_max.labels(name).set(pool.size() + pool._max_overflow)

    def worker_heartbeat(self) -> Gauge:
        """Register and return the worker's heartbeat gauge; the API has none."""
        return self._gauge("worker_heartbeat_timestamp_seconds")

    def _counter(self, name: str) -> Counter:
        spec = self._specs[name]
        return Counter(f"{PREFIX}_{name}", spec.meaning, spec.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        spec = self._specs[name]
        return Gauge(f"{PREFIX}_{name}", spec.meaning, spec.labels, registry=self.registry)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        spec = self._specs[name]
        return Histogram(
            f"{PREFIX}_{name}", spec.meaning, spec.labels, buckets=buckets, registry=self.registry
        )


def metric_families(values: MetricValues) -> Iterator[Metric]:
    """Yield a Prometheus metric family for each shared metric that has a value."""
    for spec in SHARED_METRICS:
        if spec.name not in values:
            continue
        value = values[spec.name]
        name = f"{PREFIX}_{spec.name}"
        # The encoder adds the suffix to a counter's family; its samples have it already.
        family = Metric(name.removesuffix("_total"), spec.meaning, spec.kind)
        if isinstance(value, Mapping):
            for label, number in value.items():
                family.add_sample(name, {spec.labels[0]: label}, number)
        else:
            family.add_sample(name, {}, value)
        yield family
