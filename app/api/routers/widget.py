"""``/widget.js``: the export dialog as JavaScript modules, and its TypeScript types."""

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from app.api.dependencies import external_path
from app.api.route_classes import LimitedBodyRoute

FOLDER = Path(__file__).parent.parent.parent / "web"

MODULES = frozenset(
    path.relative_to(FOLDER / "widget").as_posix() for path in (FOLDER / "widget").rglob("*.js")
)
"""The modules that ``widget.js`` imports, as paths below the folder ``app/web/widget``."""

MEDIA_TYPES = {
    ".js": "text/javascript",
    ".ts": "text/plain",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}

CACHE_FIVE_MINUTES = "public, max-age=300"
CACHE_FOREVER = "public, max-age=31536000, immutable"

PUBLIC = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Any page may load the module; its requests to the API need a token and ``CORS_ORIGINS``."""

router = APIRouter(route_class=LimitedBodyRoute, include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """A file of the folder ``app/web``.

    ``compressed`` is the body in gzip, ``version`` a hash of the body.
    """

    body: bytes
    compressed: bytes
    version: str
    media_type: str


@cache
def modules_version() -> str:
    """Return a hash of all modules that ``widget.js`` imports, languages included."""
    digest = sha256()
    # Sorted: a set's order, and so the hash, would differ between processes.
    for name in sorted(MODULES):
        digest.update(name.encode() + b"\0" + (FOLDER / "widget" / name).read_bytes())
    return digest.hexdigest()[:16]


@cache
def asset(name: str) -> Asset:
    """Return a file of the folder ``app/web``, which is read once.

    ``widget.js`` imports its modules by their version, so that a browser never
    mixes the modules of two versions of the service.
    """
    path = FOLDER / name
    if name != "widget.js":
        return read_asset(path)
    version = f'"./widget/{modules_version()}/'.encode()
    return _asset_of(path.read_bytes().replace(b'"./widget/', version), path.suffix)


def read_asset(path: Path) -> Asset:
    """Return a file of any folder."""
    return _asset_of(path.read_bytes(), path.suffix)


def _asset_of(body: bytes, suffix: str) -> Asset:
    return Asset(
        body=body,
        # Without mtime=0 each process would have other bytes for the same ETag.
        compressed=gzip.compress(body, mtime=0),
        version=sha256(body).hexdigest()[:16],
        media_type=MEDIA_TYPES[suffix],
    )


def asset_response(
    request: Request, name: str, cache_control: str, headers: dict[str, str]
) -> Response:
    """Return a file of the folder ``app/web``; see :func:`respond`."""
    return respond(request, asset(name), cache_control, headers)


def respond(request: Request, file: Asset, cache_control: str, headers: dict[str, str]) -> Response:
    """Return a file, compressed if the browser accepts gzip, or 304 if its copy is current."""
    headers = headers | {
        "Cache-Control": cache_control,
        # Weak, since the plain and the compressed body share it.
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
    """Return the module; ``Content-Location`` is its URL by version, which never changes."""
    versioned = external_path(request, f"/widget-{asset('widget.js').version}.js")
    return asset_response(
        request, "widget.js", CACHE_FIVE_MINUTES, PUBLIC | {"Content-Location": versioned}
    )


@router.get("/widget-{version}.js")
async def get_versioned_widget(request: Request, version: str) -> Response:
    """Return this version of the module, or redirect to the current one: pages outlive versions."""
    # During an update another process may serve this version: the redirect is not cached.
    if version != asset("widget.js").version:
        return RedirectResponse(
            external_path(request, "/widget.js"), 302, PUBLIC | {"Cache-Control": "no-store"}
        )
    return asset_response(request, "widget.js", CACHE_FOREVER, PUBLIC)


@router.get("/widget/{path:path}")
async def get_module(request: Request, path: str) -> Response:
    """Return a module; ``path`` is its name, usually after the version that ``widget.js`` names.

    Another version is redirected to the current one: a page that has been open
    during an update may load a language late.
    """
    version, _, name = path.partition("/")
    if path in MODULES:
        return asset_response(request, f"widget/{path}", CACHE_FIVE_MINUTES, PUBLIC)
    # A name of the set, never a path of the request: it may hold `..`.
    if name not in MODULES:
        raise HTTPException(404)
    if version != modules_version():
        current = external_path(request, f"/widget/{modules_version()}/{name}")
        return RedirectResponse(current, 302, PUBLIC | {"Cache-Control": "no-store"})
    return asset_response(request, f"widget/{name}", CACHE_FOREVER, PUBLIC)


@router.get("/widget.d.ts")
async def get_types(request: Request) -> Response:
    """Return the module's TypeScript declarations."""
    return asset_response(request, "widget.d.ts", CACHE_FIVE_MINUTES, PUBLIC)
