"""How arq runs: with its safety nets switched off where ours are better."""

from arq.worker import func

from app.adapters.queue import JOB_NAME, arq_redis, deserialize, queue_name, serialize
from app.config import Settings
from app.exports.lanes import lane_places
from app.ports import Lane
from workers.floor import Floor
from workers.jobs import run_export
from workers.prompt import PromptWorker

POLL_DELAY_S = 0.5
"""How often a queue is looked at where no bell is heard."""

HEALTH_CHECK_S = 10


def create_worker(settings: Settings, floor: Floor, lane: Lane) -> PromptWorker:
    """Return an arq worker that fills the places of one lane of the floor.

    It takes no more bells than it has places for: others may have some free.

    Jobs are never retried or timed out by arq before our own limits, and no
    result is kept: a kept one would block the next ring for the same attempt.
    """
    job = func(run_export, name=JOB_NAME, max_tries=1_000_000)
    return PromptWorker(
        functions=[job],
        queue_name=queue_name(lane),
        redis_pool=arq_redis(settings),
        ctx={"floor": floor, "lane": lane},
        max_jobs=lane_places(settings)[lane],
        job_timeout=settings.export_timeout_s + settings.record_timeout_s,
        keep_result=0,
        poll_delay=POLL_DELAY_S,
        health_check_interval=HEALTH_CHECK_S,
        handle_signals=False,
        log_results=False,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )
