"""A list on three nodes of Citus: read through the coordinator, and on the node that has it."""

import asyncio

from app.audience.distribution import distribute
from app.audience.merge import Merge, merge_sql
from app.audience.sources import SOURCES
from app.database.database import open_connection
from benchmarks.datasets.audience import load
from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import run_psql
from benchmarks.reporting.figures import Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from devstack.citus import CitusCluster
from devstack.migrate import migrate

SELLER = 1
DATABASE = "bench"

# The port of the node with the seller's shard, and the number of the shard.
PLACE = f"""
    SELECT nodeport, shardid FROM pg_dist_shard_placement
    WHERE shardid = get_shard_id_for_distribution_column('audience_members', {SELLER})
"""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Compare psql's COPY of the query of an export, in turn: coordinator, node, shard by name."""
    cluster = CitusCluster(environment.sandbox)
    cluster.start()
    url = cluster.create_database(DATABASE)
    migrate({"DATABASE_URL": url})
    asyncio.run(fill(url, options.rows))
    port, shard = map(int, cluster.coordinator.execute(PLACE, DATABASE).split("|"))
    (node,) = (server for server in cluster.servers if server.port == port)
    sql = " ".join(merge_sql(Merge(SELLER, tuple(source.key for source in SOURCES))).split())
    of_shard = sql.replace("audience_members", f"audience_members_{shard}")
    readings = {
        "through the coordinator": (url, sql),
        "on the node that has it": (node.url(DATABASE), sql),
        "from its shard by name": (node.url(DATABASE), of_shard),
    }
    seconds: dict[str, list[float]] = {name: [] for name in readings}
    for _ in range(options.runs):
        for name, (address, query) in readings.items():
            copy = rf"COPY ({query}) TO STDOUT (FORMAT csv) \g /dev/null"
            seconds[name].append(run_psql(environment.psql, address, [copy]).seconds)
    return ScenarioResult(figures(f"{options.rows:,} rows on Citus", seconds))


async def fill(url: str, rows: int) -> None:
    """Distribute the audience, and load one seller's members."""
    async with open_connection(url, command_timeout_s=60) as connection:
        await distribute(connection)
    await load(url, SELLER, rows)


def figures(name: str, seconds: dict[str, list[float]]) -> tuple[Figure, ...]:
    """Return the seconds of each reading, and of the coordinator's over each other, by round."""
    measured = [Figure(f"{name}, {how}", tuple(found), "s") for how, found in seconds.items()]
    through = "through the coordinator"
    over = [
        Figure(f"{name}, {through} over {how}", ratios(seconds[through], found))
        for how, found in seconds.items()
        if how != through
    ]
    return (*measured, *over)
