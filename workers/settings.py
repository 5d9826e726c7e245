"""How arq runs: with its safety nets switched off where ours are better."""

from arq.worker import Worker, func

from app.adapters.queue import JOB_NAME, QUEUE_NAME, arq_redis, deserialize, serialize
from app.config import Settings
from workers.floor import Floor
from workers.jobs import run_export

POLL_DELAY_S = 0.05
"""arq's own 0.5 s would be most of a small export's time."""

HEALTH_CHECK_S = 10


def create_worker(settings: Settings, floor: Floor) -> Worker:
    """Return an arq worker that fills the floor.

    Jobs are never retried or timed out by arq before our own limits, and no
    result is kept: a kept one would block the next ring for the same attempt.
    """
    job = func(run_export, name=JOB_NAME, max_tries=1_000_000)
    return Worker(
        functions=[job],
        queue_name=QUEUE_NAME,
        redis_pool=arq_redis(settings),
        ctx={"floor": floor},
        max_jobs=settings.worker_concurrency,
        job_timeout=settings.export_timeout_s + settings.record_timeout_s,
        keep_result=0,
        poll_delay=POLL_DELAY_S,
        health_check_interval=HEALTH_CHECK_S,
        handle_signals=False,
        log_results=False,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
