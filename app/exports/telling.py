"""Telling the world about an export, when Redis listens."""

import structlog

from app.errors import QueueUnavailable
from app.exports.journal import names
from app.models import Export
from app.ports import ExportNews, ExportQueue

log = structlog.get_logger()


async def ring(queue: ExportQueue, export: Export) -> None:
    """Ask a worker to look at a queued export, after its row is committed.

    With Redis away nothing is lost: the sweep rings when it returns.
    """
    try:
        await queue.ring(export.seller_id, export.id, export.attempt, export.lane)
    except QueueUnavailable as error:
        log.warning("bell not heard", **names(export), error=error.code)


async def tell(news: ExportNews, export: Export) -> None:
    """Tell whoever watches an export that its row has changed.

    With Redis away they find out by reading it now and then.
    """
    try:
        await news.publish(export.id)
    except QueueUnavailable as error:
        log.debug("news not told", **names(export), error=error.code)
