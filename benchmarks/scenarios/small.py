"""Many small exports: how many per second, from request to mail."""

from typing import Any

from benchmarks.harness.environment import SMALL_ROWS, Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import PEERS_PYTHON, BenchmarkFailed, run_module
from benchmarks.reporting.figures import Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import SMALL_RATE

CONNECTIONS = 8
TIMEOUT_S = 120


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Run a burst of exports of different sellers, and the same in a plain script."""
    sellers = environment.small_sellers(options.small_exports)
    environment.restart_worker()
    ours, plain = [], []
    for _ in range(options.runs):
        ours.append(len(sellers) / service_s(environment, sellers))
        if PEERS_PYTHON.exists():
            plain.append(len(sellers) / plain_s(environment, sellers))
    name = f"{len(sellers)} exports of {SMALL_ROWS} rows, POST to mail"
    figures = [Figure(name, tuple(ours), "/s", goal=SMALL_RATE)]
    if plain:
        figures.append(Figure(f"{name}: a plain script", tuple(plain), "/s"))
        figures.append(Figure(f"{name}: over a plain script", ratios(ours, plain)))
    return ScenarioResult(tuple(figures))


def service_s(environment: Environment, sellers: range) -> float:
    """Return the seconds from the first row's creation to the last mail's acceptance.

    Raises:
        BenchmarkFailed: some are not mailed in time.
    """
    environment.clear_exports()
    spec = environment.requests.post_load(sellers, CONNECTIONS) | {"count": len(sellers)}
    loaded: dict[str, Any] = run_module("benchmarks.processes.http_load", spec)
    if loaded["statuses"] != {"202": len(sellers)}:
        raise BenchmarkFailed(f"POST /exports was answered {loaded['statuses']}")
    return environment.wait_for_mails(len(sellers), TIMEOUT_S)


def plain_s(environment: Environment, sellers: range) -> float:
    """Return the seconds that a plain script takes for the same lists and mails."""
    first = environment.alternative_spec(sellers[0])
    own = {
        "sql": first["sql"].replace(str(sellers[0]), "{seller_id}"),
        "smtp_host": "127.0.0.1",
        "smtp_port": environment.smtp_port,
    }
    warm_up = {**first, **own, "seller_ids": [sellers[0]]}
    spec = {**first, **own, "seller_ids": list(sellers), "warm_up": warm_up}
    done: dict[str, Any] = run_module("benchmarks.alternatives.plain_small", spec, PEERS_PYTHON)
    return float(done["seconds"])
