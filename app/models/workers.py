"""What the fleet of workers shares."""

from sqlalchemy import Column, Table, Text

from app.models.base import metadata, timestamp_column

periodic_tasks = Table(
    "periodic_tasks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("worker", Text),
    timestamp_column("started_at"),
    timestamp_column("finished_at"),
    timestamp_column("due_at", default=True),
)
"""The periodic tasks that one worker of the fleet does at a time.

- ``worker``: the worker that claimed the task last, at ``started_at``.
- ``finished_at``: when it last succeeded.
- ``due_at``: from when any worker may claim it; during a run, the end of the worker's lease.
"""

queue_starts = Table(
    "queue_starts",
    metadata,
    Column("queue", Text, primary_key=True),
    timestamp_column("starts_at"),
)
"""Where claims begin to look in the index of each queue: a lane, or ``mails``.

- ``starts_at``: no entry is ordered before this instant; null means that any may be.
"""
