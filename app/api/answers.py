"""Answers about an export: its document, its tag, when to ask again."""

from hashlib import sha256
from typing import Any

from fastapi.responses import JSONResponse, Response

from app.api.downloads import PRIVATE, download_url
from app.api.schemas import ExportState
from app.models import Export
from app.resources import Resources

POLL_AFTER_S = 1
"""When to look again at an export that is under way."""


async def export_answer(
    opened: Resources, export: Export, status: int, if_none_match: str | None = None
) -> Response:
    """Return an export's document, or 304 where the caller knows it already.

    The tag is weak and leaves the download's address out: that is new each time.
    """
    state = ExportState.of(export)
    tag = f'W/"{sha256(state.model_dump_json().encode()).hexdigest()[:32]}"'
    headers = {**PRIVATE, "ETag": tag}
    if export.is_active:
        headers["Retry-After"] = str(POLL_AFTER_S)
    if if_none_match is not None and _matches(tag, if_none_match):
        return Response(status_code=304, headers=headers)
    return JSONResponse(await _document(opened, export, state), status, headers)


async def export_document(opened: Resources, export: Export) -> dict[str, Any]:
    """Return an export's document, with an address for its file where it has one."""
    return await _document(opened, export, ExportState.of(export))


async def _document(opened: Resources, export: Export, state: ExportState) -> dict[str, Any]:
    return state.model_dump(mode="json") | {"download_url": await download_url(opened, export)}


def _matches(tag: str, if_none_match: str) -> bool:
    """Compare weakly (RFC 9110, section 13.1.2)."""
    named = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in named or tag.removeprefix("W/") in named
