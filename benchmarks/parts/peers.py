"""The same export as a team would write it instead."""

from benchmarks.contenders import SERVICE, STREAM, all_contenders, contest
from benchmarks.figures import Figure, ratios
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import TIMES_FASTER
from benchmarks.stage import Stage


def run(stage: Stage, options: Options) -> Outcome:
    """Let everyone export the same list in turn."""
    held = contest("Peers", stage, options, options.peer_rows, all_contenders())
    if STREAM not in {entry.name for entry in held.entries}:
        return Outcome(contests=(held,))
    streamed, ours = (held.entry(name).samples("seconds") for name in (STREAM, SERVICE))
    name = f"{held.rows:,} rows, times faster than {STREAM}"
    return Outcome((Figure(name, ratios(streamed, ours), goal=TIMES_FASTER),), (held,))
