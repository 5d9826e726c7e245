"""Responses about an export: its JSON, its ``ETag``, its ``Retry-After``."""

import json
from hashlib import sha256
from typing import Any

from fastapi.responses import Response

from app.api.download_urls import PRIVATE, download_url
from app.api.schemas.exports import ExportState
from app.exports.audit import AuditContext
from app.models import Export
from app.resources import Resources

POLL_AFTER_S = 1
"""``Retry-After`` of an active export."""


async def export_response(
    resources: Resources,
    export: Export,
    audit_context: AuditContext,
    status: int,
    if_none_match: str | None = None,
) -> Response:
    """Return an export, or 304 where ``if_none_match`` has its ``ETag``.

    The tag is weak and leaves ``download_url`` out, which differs in each response.
    """
    state = ExportState.of(export).model_dump_json()
    tag = f'W/"{sha256(state.encode()).hexdigest()[:32]}"'
    headers = {**PRIVATE, "ETag": tag}
    if export.is_active:
        headers["Retry-After"] = str(POLL_AFTER_S)
    # Before download_url(): without PUBLIC_URL each URL adds an entry to the audit.
    if if_none_match is not None and _matches(tag, if_none_match):
        return Response(status_code=304, headers=headers)
    url = await download_url(resources, export, audit_context)
    # Written once, for the tag and for the body: services poll this.
    body = f'{state.removesuffix("}")},"download_url":{json.dumps(url)}}}'
    return Response(body, status, headers, media_type="application/json")


async def export_json(
    resources: Resources, export: Export, audit_context: AuditContext
) -> dict[str, Any]:
    """Return an export as JSON, with a ``download_url`` where it has a file."""
    url = await download_url(resources, export, audit_context)
    return ExportState.of(export).model_dump(mode="json") | {"download_url": url}


def _matches(tag: str, if_none_match: str) -> bool:
    """Compare weakly (RFC 9110, section 13.1.2)."""
    tags = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags
