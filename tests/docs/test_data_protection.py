"""docs/data-protection.md names every table, its personal columns, and how long rows are kept."""

import re

import pytest
from sqlalchemy import LargeBinary, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from app.audience.drift import _RECORD
from app.audience.sources import SOURCES
from app.audience.tables import audience_members
from app.config import Settings
from app.exports.audit import REDACT_CLIENT_DETAILS
from app.exports.cleanup.expiry import DELETE_OLD_KEYS, DELETE_OLD_NOTICES
from app.feeds.events import DELETE_OLD_TOMBSTONES
from app.models import metadata
from app.statistics.rollup import OLD_EXPORTS
from app.webhooks.deliveries import DELETE_OLD_DELIVERIES
from devstack.service_processes import ROOT

PAGE = (ROOT / "docs" / "data-protection.md").read_text()
SECTION = PAGE.split("\n## In PostgreSQL\n")[1].split("\n## ")[0]
ROWS = [line.split("|")[1:-1] for line in SECTION.splitlines() if line.startswith("| `")]
NAME = re.compile(r"`(\w+)`")

RETENTION = {
    "exports": OLD_EXPORTS,
    "idempotency_keys": DELETE_OLD_KEYS,
    "list_notices": DELETE_OLD_NOTICES,
    "webhook_deliveries": DELETE_OLD_DELIVERIES,
    "source_keys": DELETE_OLD_TOMBSTONES,
    "export_audit": REDACT_CLIENT_DETAILS,
    "projection_verifications": _RECORD,
}
"""The statement that deletes or redacts old rows, by table."""

TEXTS = (String, LargeBinary, JSONB)
"""Types that can hold what a person wrote or is called."""


def row_of(table: str) -> list[str]:
    """Return the cells of a table's only row: tables, personal and other columns, kept."""
    [row] = [row for row in ROWS if table in NAME.findall(row[0])]
    return row


def test_every_table_and_no_other_is_named() -> None:
    named = [name for row in ROWS for name in NAME.findall(row[0])]
    assert sorted(named) == sorted([*metadata.tables, *(source.table for source in SOURCES)])


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_every_column_of_text_is_said_to_be_personal_or_not(table: Table) -> None:
    tables, personal, others, _ = row_of(table.name)
    named = [*NAME.findall(personal), *NAME.findall(others)]
    columns = {column.name for name in NAME.findall(tables) for column in metadata.tables[name].c}
    texts = {column.name for column in table.c if isinstance(column.type, TEXTS)}
    assert len(named) == len(set(named))
    assert texts <= set(named) <= columns


def test_a_members_dates_are_personal() -> None:
    dates = [source.since for source in SOURCES]
    assert NAME.findall(row_of(audience_members.name)[1]) == ["email", *dates]


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_a_table_without_a_seller_is_marked(table: Table) -> None:
    assert ("seller_id" in table.c) is not ("*no person*" in row_of(table.name)[0])


@pytest.mark.parametrize("table", RETENTION)
def test_rows_are_kept_as_long_as_the_code_says(table: str) -> None:
    [kept] = set(re.findall(r"interval '(\d+ \w+)'", RETENTION[table]))
    assert kept in row_of(table)[3]


def test_the_settings_of_retention_are_named_with_their_defaults() -> None:
    days = Settings.model_fields["link_lifetime_s"].default // 86_400
    assert f"`LINK_LIFETIME_S`, {days} days by default" in PAGE
    assert Settings.model_fields["audit_retention_days"].default is None
    assert "`AUDIT_RETENTION_DAYS`, default for good" in PAGE
    assert Settings.model_fields["cleanup_interval_s"].default == 3600
    assert "`CLEANUP_INTERVAL_S`, by default once an hour" in PAGE
