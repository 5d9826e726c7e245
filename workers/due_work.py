"""Due work: one statement in each poll finds for a worker which of its tasks have something to do.

A hundred idle workers ask often, and as a rule there is nothing. What is found is only a hint: the
task itself claims, and finds nothing where another worker was quicker.
"""

import asyncio
from collections.abc import Callable, Sequence

import asyncpg

from app.database.database import Database
from app.exports.delivery.outbox import MAIL_IS_DUE
from app.exports.queue.leases import WAITING_LANES
from app.ports import Lane
from app.webhooks.deliveries import DELIVERY_IS_DUE

WAITING_EXPORTS = "run waiting exports"
DUE_MAILS = "send due mails"
DUE_WEBHOOKS = "deliver webhooks"
FLEET_TASKS = "fleet tasks"

# A fleet task that has no row yet is due.
QUESTIONS = {
    WAITING_EXPORTS: f"""
    SELECT '{WAITING_EXPORTS}' AS name
    WHERE EXISTS ({WAITING_LANES})
    """,
    DUE_MAILS: f"""
    SELECT '{DUE_MAILS}' AS name
    WHERE EXISTS (
        SELECT
        FROM exports
        WHERE {MAIL_IS_DUE}
        ORDER BY email_due_at
        LIMIT 1
    )
    """,
    DUE_WEBHOOKS: f"""
    SELECT '{DUE_WEBHOOKS}' AS name
    WHERE EXISTS (
        SELECT
        FROM webhook_endpoints
        CROSS JOIN LATERAL (
            SELECT
            FROM webhook_deliveries
            WHERE {DELIVERY_IS_DUE}
            ORDER BY due_at
            LIMIT 1
        ) AS due
        WHERE disabled_at IS NULL
    )
    """,
    FLEET_TASKS: """
    SELECT wanted.name
    FROM unnest(CAST(:fleet_tasks AS text[])) AS wanted (name)
    WHERE NOT EXISTS (
        SELECT
        FROM periodic_tasks
        WHERE periodic_tasks.name = wanted.name AND due_at > statement_timestamp()
    )
    """,
}

DUE_TASKS = " UNION ALL ".join(QUESTIONS.values())


class DueWork:
    """Sets the events of one worker's tasks that have something to do.

    Args:
        lanes: returns the lanes in which an export could begin now.
    """

    def __init__(self, database: Database, lanes: Callable[[], Sequence[Lane]]) -> None:
        self._database = database
        self._lanes = lanes
        self._events = {
            name: asyncio.Event() for name in (WAITING_EXPORTS, DUE_MAILS, DUE_WEBHOOKS)
        }
        self._fleet_tasks: list[str] = []

    def event(self, name: str) -> asyncio.Event:
        """Return the event that is set when a task of this worker is due."""
        return self._events[name]

    def fleet_event(self, name: str) -> asyncio.Event:
        """Return the event that is set when a fleet task is due; polls ask for it from now on."""
        self._fleet_tasks.append(name)
        return self._events.setdefault(name, asyncio.Event())

    async def poll(self) -> None:
        """Set the events of the tasks that are due.

        Raises:
            DatabaseUnavailable: try again.
            PostgresError: it refuses all that is asked.
        """
        try:
            await self._ask(DUE_TASKS)
        # An outage is DatabaseUnavailable and passes: only a refusal is worth four statements.
        except asyncpg.PostgresError:
            await self._ask_each()

    async def _ask_each(self) -> None:
        """Ask one by one, so that a missing right to one table holds up no other task.

        What is refused counts as due: its task reports the error, and is retried less and less.
        """
        errors = []
        for name, question in QUESTIONS.items():
            try:
                await self._ask(question)
            except asyncpg.PostgresError as error:
                errors.append(error)
                for task in self._fleet_tasks if name == FLEET_TASKS else [name]:
                    self._events[task].set()
        if len(errors) == len(QUESTIONS):
            raise errors[0]

    async def _ask(self, question: str) -> None:
        due = await self._database.fetch(
            question, lanes=list(self._lanes()), fleet_tasks=self._fleet_tasks
        )
        for row in due:
            self._events[row["name"]].set()
