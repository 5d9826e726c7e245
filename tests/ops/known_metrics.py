"""The metrics that the code shows, by every name that Prometheus knows them by."""

from app.metrics import COUNTED, PREFIX, SHARED, Metrics

SCRAPED = frozenset({"job", "instance"})
"""Labels that Prometheus adds to whatever it scrapes."""

SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def known_metrics() -> dict[str, frozenset[str]]:
    """Return every series' name with the labels it may have."""
    names = {"up": SCRAPED}
    for each in (*COUNTED, *SHARED):
        for suffix in SUFFIXES[each.kind]:
            own = {"le"} if suffix == "_bucket" else set()
            names[f"{PREFIX}_{each.name}{suffix}"] = SCRAPED | set(each.labels) | own
    metrics = Metrics()
    metrics.watch_worker()
    registered = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    return names | dict.fromkeys(registered - names.keys(), SCRAPED)
