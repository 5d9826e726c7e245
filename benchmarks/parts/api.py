"""The API under load, beside a bare FastAPI route with one SELECT 1."""

from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Figure, quantile, ratios
from benchmarks.jobs import BenchmarkFailed, run_module
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import GET_OVER_BARE
from benchmarks.stage import Stage

CONNECTIONS = 16
FINISHED_EXPORTS = 20
BARE, GET, POST = "bare route", "GET /exports/{id}", "POST /exports"
EXPECTED = {BARE: "200", GET: "200", POST: "202"}
MS = 1000


def run(stage: Stage, options: Options) -> Outcome:
    """Load each of the three in turn; no worker takes part."""
    specs = load_specs(stage, options)
    loaded: dict[str, list[dict[str, Any]]] = {name: [] for name in specs}
    for _ in range(options.runs):
        for name, spec in specs.items():
            loaded[name].append(load(name, {**spec, "seconds": options.load_s}))
        stage.forget_queued()
    rates = {name: [per_s(each) for each in runs] for name, runs in loaded.items()}
    figures = [figure for name in specs for figure in figures_of(name, rates[name], loaded[name])]
    over_bare = ratios(rates[GET], rates[BARE])
    judged = Figure(f"{GET} over the {BARE}, throughput", over_bare, goal=GET_OVER_BARE)
    return Outcome((*figures, judged))


def load_specs(stage: Stage, options: Options) -> Mapping[str, dict[str, Any]]:
    """Return the three loads, after making some finished exports to be read."""
    sellers = stage.small_sellers(options.small_exports)
    stage.forget_exports()
    stage.fresh_worker()
    finished = [stage.requests.perform(sellers[0]).id for _ in range(FINISHED_EXPORTS)]
    stage.stop_worker()
    bare = {"port": stage.start_bare(), "connections": CONNECTIONS, "method": "GET"}
    return {
        BARE: bare | {"paths": ["/one"]},
        GET: stage.requests.get_load(finished, CONNECTIONS),
        POST: stage.requests.post_load(sellers, CONNECTIONS),
    }


def load(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Run one load.

    Raises:
        BenchmarkFailed: some answer was not what it should be.
    """
    loaded: dict[str, Any] = run_module("benchmarks.load", spec)
    if set(loaded["statuses"]) != {EXPECTED[name]}:
        raise BenchmarkFailed(f"{name} was answered {loaded['statuses']}")
    return loaded


def per_s(loaded: dict[str, Any]) -> float:
    """Return how many requests were answered in a second."""
    return len(loaded["latencies_s"]) / float(loaded["seconds"])


def figures_of(name: str, rates: list[float], runs: list[dict[str, Any]]) -> tuple[Figure, ...]:
    """Return throughput and latency of one load."""
    median_ms, tail_ms = (
        tuple(quantile(each["latencies_s"], share) * MS for each in runs) for share in (0.5, 0.95)
    )
    where = f"{name}, {CONNECTIONS} connections"
    return (
        Figure(f"{where}: throughput", tuple(rates), "/s"),
        Figure(f"{where}: median latency", median_ms, "ms"),
        Figure(f"{where}: p95 latency", tail_ms, "ms"),
    )
