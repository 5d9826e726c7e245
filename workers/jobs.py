"""What arq calls: thin, and harmless when repeated, late or for nothing."""

from typing import Any
from uuid import UUID

from workers.floor import Floor


async def run_export(ctx: dict[Any, Any], seller_id: int, export_id: str) -> None:
    """Look at the lane that an export waits in and run what is next there."""
    floor: Floor = ctx["floor"]
    await floor.run(ctx["lane"], seller_id, UUID(export_id))
