"""``/docs``: Swagger UI, from a package of this installation rather than from a CDN."""

import asyncio
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.api.dependencies import external_path
from app.api.route_classes import LimitedBodyRoute
from app.api.routers.widget import FOLDER, Asset, read_asset, respond

PACKAGE = "fastapi_standalone_docs"

OPENAPI_URL = "/openapi.json"

REVALIDATE = "no-cache"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI's style sheet has its icons as ``data:`` URLs."""

router = APIRouter(route_class=LimitedBodyRoute, include_in_schema=False)

Name = Literal["swagger-ui.css", "swagger-ui-bundle.js", "start.js"]


@router.get("/docs")
async def get_documentation(request: Request) -> Response:
    """Return the page; its addresses are relative, so that a proxy may add a path."""
    page = (FOLDER / "documentation.html").read_text()
    url = escape(external_path(request, OPENAPI_URL))
    return HTMLResponse(page.format(url=url), headers={"Content-Security-Policy": POLICY})


@router.get("/docs/{name}")
async def get_documentation_asset(request: Request, name: Name) -> Response:
    """Return a file of the page."""
    file = await asyncio.to_thread(_asset, name)
    return respond(request, file, REVALIDATE, {})


@cache
def _asset(name: str) -> Asset:
    if name == "start.js":
        return read_asset(FOLDER / "documentation.js")
    return read_asset(_package() / "static" / "swagger" / name)


def _package() -> Path:
    """Return the package's folder, without importing it: only its files are used."""
    spec = find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - it is a dependency
    return Path(spec.origin).parent
