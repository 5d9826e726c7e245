"""What the service asks PostgreSQL, and how PostgreSQL does it: recorded while it happens."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from asyncpg.prepared_stmt import PreparedStatement

EXPLAINABLE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")

TIMES = 2
"""A statement that is repeated is explained so often."""

doing: ContextVar[str] = ContextVar("doing", default="")
"""What the service is doing, for messages."""


@dataclass(frozen=True)
class Executed:
    """A statement that was executed: on what occasion, and its plan with the rows of each node."""

    occasion: str
    sql: str
    plan: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield every node of the plan."""
        return _below(self.plan)


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", []):
        yield from _below(each)


@dataclass
class Recorder:
    """Explains each statement on its own connection just before it is executed there."""

    executed: list[Executed] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def explain(self, connection: Any, sql: str, values: Any) -> None:
        """Execute a statement to see its plan, and undo it."""
        occasion = doing.get()
        self.counts[occasion, sql] += 1
        if not EXPLAINABLE.match(sql) or self.counts[occasion, sql] > TIMES:
            return
        is_inside = connection.is_in_transaction()
        await connection.execute("SAVEPOINT explained" if is_inside else "BEGIN")
        try:
            plan = await self._plan(connection, sql, values, "ANALYZE, TIMING OFF, BUFFERS")
        except asyncpg.PostgresError:
            plan = None
        undo = "ROLLBACK TO explained; RELEASE explained" if is_inside else "ROLLBACK"
        await connection.execute(undo)
        if plan is None:  # it must not be undone, such as pg_export_snapshot()
            plan = await self._plan(connection, sql, values, "COSTS")
        self.executed.append(Executed(occasion, sql, plan))

    async def _plan(self, connection: Any, sql: str, values: Any, options: str) -> Any:
        (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON, {options}) {sql}", *values)
        plans = row[0] if isinstance(row[0], list) else json.loads(row[0])  # SQLAlchemy decodes
        return plans[0]["Plan"]


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record every statement with bound values that this process executes."""
    recorder = Recorder()
    fetch, execute = PreparedStatement.fetch, asyncpg.Connection._execute

    async def explained_fetch(statement: Any, *values: Any, **options: Any) -> Any:
        await recorder.explain(statement._connection, statement.get_query(), values)
        return await fetch(statement, *values, **options)

    async def explained_execute(
        connection: Any, sql: str, values: Any, *rest: Any, **options: Any
    ) -> Any:
        await recorder.explain(connection, sql, values)
        return await execute(connection, sql, values, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedStatement, "fetch", explained_fetch)
        patch.setattr(asyncpg.Connection, "_execute", explained_execute)
        yield recorder
