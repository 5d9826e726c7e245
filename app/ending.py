"""Tasks that must end, whatever they lose."""

import asyncio

AGAIN_S = 0.5


async def end(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks until all have ended; what they raise stays with them.

    Once is not always enough: before Python 3.12 ``asyncio.wait_for``, with
    which redis-py sends and aiosmtplib reads, loses a cancel that comes in the
    same moment as the answer (python/cpython issue 86296).
    """
    while late := [task for task in tasks if not task.done()]:
        for task in late:
            task.cancel()
        await asyncio.wait(late, timeout=AGAIN_S)
