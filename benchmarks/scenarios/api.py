"""The API under load, compared with a FastAPI route that runs SELECT 1."""

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import BenchmarkFailed, run_module
from benchmarks.reporting.figures import Figure, quantile, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import GET_OVER_BARE

CONNECTIONS = 16
FINISHED_EXPORTS = 20
BARE, GET, POST = "bare route", "GET /exports/{id}", "POST /exports"
EXPECTED = {BARE: "200", GET: "200", POST: "202"}
MS = 1000


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Load POST, GET and the baseline in turn; no worker runs."""
    specs = load_specs(environment, options)
    loaded: dict[str, list[dict[str, Any]]] = {name: [] for name in specs}
    for _ in range(options.runs):
        for name, spec in specs.items():
            loaded[name].append(load(name, {**spec, "seconds": options.load_s}))
        environment.clear_queued()
    rates = {name: [per_s(each) for each in runs] for name, runs in loaded.items()}
    figures = [figure for name in specs for figure in figures_of(name, rates[name], loaded[name])]
    over_bare = ratios(rates[GET], rates[BARE])
    ratio = Figure(f"{GET} over the {BARE}, throughput", over_bare, goal=GET_OVER_BARE)
    return ScenarioResult((*figures, ratio))


def load_specs(environment: Environment, options: Options) -> Mapping[str, dict[str, Any]]:
    """Return the three loads, after creating finished exports to read."""
    sellers = environment.small_sellers(options.small_exports)
    environment.clear_exports()
    environment.restart_worker()
    finished = [environment.requests.run_export(sellers[0]).id for _ in range(FINISHED_EXPORTS)]
    environment.stop_worker()
    bare = {"port": environment.start_baseline(), "connections": CONNECTIONS, "method": "GET"}
    return {
        BARE: bare | {"paths": ["/one"]},
        GET: environment.requests.get_load(finished, CONNECTIONS),
        POST: environment.requests.post_load(sellers, CONNECTIONS),
    }


def load(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Run one load.

    Raises:
        BenchmarkFailed: a response had an unexpected status.
    """
    loaded: dict[str, Any] = run_module("benchmarks.processes.http_load", spec)
    if set(loaded["statuses"]) != {EXPECTED[name]}:
        raise BenchmarkFailed(f"{name} was answered {loaded['statuses']}")
    return loaded


def per_s(loaded: dict[str, Any]) -> float:
    """Return the requests per second."""
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
