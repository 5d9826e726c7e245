"""What a process counts for Prometheus: every name, unit and label in one place."""

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
class Described:
    """A metric as its readers know it; ``name`` without the prefix, with its unit."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


COUNTED = (
    Described(
        "exports_requested_total", "counter", (), "Exports that were asked for and accepted."
    ),
    Described(
        "exports_finished_total",
        "counter",
        ("status", "code"),
        "Exports that ended: succeeded, failed (with the error's code) or cancelled.",
    ),
    Described(
        "processing_seconds",
        "histogram",
        (),
        "From the last claim to the end, of exports that succeeded.",
    ),
    Described(
        "queue_seconds",
        "histogram",
        (),
        "From when it was due to the last claim, of exports that succeeded.",
    ),
    Described("rows_total", "counter", (), "Rows in the files of exports that succeeded."),
    Described("bytes_total", "counter", (), "Bytes of those files."),
    Described(
        "retries_total",
        "counter",
        ("code",),
        "Attempts that failed and are made again, by the error's code.",
    ),
    Described(
        "leases_lost_total",
        "counter",
        (),
        "Leases that ran out and were taken back by the sweep.",
    ),
    Described(
        "sweeps_total",
        "counter",
        ("chore", "outcome"),
        "Rounds of the workers' chores: done, or put_off by an outage.",
    ),
    Described(
        "mails_total",
        "counter",
        ("kind", "outcome"),
        "Tries to send a mail (ready or failed): sent, deferred, refused or given_up.",
    ),
    Described(
        "webhooks_total",
        "counter",
        ("outcome",),
        "Calls to services: delivered, deferred or given_up.",
    ),
    Described(
        "events_lines_total",
        "counter",
        ("outcome",),
        "Lines of events: applied, ignored (late or again) or rejected (their whole batch).",
    ),
    Described(
        "link_openings_total",
        "counter",
        ("outcome",),
        "Mailed links that were followed: opened, or the error's code.",
    ),
    Described(
        "http_requests_total",
        "counter",
        ("method", "route", "status"),
        "Answers, by route template.",
    ),
    Described(
        "http_request_seconds",
        "histogram",
        ("method", "route"),
        "Until an answer began; long polls wait on purpose.",
    ),
    Described(
        "database_pool_connections",
        "gauge",
        ("pool", "state"),
        "Connections of this process: idle or in_use, of the pool primary or audience.",
    ),
    Described(
        "database_pool_connections_max", "gauge", ("pool",), "How many the pool may have at most."
    ),
    Described(
        "event_loop_lag_seconds",
        "gauge",
        (),
        "The longest that the event loop was late in the last minute.",
    ),
    Described(
        "worker_heartbeat_timestamp_seconds",
        "gauge",
        (),
        "When this worker last finished a chore; workers only.",
    ),
    Described("build_info", "gauge", ("version",), "Always 1."),
)
"""What each process counts by itself."""

SHARED = (
    Described(
        "dependency_up",
        "gauge",
        ("dependency",),
        "1 where database or redis answered this scrape; at 0, what it tells is absent.",
    ),
    Described("exports_active", "gauge", ("status",), "Exports that are queued or running."),
    Described(
        "oldest_waiting_seconds",
        "gauge",
        (),
        "How long the longest-waiting export could have been claimed; 0 where none waits.",
    ),
    Described(
        "oldest_active_seconds",
        "gauge",
        (),
        "The age of the oldest export that has not ended; 0 where all have.",
    ),
    Described(
        "projection_drift_rows",
        "gauge",
        (),
        "Members that were wrong at the last verify of all sellers; absent before the first.",
    ),
    Described(
        "projection_verified_timestamp_seconds", "gauge", (), "When that was; absent before."
    ),
    Described(
        "imported_rows_total",
        "counter",
        ("outcome",),
        "Rows of all imports so far: added, changed or rejected; absent before the first.",
    ),
    Described("redis_memory_used_bytes", "gauge", (), "What Redis uses."),
    Described("redis_memory_max_bytes", "gauge", (), "Its maxmemory; 0 where it has none."),
    Described(
        "redis_persistence_ok",
        "gauge",
        (),
        "1 while Redis' last snapshot and last append to disk went well.",
    ),
)
"""What is the same whichever process is asked: read when scraped, not to be summed."""

Facts = Mapping[str, float | Mapping[str, float]]
"""Values by name; those of a metric with a label, by the label's value."""


class Metrics:
    """The counters of one process and the registry that they are read from.

    No label ever holds a seller, an address or anything else without bounds.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's gap
        self.registry = CollectorRegistry(auto_describe=True)
        self._described = {each.name: each for each in COUNTED}
        self.exports_requested = self._counter("exports_requested_total")
        self.exports_finished = self._counter("exports_finished_total")
        self.processing = self._histogram("processing_seconds", EXPORT_S)
        self.queueing = self._histogram("queue_seconds", EXPORT_S)
        self.rows = self._counter("rows_total")
        self.bytes = self._counter("bytes_total")
        self.retries = self._counter("retries_total")
        self.leases_lost = self._counter("leases_lost_total")
        self.sweeps = self._counter("sweeps_total")
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

    def watch_pool(self, name: str, pool: QueuePool) -> None:
        """Show the connections of a pool whenever somebody looks."""
        self._pool_connections.labels(name, "in_use").set_function(pool.checkedout)
        self._pool_connections.labels(name, "idle").set_function(pool.checkedin)
        self._pool_max.labels(name).set(pool.size() + pool._max_overflow)

    def watch_worker(self) -> Gauge:
        """Return the gauge of a worker's heartbeat, which no other process shows."""
        return self._gauge("worker_heartbeat_timestamp_seconds")

    def _counter(self, name: str) -> Counter:
        each = self._described[name]
        return Counter(f"{PREFIX}_{name}", each.meaning, each.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        each = self._described[name]
        return Gauge(f"{PREFIX}_{name}", each.meaning, each.labels, registry=self.registry)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        each = self._described[name]
        return Histogram(
            f"{PREFIX}_{name}", each.meaning, each.labels, buckets=buckets, registry=self.registry
        )


def families(facts: Facts) -> Iterator[Metric]:
    """Yield shared facts as Prometheus' families; what is not among them is absent."""
    for each in SHARED:
        if each.name not in facts:
            continue
        value = facts[each.name]
        name = f"{PREFIX}_{each.name}"
        family = Metric(name.removesuffix("_total"), each.meaning, each.kind)
        if isinstance(value, Mapping):
            for label, number in value.items():
                family.add_sample(name, {each.labels[0]: label}, number)
        else:
            family.add_sample(name, {}, value)
        yield family
