"""The large export: how close to psql's own COPY, with the file in the store at the end."""

from benchmarks.contenders import ONE_STREAM, PSQL, QUICK, SERVICE, contest
from benchmarks.figures import Bound, Contest, Figure
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import OVER_PSQL, OVER_PSQL_ALONE
from benchmarks.stage import Stage

OVER_PSQL_MAX = Bound(1.25)


def run(stage: Stage, options: Options) -> Outcome:
    """Measure claim to success over psql, for the service as it comes and with one stream."""
    held = contest("Large export", stage, options, options.rows, QUICK)
    return Outcome(figures(held), (held,))


def figures(held: Contest) -> tuple[Figure, ...]:
    """Return what a contest with psql and the service tells."""
    rows = f"{held.rows:,} rows"
    return (
        Figure(f"{rows}, claim to success", held.entry(SERVICE).samples("seconds"), "s"),
        Figure(f"{rows}, psql COPY", held.entry(PSQL).samples("seconds"), "s"),
        Figure(f"{rows}, over psql", held.ratios(SERVICE), target=OVER_PSQL_MAX, goal=OVER_PSQL),
        Figure(f"{rows}, one stream, over psql", held.ratios(ONE_STREAM), goal=OVER_PSQL_ALONE),
    )
