"""The cost of a file's options: the same list plain, of a period, in a time zone, as a workbook."""

from collections.abc import Mapping

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import BenchmarkFailed
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult

PLAIN: Mapping[str, str] = {}

VARIANTS: Mapping[str, tuple[Mapping[str, str], Bound]] = {
    "joined_after": ({"joined_after": "1970-01-01"}, Bound(1.10)),
    "joined_after and joined_before": (
        {"joined_after": "1970-01-01", "joined_before": "2100-01-01"},
        Bound(1.10),
    ),
    "timezone": ({"timezone": "Europe/Berlin"}, Bound(1.5)),
    "xlsx": ({"format": "xlsx"}, Bound(3.0)),
}
"""The options by their name, which leave out no row, and the most they may cost over none."""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Alternate exports with and without options in one worker; the first round is a warm-up."""
    seller_id = environment.seller(options.rows)
    environment.restart_worker()
    requests = {"none": PLAIN} | {name: sent for name, (sent, _) in VARIANTS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in requests}
    for number in range(options.runs + 1):
        for name in reversed(requests) if number % 2 else requests:
            seconds[name].append(processing_s(environment, seller_id, options.rows, requests[name]))
    measured = {name: tuple(samples[1:]) for name, samples in seconds.items()}
    rows = f"{options.rows:,} rows"
    return ScenarioResult(
        (
            Figure(f"{rows}, no options, claim to success", measured["none"], "s"),
            *(
                Figure(
                    f"{rows}, {name}, over none", ratios(measured[name], measured["none"]), "", most
                )
                for name, (_, most) in VARIANTS.items()
            ),
        )
    )


def processing_s(
    environment: Environment, seller_id: int, rows: int, sent: Mapping[str, str]
) -> float:
    """Export once and return the seconds from claim to success."""
    export = environment.requests.run_export(seller_id, **sent)
    if export.rows != rows:
        raise BenchmarkFailed(f"{export.rows} rows were exported, not {rows}")
    return export.processing_s
