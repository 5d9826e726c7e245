"""The large export into the embedded store, which keeps what it gets: the store included."""

from collections.abc import Mapping
from functools import partial

from benchmarks.contenders import PSQL, Contender, contest, copy_with_psql, export_with_service
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.stage import Stage


def run(stage: Stage, options: Options) -> Outcome:
    """Measure the service with moto beside psql."""
    contenders: Mapping[str, Contender] = {
        PSQL: copy_with_psql,
        "this service, into moto": partial(export_with_service, settings=stage.start_moto()),
    }
    return Outcome(contests=(contest("Embedded store", stage, options, options.rows, contenders),))
