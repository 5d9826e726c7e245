"""The large export into the embedded store (moto), whose own work is then included."""

from collections.abc import Mapping
from functools import partial

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.result import ScenarioResult
from benchmarks.scenarios.contenders import (
    PSQL,
    Contender,
    compare,
    copy_with_psql,
    export_with_service,
)


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Compare the service on moto with psql."""
    contenders: Mapping[str, Contender] = {
        PSQL: copy_with_psql,
        "this service, into moto": partial(export_with_service, settings=environment.start_moto()),
    }
    return ScenarioResult(
        comparisons=(compare("Embedded store", environment, options, options.rows, contenders),)
    )
