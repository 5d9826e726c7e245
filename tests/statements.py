"""The statements that the service executes, for tests that compare or count them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.database.database import DatabaseConnection


@contextmanager
def recorded_statements() -> Iterator[list[str]]:
    """Collect the text of each statement that this process executes meanwhile."""
    executed: list[str] = []
    fetch = DatabaseConnection.fetch

    async def recorded_fetch(connection: DatabaseConnection, sql: str, /, **values: Any) -> Any:
        executed.append(sql)
        return await fetch(connection, sql, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseConnection, "fetch", recorded_fetch)
        yield executed
