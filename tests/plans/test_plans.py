"""On a full database no statement reads a whole table or sorts more than a batch."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import app
from app.config import Settings
from app.database.statements import TOKEN
from devstack import settings as stack_settings
from devstack.postgres import PostgresServer
from tests.plans import filled, occasions
from tests.plans.recorder import EXPLAINABLE, Executed, recording
from tests.tokens import SECRET
from workers import maintenance

BATCH_MAX = 1000

ROWS_MAX = 2500
"""As many as are active, and more than any batch."""

MORE_ROWS = {
    "POST /exports": 20_001,  # the estimate counts so far
    "GET /exports?status=": 31_000,  # the seller's own, in an index
    "GET /exports?seller_id=7&status=": 10_000,  # all in one state, in an index
    "GET /stats": 20_000,  # the day's
    "GET /audience": 200_000,  # every member is counted, in the key
}

WHOLE_LISTS = ("GET /audience",)
"""Counts a seller's members, who here are most of the table."""

SORTS_MORE = ("GET /stats",)

NOWHERE = {
    "PUBLIC_URL": "http://exports.test",
    "REDIS_URL": "redis://127.0.0.1:1",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_BUCKET": "plans",
    "SMTP_URL": "smtp://127.0.0.1:1",
    "AUDIT_RETENTION_DAYS": "3650",
}

COMMAND_LINE = (
    "app.audience.distribution",
    "app.audience.drift",
    "app.cli.local_export",
    "app.database.rights",
    "app.doctor.vacuum.MAP_OF_SHARDS",
    "app.exports.delivery.resend.FAILED_MAILS",
    "app.exports.operator_queries",
    "app.exports.submission.retry",
    "app.feeds.totals",
    "app.webhooks.endpoints",
    "app.api.routers.demo",
)
"""Statements that are executed when an operator says so, or by the demo page only."""

CATALOG = ("app.feeds.columns.SELECT_COLUMNS",)
"""Reads the catalog's tables only."""

CLOCK = re.compile(r"([<>]=?|\bBETWEEN)\s*clock_timestamp\(\)|clock_timestamp\(\)\s*[<>]")


@pytest.fixture(scope="module")
def full_database(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The address of a database that is full of rows."""
    url = postgres.create_database("filled", template=migrated_template)
    filled.fill(postgres, "filled")
    yield url
    postgres.drop_database("filled")


@pytest.fixture(scope="module")
async def executed(full_database: str) -> list[Executed]:
    """Every statement of the service, executed there once or twice."""
    own = stack_settings.service_settings() | NOWHERE
    own |= {"DATABASE_URL": full_database, "AUTH_JWT_SECRET": SECRET, "ORPHAN_MIN_AGE_S": "0"}
    own |= {"NOTIFY_EMAIL": "dpo@example.com", "NOTIFY_ABOVE_ROWS": "0"}
    own |= {"AUDIENCE_DATABASE_URL": full_database}
    own |= {"MAX_ACTIVE_EXPORTS_PER_SELLER": "1000", "MAX_EXPORTS_PER_SELLER_PER_HOUR": "1000"}
    complete = stack_settings.with_defaults(own, {}).items()
    settings = Settings.model_validate({name.lower(): value for name, value in complete if value})
    with recording() as recorder:
        async with occasions.open_service(settings) as service:
            await occasions.everything(service)
    return recorder.executed


def of_full_tables(each: Executed) -> Iterator[dict[str, Any]]:
    """Yield the scans of tables that are full, and of their indexes."""
    for node in each.nodes():
        table = node.get("Relation Name") or node.get("Index Name", "")
        if "Scan" in node["Node Type"] and table.startswith(tuple(filled.FULL)):
            yield node


def rows_read(node: dict[str, Any]) -> float:
    """Return how many rows a node read, those that it left out included."""
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return float(sum(node.get(name, 0) for name in names) * node.get("Actual Loops", 1))


def test_no_statement_reads_a_whole_table(executed: list[Executed]) -> None:
    whole = [
        (each.occasion, node["Relation Name"], each.sql)
        for each in executed
        for node in of_full_tables(each)
        if node["Node Type"] == "Seq Scan" and not each.occasion.startswith(WHOLE_LISTS)
    ]
    assert whole == []


def test_no_statement_reads_many_more_rows_than_it_returns(executed: list[Executed]) -> None:
    many = [
        (each.occasion, node["Node Type"], rows_read(node), each.sql)
        for each in executed
        for node in of_full_tables(each)
        if rows_read(node) > rows_max(each.occasion)
    ]
    assert many == []


def rows_max(occasion: str) -> int:
    """Return how many rows of one table may be read on an occasion."""
    return next((n for name, n in MORE_ROWS.items() if occasion.startswith(name)), ROWS_MAX)


def test_no_statement_sorts_more_than_a_batch(executed: list[Executed]) -> None:
    sorts = [
        (each.occasion, rows_read(node["Plans"][0]), each.sql)
        for each in executed
        for node in each.nodes()
        if node["Node Type"] in ("Sort", "Incremental Sort")
        and rows_read(node["Plans"][0]) > BATCH_MAX
        and not each.occasion.startswith(SORTS_MORE)
    ]
    assert sorts == []


def test_every_statement_of_the_service_was_looked_at(executed: list[Executed]) -> None:
    texts = [" ".join(each.sql.split()) for each in executed]
    missing = [
        name
        for name, pattern in statements().items()
        if not any(pattern.search(text) for text in texts)
    ]
    assert missing == [], missing


def statements() -> dict[str, re.Pattern[str]]:
    """Return every SQL constant of the service by its name, and what it looks like executed."""
    found = {}
    for each in pkgutil.walk_packages(app.__path__, "app."):
        module = importlib.import_module(each.name)
        for constant, value in vars(module).items():
            name = f"{module.__name__}.{constant}"
            is_statement = isinstance(value, str) and EXPLAINABLE.match(value)
            if is_statement and not name.startswith((*COMMAND_LINE, *CATALOG)):
                found[name] = pattern_of(value)
    return found


def pattern_of(sql: str) -> re.Pattern[str]:
    """Return what finds a constant in what is executed: filled in, with numbered parameters."""
    text = re.escape(
        TOKEN.sub(lambda token: "%" if token["name"] else token[0], " ".join(sql.split()))
    )
    return re.compile(re.sub(r"%|\\\$\d+|\\\{\w*\\\}", r".+?", text))


def test_every_periodic_task_was_looked_at(executed: list[Executed]) -> None:
    done = {each.occasion for each in executed}
    names = re.findall(r'PeriodicTask\(\s*"([a-z ]+)"', Path(maintenance.__file__).read_text())
    assert names
    assert set(names) <= done


def test_no_condition_asks_the_clock() -> None:
    (folder,) = app.__path__
    asking = [
        f"{path}: {match[0]}"
        for path in Path(folder).rglob("*.py")
        for match in CLOCK.finditer(path.read_text())
    ]
    assert asking == [], "clock_timestamp() is no index condition: take statement_timestamp()"
