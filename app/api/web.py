"""The export dialog for storefronts: one JavaScript module, and its types."""

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.api.routes import PublicRoute

FOLDER = Path(__file__).parent.parent / "web"

MEDIA_TYPES = {
    ".js": "text/javascript",
    ".ts": "text/plain",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}

BRIEFLY = "public, max-age=300"
FOR_EVER = "public, max-age=31536000, immutable"

PUBLIC = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Any page may load the module; what it then asks for needs a token and CORS_ORIGINS."""

router = APIRouter(route_class=PublicRoute, include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """A file of the folder ``web``; ``version`` names its content."""

    body: bytes
    compressed: bytes
    version: str
    media_type: str


@cache
def asset(name: str) -> Asset:
    """Return a file of the folder ``web``, read once."""
    path = FOLDER / name
    body = path.read_bytes()
    return Asset(
        body=body,
        compressed=gzip.compress(body, mtime=0),
        version=sha256(body).hexdigest()[:16],
        media_type=MEDIA_TYPES[path.suffix],
    )


def file_answer(
    request: Request, name: str, cache_control: str, headers: dict[str, str]
) -> Response:
    """Return a file, compressed where the browser can, or 304 where it has it already."""
    file = asset(name)
    headers = headers | {
        "Cache-Control": cache_control,
        "ETag": f'W/"{file.version}"',
        "Vary": "Accept-Encoding",
    }
    if file.version in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, headers=headers, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)


@router.get("/widget.js")
async def get_widget(request: Request) -> Response:
    """Return the module; ``Content-Location`` is the name under which it never changes."""
    versioned = f"/widget-{asset('widget.js').version}.js"
    return file_answer(request, "widget.js", BRIEFLY, PUBLIC | {"Content-Location": versioned})


@router.get("/widget-{version}.js")
async def get_versioned_widget(request: Request, version: str) -> Response:
    """Return the module of this version, or lead to the one there is: pages outlive versions."""
    if version != asset("widget.js").version:
        return RedirectResponse("/widget.js", 302, PUBLIC | {"Cache-Control": "no-store"})
    return file_answer(request, "widget.js", FOR_EVER, PUBLIC)


@router.get("/widget.d.ts")
async def get_types(request: Request) -> Response:
    """Return the module's TypeScript declarations."""
    return file_answer(request, "widget.d.ts", BRIEFLY, PUBLIC)
