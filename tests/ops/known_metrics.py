"""The metrics that the code shows, by every name that Prometheus knows them by."""

from app.observability.metrics import PREFIX, PROCESS_METRICS, SHARED_METRICS, Metrics

SCRAPED = frozenset({"job", "instance"})
"""Labels that Prometheus adds to everything that it scrapes."""

SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def known_metrics() -> dict[str, frozenset[str]]:
    """Return every series' name with the labels it may have."""
    names = {"up": SCRAPED}
    for each in (*PROCESS_METRICS, *SHARED_METRICS):
        for suffix in SUFFIXES[each.kind]:
            own = {"le"} if suffix == "_bucket" else set()
            names[f"{PREFIX}_{each.name}{suffix}"] = SCRAPED | set(each.labels) | own
    metrics = Metrics()
    metrics.worker_heartbeat()
    registered = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    return names | dict.fromkeys(registered - names.keys(), SCRAPED)
