"""Many small exports: how many a second, from the request to the mail."""

from typing import Any

from benchmarks.figures import Figure, ratios
from benchmarks.jobs import PEERS_PYTHON, BenchmarkFailed, run_module
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import SMALL_RATE
from benchmarks.stage import SMALL_ROWS, Stage

CONNECTIONS = 8
TIMEOUT_S = 120


def run(stage: Stage, options: Options) -> Outcome:
    """Ask for a burst of exports, each another seller's, and let a plain script do the same."""
    sellers = stage.small_sellers(options.small_exports)
    stage.fresh_worker()
    ours, plain = [], []
    for _ in range(options.runs):
        ours.append(len(sellers) / service_s(stage, sellers))
        if PEERS_PYTHON.exists():
            plain.append(len(sellers) / plain_s(stage, sellers))
    name = f"{len(sellers)} exports of {SMALL_ROWS} rows, POST to mail"
    figures = [Figure(name, tuple(ours), "/s", goal=SMALL_RATE)]
    if plain:
        figures.append(Figure(f"{name}: a plain script", tuple(plain), "/s"))
        figures.append(Figure(f"{name}: over a plain script", ratios(ours, plain)))
    return Outcome(tuple(figures))


def service_s(stage: Stage, sellers: range) -> float:
    """Return the seconds from the first row's creation to the last mail's acceptance.

    Raises:
        BenchmarkFailed: not all are mailed in time.
    """
    stage.forget_exports()
    spec = stage.requests.post_load(sellers, CONNECTIONS) | {"count": len(sellers)}
    loaded: dict[str, Any] = run_module("benchmarks.load", spec)
    if loaded["statuses"] != {"202": len(sellers)}:
        raise BenchmarkFailed(f"POST /exports was answered {loaded['statuses']}")
    return stage.wait_for_mails(len(sellers), TIMEOUT_S)


def plain_s(stage: Stage, sellers: range) -> float:
    """Return the seconds that a plain script takes for the same lists and mails."""
    first = stage.peer_spec(sellers[0])
    own = {
        "sql": first["sql"].replace(str(sellers[0]), "{seller_id}"),
        "smtp_host": "127.0.0.1",
        "smtp_port": stage.smtp_port,
    }
    warm_up = {**first, **own, "seller_ids": [sellers[0]]}
    spec = {**first, **own, "seller_ids": list(sellers), "warm_up": warm_up}
    done: dict[str, Any] = run_module("benchmarks.peers.plain_small", spec, PEERS_PYTHON)
    return float(done["seconds"])
