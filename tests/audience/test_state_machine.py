"""After any sequence of writes, the members are those that the source rows give."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from app.audience.drift import verify
from app.database.connections import Connection, connect
from app.database.database import DatabaseConnection
from tests.audience.storefront import DAY, Storefront
from tests.oracle import LONG_AGO, UNKNOWN, members

Result = TypeVar("Result")

instants = st.none() | st.just(DAY)
flags = st.booleans()

EVERY_SOURCE = {
    "seller_id": st.sampled_from([1, 2]),
    "email": st.sampled_from(
        [
            "a@x.co",
            " A@X.co\n",
            "b@x.co",
            "josé@x.co",
            "JOSÉ@x.co",
            '"q q"@x.co',
            "no address",
            None,
        ]
    ),
    "created_at": st.integers(0, 3).map(lambda hours: DAY + timedelta(hours=hours))
    | st.sampled_from([UNKNOWN, LONG_AGO]),
}
COLUMNS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "followers": EVERY_SOURCE | {"confirmed_at": instants, "deleted_at": instants},
    "purchases": EVERY_SOURCE
    | {
        "state": st.sampled_from(["successful", "not_charged", "failed"]),
        "can_contact": st.sampled_from([True, True, False, None]),
        "refunded": st.sampled_from([None, False, True]),
        "chargeback_at": instants,
        "chargeback_reversed": flags,
        "is_gift_sender": st.sampled_from([False, False, True]),
        "subscription_id": st.sampled_from([None, 5]),
        "is_original_subscription": flags,
        "is_archived_original": flags,
        "subscription_deactivated_at": instants,
        "subscription_is_test": flags,
    },
    "affiliates": EVERY_SOURCE
    | {
        "deleted_at": instants,
        "kind": st.sampled_from(["direct", "direct", "global"]),
        "send_posts": flags,
        "product_count": st.integers(0, 2),
    },
}
tables = st.sampled_from(sorted(COLUMNS))
whole_rows = tables.flatmap(
    lambda table: st.tuples(
        st.just(table), st.lists(st.fixed_dictionaries(COLUMNS[table]), min_size=1, max_size=5)
    )
)
changes = tables.flatmap(
    lambda table: st.tuples(
        st.just(table), st.fixed_dictionaries({}, optional=COLUMNS[table]).filter(bool)
    )
)
choices = st.sets(st.integers(0, 12), min_size=1, max_size=6)
"""Which of a table's rows, counted round."""


class Writers(RuleBasedStateMachine):
    """Writes to all source tables, and to a model of them made of dictionaries."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.connection: Connection = self.run(connect(self.url))
        self.storefront = Storefront(self.connection)
        self.rows: dict[str, dict[int, dict[str, Any]]] = {table: {} for table in COLUMNS}

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for ``work``."""
        return self.runner.run(work)

    def execute(self, statement: str, *arguments: Any) -> None:
        """Run one statement."""
        self.run(self.connection.execute(statement, *arguments))

    def teardown(self) -> None:
        """Hang up."""
        self.run(self.connection.close())
        self.runner.close()

    def chosen(self, table: str, choice: set[int]) -> list[int]:
        """Return the ids of some of the table's rows."""
        ids = sorted(self.rows[table])
        return sorted({ids[number % len(ids)] for number in choice}) if ids else []

    @initialize()
    def begin_empty(self) -> None:
        """Start without rows."""
        self.execute("TRUNCATE followers, purchases, affiliates")

    @rule(new=whole_rows)
    def insert_one_by_one(self, new: tuple[str, list[dict[str, Any]]]) -> None:
        """Insert rows, each by its own statement."""
        table, rows = new
        for row in rows:
            self.rows[table][self.run(self.storefront.insert(table, **row))] = row

    @rule(new=whole_rows)
    def insert_together(self, new: tuple[str, list[dict[str, Any]]]) -> None:
        """Insert rows by one COPY."""
        table, rows = new
        first = max(self.rows[table], default=0) + 1_000_000
        self.run(self.copy(table, dict(enumerate(rows, first))))

    async def copy(self, table: str, rows: Mapping[int, dict[str, Any]]) -> None:
        """Copy rows into the table."""
        await self.connection.copy_records_to_table(
            table,
            columns=["id", *COLUMNS[table]],
            records=[
                (row_id, *(row[name] for name in COLUMNS[table])) for row_id, row in rows.items()
            ],
        )
        self.rows[table] |= rows

    @rule(change=changes, choice=choices)
    def update(self, change: tuple[str, dict[str, Any]], choice: set[int]) -> None:
        """Set the same columns of some rows by one statement."""
        table, columns = change
        ids = self.chosen(table, choice)
        assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 2))
        self.execute(
            f"UPDATE {table} SET {assignments} WHERE id = ANY ($1)", ids, *columns.values()
        )
        for row_id in ids:
            self.rows[table][row_id] |= columns

    @rule(table=tables, choice=choices, by=st.integers(1, 5))
    def rotate_addresses(self, table: str, choice: set[int], by: int) -> None:
        """Give each of some rows the address of another, by one statement."""
        ids = self.chosen(table, choice)
        emails = [self.rows[table][row_id]["email"] for row_id in ids]
        emails = emails[by % len(ids) :] + emails[: by % len(ids)] if ids else []
        self.execute(
            f"""
            UPDATE {table} AS source
            SET email = given.email
            FROM unnest($1::bigint[], $2::text[]) AS given (id, email)
            WHERE source.id = given.id
            """,
            ids,
            emails,
        )
        for row_id, email in zip(ids, emails, strict=True):
            self.rows[table][row_id]["email"] = email

    @rule(table=tables, choice=choices)
    def delete(self, table: str, choice: set[int]) -> None:
        """Delete some rows by one statement."""
        ids = self.chosen(table, choice)
        self.execute(f"DELETE FROM {table} WHERE id = ANY ($1)", ids)
        for row_id in ids:
            del self.rows[table][row_id]

    @rule(table=tables)
    def truncate(self, table: str) -> None:
        """Empty a table."""
        self.execute(f"TRUNCATE {table}")
        self.rows[table] = {}

    @invariant()
    def the_members_are_those_the_rows_make(self) -> None:
        """Compare with the oracle, and with what a rebuild computes."""
        rows = {table: list(by_id.values()) for table, by_id in self.rows.items()}
        assert self.run(self.storefront.members()) == members(rows)
        assert not self.run(verify(DatabaseConnection(self.connection)))


def test_members_are_right_after_every_step(database_url: str) -> None:
    run_state_machine_as_test(
        type("WritersHere", (Writers,), {"url": database_url}),
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
